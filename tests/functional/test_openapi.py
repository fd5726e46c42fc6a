"""The edge's description of itself, and answers that are as it says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx
import pytest

from infra import docs
from tests.functional.edge import BASE, World
from tests.functional.test_edge_clients import answers
from tests.functional.test_edge_files import upload
from tests.functional.test_evals import EXACT
from tests.fuzzing import Fuzzed, fuzz


def fuzzed(each: int, start: int = 0) -> Fuzzed:
    """What an edge in this process says to requests that are made of its description."""
    with asyncio.Runner() as runner:
        world = World(complete=answers)
        transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://edge")

        async def prepared() -> dict[str, str]:
            await world.base()
            key = await world.key("local")
            client.headers["authorization"] = f"Bearer {key}"
            file = (await upload(client)).json()["id"]
            job = (await client.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": file})).json()["id"]
            hook = {"name": "a", "url": "https://example.com/", "event_types": ["fine_tuning.job.failed"]}
            endpoint = (await client.post("/v1/webhook_endpoints", json=hook)).json()["id"]
            bench = (await client.post("/v1/benchmarks", json={"model": BASE, "file": file})).json()["id"]
            name = f"ft:{BASE}:local::xyz"
            await world.tuned(job, name, 10)
            rows = {"data_source_config": {"type": "custom", "item_schema": {}}, "testing_criteria": [EXACT]}
            of = (await client.post("/v1/evals", json=rows)).json()["id"]
            source = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}
            run = (await client.post(f"/v1/evals/{of}/runs", json={"data_source": source})).json()["id"]
            return {
                "eval_id": of,
                "run_id": run,
                "files": file,
                "jobs": job,
                "webhook_endpoints": endpoint,
                "benchmarks": bench,
                "tuned": name,
            }

        ids = runner.run(prepared())

        def known(method: str, path: str) -> dict[str, list[str]]:
            evals = {name: [ids[name]] for name in ("eval_id", "run_id")} if method != "DELETE" else {}
            files, noun = [ids["files"]], next((each for each in path.split("/") if each in ids), "jobs")
            own = {"id": [ids[noun]], "after": [ids[noun]]} if method != "DELETE" else {}
            return (
                own | evals | {"file": files, "file_id": files, "training_file": files, "model": [BASE, ids["tuned"]]}
            )

        def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
            said = {name: value for name, value in headers.items() if name.lower() not in ("authorization", "api-key")}
            return runner.run(client.request(method, url, headers=said, content=body))

        return fuzz(send, known, each, start)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.edge.routes.legacy.PATIENCE", 0.01)
    monkeypatch.setattr("functions.edge.routes.legacy.INTERVAL", 0.002)


async def test_the_description_names_every_path_and_needs_no_key(world: World) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://edge") as client:
        described = (await client.get("/openapi.json")).json()
    assert docs.openapi(docs.version()) == (docs.ROOT / "contracts" / "openapi.json").read_text()
    assert {f"{method.upper()} {path}" for path, each in described["paths"].items() for method in each} == {
        f"{each.method} {each.path}" for each in docs.api.operations()
    }
    names = [each["operationId"] for path in described["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))


@pytest.mark.slow
def test_whatever_is_asked_is_answered_as_the_description_says() -> None:
    found = fuzzed(3)
    assert found.wrong == {}, "\n\n".join(found.wrong.values())
    assert found.statuses[200] > 30
    assert found.statuses[400] > 50
    assert sum(found.statuses.values()) > 250
