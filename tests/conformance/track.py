"""What every implementation of the `Track` port does; a subclass gives the fixtures `track` and `seen`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

import pytest

from contracts.ports import Track
from contracts.tracking import Ending, Point, Run


@dataclass(frozen=True)
class Seen:
    """What somebody sees of one run in a tracker."""

    experiment: str
    name: str
    params: Mapping[str, str]
    points: frozenset[tuple[str, float, int, int]]
    files: Mapping[str, bytes]
    ended: tuple[Ending, int] | None
    models: Mapping[str, str]
    """Of this run's base: tuned model → what it is made of."""


See = Callable[[Run], Seen | None]
BASE = "base/with:marks"


def a_run(kind: str = "training", experiment: str | None = None) -> Run:
    id = uuid4().hex
    return Run(
        experiment=experiment or f"acme/{id}/rows.jsonl (file-1)",
        key=f"ftjob-{id}/{kind}",
        kind="training",
        name=f"{kind} {id}",
        started_at=1_700_000_000_000,
        params={"n_epochs": "3", "reason.n_epochs": "few rows"},
        tags={"temper.job": f"ftjob-{id}"},
    )


class TrackSuite:
    async def test_a_run_is_begun_once_and_found_by_its_key(self, track: Track, seen: See) -> None:
        run = a_run()
        other = a_run(experiment=run.experiment)
        assert seen(run) is None
        first, again, second = await track.run(run), await track.run(run), await track.run(other)
        assert first == again
        assert first.id != second.id
        assert first.url != second.url
        found = seen(run)
        assert found is not None
        assert (found.experiment, found.name) == (run.experiment, run.name)
        assert found.params == run.params
        assert (found.points, found.files, found.ended) == (frozenset(), {}, None)

    async def test_the_same_point_twice_is_one_and_each_step_and_name_is_another(self, track: Track, seen: See) -> None:
        run = a_run()
        id = (await track.run(run)).id
        points = [Point("train_loss", 2.5, 1, 10), Point("train_loss", 1.5, 2, 20), Point("base.f1", 0.25, 0, 20)]
        for _ in range(2):
            await track.log(id, points)
        await track.log(id, [])
        found = seen(run)
        assert found is not None
        assert found.points == {(each.name, each.value, each.step, each.at) for each in points}

    async def test_artefacts_lie_beside_their_run_and_the_newest_is_seen(self, track: Track, seen: See) -> None:
        run = a_run()
        id = (await track.run(run)).id
        await track.keep(id, {"plan.json": b"{}", "pictures/loss.png": b"\x89PNG"})
        await track.keep(id, {"plan.json": b"[]", "card.md": "größe".encode()})
        found = seen(run)
        assert found is not None
        assert found.files == {"plan.json": b"[]", "pictures/loss.png": b"\x89PNG", "card.md": "größe".encode()}

    @pytest.mark.parametrize(
        ("named", "left"),
        [(("report.json", "other.json"), {"plan.json", "pictures/loss.png"}), ((), set())],
        ids=["some", "all"],
    )
    async def test_artefacts_are_erased_by_their_names_or_all_and_numbers_stay(
        self, track: Track, seen: See, named: tuple[str, ...], left: set[str]
    ) -> None:
        run = a_run()
        id = (await track.run(run)).id
        await track.log(id, [Point("train_loss", 2.5, 1, 10)])
        await track.keep(id, {"plan.json": b"{}", "report.json": b"canary", "pictures/loss.png": b"\x89PNG"})
        for _ in range(2):
            await track.erase(run, named)
        found = seen(run)
        assert found is not None
        assert set(found.files) == left
        assert len(found.points) == 1

    async def test_a_run_that_is_not_there_has_nothing_to_erase(self, track: Track, seen: See) -> None:
        run = a_run()
        await track.erase(run)
        assert seen(run) is None

    async def test_a_model_is_listed_once_under_its_base(self, track: Track, seen: See) -> None:
        run = a_run()
        id, model = (await track.run(run)).id, f"ft:{uuid4().hex}"
        for _ in range(2):
            await track.register(id, BASE, model, "acme/ftjob-1/manifest.json")
        await track.register(id, BASE, f"{model}:two", "acme/ftjob-2/manifest.json")
        found = seen(run)
        assert found is not None
        mine = {name: key for name, key in found.models.items() if name.startswith(model)}
        assert mine == {model: "acme/ftjob-1/manifest.json", f"{model}:two": "acme/ftjob-2/manifest.json"}

    @pytest.mark.parametrize("ending", ["finished", "failed", "killed"])
    async def test_a_run_ends_as_its_job_did_and_may_be_told_so_twice(
        self, track: Track, seen: See, ending: Ending
    ) -> None:
        run = a_run()
        id = (await track.run(run)).id
        for _ in range(2):
            await track.end(id, ending, 1_700_000_009_000)
        found = seen(run)
        assert found is not None
        assert found.ended == (ending, 1_700_000_009_000)
