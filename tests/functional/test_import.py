"""`temper import openai`: another server's files and jobs, brought to an edge."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.cli.imports import import_, told
from infra.importing.shapes import Line
from infra.importing.source import Source
from infra.importing.work import Asked, Import
from infra.local.errors import UserError
from tests.functional.edge import BASE, ROWS, World
from tests.functional.test_edge_clients import served

__all__ = ["served"]

CSV = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,0.9,0.5,,\n2,0.25,0.75,0.5,0.7\n"
VALID = ROWS.replace(b"q", b"v")


def job(number: int, **said: Any) -> dict[str, Any]:
    """A job as OpenAI shows it, its oddities included."""
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{number}",
        "model": "gpt-4o-mini-2024-07-18",
        "created_at": 1700000000 + number,
        "finished_at": 1700000100,
        "fine_tuned_model": f"ft:gpt-4o-mini-2024-07-18:acme:support:{number}",
        "organization_id": "org-1",
        "result_files": [f"file-results-{number}"],
        "status": "succeeded",
        "validation_file": None,
        "training_file": "file-rows",
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "trained_tokens": 5768,
        "error": {},
        "user_provided_suffix": "support",
        "seed": 42,
        "estimated_finish": None,
        "integrations": [],
        **said,
    }


class OpenAIScript:
    """A server that is as OpenAI's is: pages, limits of speed, deleted files, results in base64."""

    def __init__(self, jobs: list[dict[str, Any]], files: dict[str, bytes], gone: tuple[str, ...] = ()) -> None:
        self.jobs, self.files, self.gone = jobs[::-1], files, gone
        self.asked: Counter[str] = Counter()
        self.breaks_at: str | None = None
        self.app = Starlette(
            routes=[
                Route("/v1/fine_tuning/jobs", self.list_jobs),
                Route("/v1/fine_tuning/jobs/{id}/checkpoints", self.checkpoints),
                Route("/v1/files", self.list_files),
                Route("/v1/files/{id}", self.file),
                Route("/v1/files/{id}/content", self.content),
            ]
        )

    def _limited(self, request: Request) -> Response | None:
        if request.headers["authorization"] != "Bearer sk-theirs":
            return JSONResponse({"error": {"message": "Incorrect API key provided."}}, 401)
        self.asked[request.url.path] += 1
        if self.asked[request.url.path] == 1:
            return JSONResponse({"error": {"message": "Rate limit reached"}}, 429, {"retry-after": "7"})
        return None

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Response:
        ids = [each["id"] for each in items]
        start = ids.index(request.query_params["after"]) + 1 if "after" in request.query_params else 0
        return JSONResponse({"object": "list", "data": items[start : start + 2], "has_more": start + 2 < len(items)})

    async def list_jobs(self, request: Request) -> Response:
        return self._limited(request) or self._page(request, self.jobs)

    async def list_files(self, request: Request) -> Response:
        rows = [
            {"id": id, "filename": f"{id}.jsonl", "purpose": "fine-tune"} for id in self.files if "results" not in id
        ]
        return self._limited(request) or self._page(request, rows)

    async def checkpoints(self, request: Request) -> Response:
        return self._limited(request) or JSONResponse({"error": {"message": "Not found"}}, 404)

    async def file(self, request: Request) -> Response:
        id = request.path_params["id"]
        return self._limited(request) or JSONResponse({"error": {"message": f"No such File object: {id}"}}, 404)

    async def content(self, request: Request) -> Response:
        id = request.path_params["id"]
        if id == self.breaks_at:
            raise httpx.ReadError("cut off")
        if id in self.gone or id not in self.files:
            return JSONResponse({"error": {"message": f"No such File object: {id}", "type": "x"}}, 404)
        content = self.files[id]
        return self._limited(request) or Response(base64.b64encode(content) if "results" in id else content)


waited: list[float] = []


async def no_sleep(seconds: float) -> None:
    waited.append(seconds)


async def bring(app: Any, here: httpx.AsyncClient, record: Path, key: str = "sk-theirs", **asked: Any) -> list[Line]:
    """Run an import between two servers in this process."""
    waited.clear()
    here.base_url = httpx.URL("http://edge/v1/")
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://there/v1", headers=headers
    ) as there:
        asked = {"base": BASE, **asked}
        return await Import(Source(there, no_sleep), here, Asked("http://there/v1", **asked), record).run()


def account() -> OpenAIScript:
    jobs = [
        job(1, validation_file="file-valid", metadata={"team": "a"}),
        job(2, training_file="file-lost"),
        job(3, method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}}, hyperparameters=None),
        job(4, hyperparameters=None, user_provided_suffix=None, validation_file="file-expired", result_files=[]),
        job(5, status="failed", fine_tuned_model=None, error={"code": "x", "message": "y", "param": None}),
    ]
    files = {"file-rows": ROWS, "file-valid": VALID, "file-spare": ROWS + ROWS} | {
        f"file-results-{number}": CSV for number in (1, 3)
    }
    return OpenAIScript(jobs, files)


async def test_an_account_comes_with_its_rows_results_and_jobs_and_what_is_gone_is_said(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    lines = await bring(account().app, api, tmp_path / "record.json")
    found = {each.there: each for each in lines}
    assert {id: each.state for id, each in found.items()} == {
        "file-rows": "came",
        "file-valid": "came",
        "file-spare": "came",
        "file-lost": "gone",
        "file-expired": "gone",
        "ftjob-1": "came",
        "file-results-1": "came",
        "ftjob-2": "left out",
        "file-results-2": "gone",
        "ftjob-3": "left out",
        "file-results-3": "came",
        "ftjob-4": "came",
    }
    assert "No such File object: file-lost" in found["file-lost"].differs[0]
    assert "'dpo'" in found["ftjob-3"].differs[0]
    assert "file-expired, which is gone" in found["ftjob-4"].differs[1]
    assert set(waited) == {7.0}  # as the server wished
    assert (await api.get(f"files/{found['file-valid'].here}/content")).content == VALID
    assert (await api.get(f"files/{found['file-results-1'].here}/content")).content == CSV
    made = (await api.get(f"fine_tuning/jobs/{found['ftjob-1'].here}")).json()
    assert (made["model"], made["seed"], made["user_provided_suffix"]) == (BASE, 42, "support")
    assert (made["training_file"], made["validation_file"]) == (found["file-rows"].here, found["file-valid"].here)
    assert (made["hyperparameters"]["n_epochs"], made["hyperparameters"]["learning_rate_multiplier"]) == (3, 1.8)
    assert made["metadata"]["team"] == "a"
    assert made["metadata"]["imported_job"] == "ftjob-1"
    assert made["metadata"]["imported_fine_tuned_model"] == "ft:gpt-4o-mini-2024-07-18:acme:support:1"
    assert json.loads(made["metadata"]["imported_metrics"])["train_loss"] == "0.25"
    other = (await api.get(f"fine_tuning/jobs/{found['ftjob-4'].here}")).json()
    assert other["user_provided_suffix"] == "support"  # as the model's name tells
    table = told(lines)
    assert table[0].split() == ["What", "There", "Here", "State", "Differs"]
    assert table[-1].startswith("7 came, ")
    assert "sk-theirs" not in (tmp_path / "record.json").read_text()


async def test_interrupted_and_run_again_it_brings_nothing_twice(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    script = account()
    script.breaks_at = "file-valid"
    with pytest.raises(UserError, match="run it again"):
        await bring(script.app, api, tmp_path / "record.json")
    script.breaks_at = None
    await bring(script.app, api, tmp_path / "record.json")
    topics = Counter(world.topics())
    assert topics == {"file.uploaded": 5, "job.created": 2}
    again = await bring(script.app, api, tmp_path / "record.json")
    lost = await bring(script.app, api, tmp_path / "another.json")  # as on another machine
    assert Counter(world.topics()) == topics
    for lines in (again, lost):
        assert Counter(each.state for each in lines) == {"was here": 7, "gone": 3, "left out": 2}
    assert {each.there: each.here for each in again} == {each.there: each.here for each in lost}


async def test_a_dry_run_writes_nothing_and_says_what_would_come(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    lines = await bring(account().app, api, tmp_path / "record.json", dry_run=True)
    assert Counter(each.state for each in lines) == {"would come": 5, "gone": 2, "left out": 2}
    assert world.topics() == []
    assert not (tmp_path / "record.json").exists()
    only = await bring(account().app, api, tmp_path / "record.json", dry_run=True, jobs=("ftjob-1",))
    assert [each.there for each in only] == ["file-rows", "file-valid", "ftjob-1"]


async def test_the_command_asks_for_the_key_and_ends_with_a_table(
    served: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (served["OPENAI_BASE_URL"], served["OPENAI_API_KEY"])
    monkeypatch.setattr("infra.cli.imports.edge_of_home", lambda: here)
    monkeypatch.delenv("TEMPER_IMPORT_KEY", raising=False)
    arguments = ["openai", "--base-url", here[0], "--base", BASE, "--record", str(tmp_path / "record.json")]

    def run(key: str) -> Result:
        return CliRunner().invoke(import_, arguments, input=f"{key}\n")

    done = await asyncio.to_thread(run, here[1])
    assert (done.exit_code, done.exception) == (0, None)
    assert done.stdout.splitlines()[-1] == "nothing is there. Weights of tuned models are not given out."
    assert here[1] not in done.output
    refused = await asyncio.to_thread(run, "sk-wrong")
    assert isinstance(refused.exception, UserError)
    assert "does not take the key" in str(refused.exception)
    nowhere = CliRunner().invoke(import_, ["openai", "--base-url", "file:///etc"])
    assert "is not http(s)://" in str(nowhere.exception)


async def test_a_wrong_key_or_a_wait_of_an_hour_ends_it_with_a_sentence(api: httpx.AsyncClient, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not take the key: Incorrect API key"):
        await bring(account().app, api, tmp_path / "r", key="sk-wrong")

    async def busy(_request: Request) -> Response:
        return JSONResponse({"error": {"message": "Quota."}}, 429, {"retry-after": "3600"})

    with pytest.raises(UserError, match="wait for 3600 s: Quota"):
        await bring(Starlette(routes=[Route("/v1/{path:path}", busy)]), api, tmp_path / "r")

    async def page(_request: Request) -> Response:
        return Response("<html>", media_type="text/html")

    with pytest.raises(UserError, match="JSON object"):
        await bring(Starlette(routes=[Route("/v1/{path:path}", page)]), api, tmp_path / "r")


async def test_two_tempers_bring_each_other_what_they_have(
    world: World, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    other = World()
    await other.base()
    key = await other.key("local")
    file = (await api.post("/v1/files", files={"file": ("a.jsonl", ROWS), "purpose": (None, "fine-tune")})).json()["id"]
    body = {"model": BASE, "training_file": file, "suffix": "own", "hyperparameters": {"n_epochs": 2}}
    made = (await api.post("/v1/fine_tuning/jobs", json=body)).json()["id"]
    statuses = ("validating_files", "succeeded")
    async with other.client(key) as there:
        ours = api.headers["authorization"].removeprefix("Bearer ")
        forth = await bring(world.app, there, tmp_path / "forth", key=ours, statuses=statuses)
        assert Counter(each.state for each in forth)["came"] >= 2
        copy = (await there.get(f"fine_tuning/jobs/{next(each.here for each in forth if each.there == made)}")).json()
        assert (copy["user_provided_suffix"], copy["hyperparameters"]["n_epochs"]) == ("own", 2)
        back = await bring(other.app, api, tmp_path / "back", key=key, statuses=statuses)
        assert {each.state for each in back if each.what.startswith("file")} == {"was here"}  # the same bytes and name
        again = await bring(other.app, api, tmp_path / "back", key=key, statuses=statuses)
        assert {each.state for each in again} == {"was here"}
