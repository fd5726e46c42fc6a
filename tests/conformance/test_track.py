"""The trackers, one suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.tracking import Ending, Run
from infra.adapters.memory import MemoryTrack
from infra.adapters.mlflow.runs import KEY, MlflowTrack
from infra.local.record import read_stack
from tests.conformance.track import BASE, See, Seen, TrackSuite
from tests.e2e.support import until
from tests.stack import running_stack

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENDINGS: dict[str, Ending] = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of an MLflow server as `temper up` starts it."""
    home = tmp_path_factory.mktemp("mlflow")
    with running_stack(home, "--only", "mlflow", env={"TEMPER_TRACKING": "mlflow"}) as stack:

        def up() -> bool:
            found = read_stack(home)
            return found is not None and "mlflow" in found.processes and found.processes["mlflow"].state == "up"

        until(up, "MLflow's server")
        yield str(stack.settings.mlflow_url)


class TestMemoryTrack(TrackSuite):
    @pytest.fixture
    def track(self) -> MemoryTrack:
        return MemoryTrack()

    @pytest.fixture
    def seen(self, track: MemoryTrack) -> See:
        def see(run: Run) -> Seen | None:
            kept = track.runs.get(run.key)
            if kept is None:
                return None
            points = frozenset((each.name, each.value, each.step, each.at) for each in kept.points)
            models = track.models.get(BASE, {})
            return Seen(
                kept.run.experiment, kept.run.name, kept.run.params, points, kept.files, kept.ended, models
            )  # fmt: skip

        return see


@pytest.mark.connected
@pytest.mark.slow
class TestMlflowTrack(TrackSuite):
    @pytest.fixture
    def track(self, address: str) -> MlflowTrack:
        return MlflowTrack(address, "bucket")

    @pytest.fixture
    def seen(self, address: str, tmp_path: Path) -> See:
        from mlflow import MlflowClient

        client = MlflowClient(address, address)

        def see(run: Run) -> Seen | None:
            experiment = client.get_experiment_by_name(run.experiment)
            ids = [experiment.experiment_id] if experiment else []
            found = client.search_runs(ids, f"tags.`{KEY}` = '{run.key}'") if ids else []
            if experiment is None or not found:
                return None
            (made,) = found
            id, info = made.info.run_id, made.info
            history = [each for name in made.data.metrics for each in client.get_metric_history(id, name)]
            return Seen(
                experiment.name,
                str(info.run_name),
                made.data.params,
                frozenset((each.key, each.value, each.step, each.timestamp) for each in history),
                _files(client, id, tmp_path),
                (ENDINGS[info.status], int(info.end_time)) if info.end_time else None,
                {
                    each.tags["temper.model"]: str(each.source).removeprefix("s3://bucket/")
                    for each in client.search_model_versions("name='base-with-marks'")
                },
            )

        return see


def _files(client: MlflowClient, run: str, folder: Path) -> dict[str, bytes]:
    if not client.list_artifacts(run):
        return {}
    there = Path(client.download_artifacts(run, "", str(folder)))
    return {str(path.relative_to(there)): path.read_bytes() for path in there.rglob("*") if path.is_file()}
