"""The edge's description of itself, and answers that are as it says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from infra import docs
from infra.api import Operation
from tests.functional.dataset import assemble_made
from tests.functional.edge import World
from tests.functional.furnished import furnished
from tests.functional.test_edge_clients import answers
from tests.fuzzing import DESCRIBED, Fuzzed, fuzz
from tests.unit.prepare_job import tiny

OURS = [each for each in docs.api.operations() if each.call is None and not each.path.startswith("/v1/evals/")]
"""One path of evals is OpenAI's own in its documents, and not in its client."""
ANYTHING = {"GET /openapi.json"}
"""Whose answer is described elsewhere: by OpenAPI itself."""


def named(asked: Operation) -> str:
    return f"{asked.method} {asked.path}"


async def opened(stack: AsyncExitStack, world: World, scratch: Path) -> tuple[str, dict[str, str]]:
    made = await assemble_made(scratch)
    return await stack.enter_async_context(furnished(world, made, tiny.save_model(scratch / "model"), scratch))


def values(ids: Mapping[str, str], method: str, path: str) -> dict[str, list[str]]:
    """What an operation's parameters may mean to the server; the first of each is there, and is answered."""
    nouns = {
        "jobs": "job",
        "finetune-jobs": "job",
        "benchmarks": "benchmark",
        "webhook_endpoints": "endpoint",
        "notifications": "notification",
    }
    noun = next((ids[nouns[each]] for each in path.split("/") if each in nouns), "")
    found = {
        "id": [noun] if noun else [ids["chats" if "preview" in path else "dataset"], ids["waiting"]],
        "after": [ids["row"]] if path.endswith("rows") else [noun or ids["dataset"]],
        "model": [ids["tiny"]] if "preview" in path else [ids["tuned"], ids["base"]],
        "name": ["adapter_config.json", "README.md"],
        **{name: [ids["dataset"], ids["chats"]] for name in ("file", "file_id", "training_file")},
        "row": ["1"],
        "document": [ids["document"]],
        "eval_id": [ids["eval"]],
        "run_id": [ids["run"]],
    }
    if method == "DELETE" or path.endswith("cancel"):
        for name in ("id", "eval_id", "run_id"):
            found.pop(name)
    return found


def fuzzed(each: int, scratch: Path, start: int = 0) -> Fuzzed:
    """What an edge in this process says to requests that are made of its description."""
    with asyncio.Runner() as runner:
        world, stack = World(complete=answers), AsyncExitStack()
        transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://edge")
        key, ids = runner.run(opened(stack, world, scratch))
        client.headers["authorization"] = f"Bearer {key}"

        def known(method: str, path: str) -> dict[str, list[str]]:
            return values(ids, method, path)

        def send(method: str, url: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
            said = {name: value for name, value in headers.items() if name.lower() not in ("authorization", "api-key")}
            return runner.run(client.request(method, url, headers=said, content=body))

        try:
            return fuzz(send, known, each, start)
        finally:
            runner.run(stack.aclose())


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


def schemas_of(described: Any, asked: Operation) -> Iterator[Any]:
    """The schemas of what an operation answers with when all is well."""
    content = described["paths"][asked.path][asked.method.lower()]["responses"]["200"]["content"]
    for kind, media in content.items():
        if kind == "application/json":
            yield media["schema"]


def test_every_answer_says_what_it_is() -> None:
    described = json.loads(DESCRIBED.read_text())
    bare = [
        named(each)
        for each in docs.api.operations()
        for schema in schemas_of(described, each)
        if "$ref" not in schema and not {"properties", "additionalProperties", "anyOf", "oneOf"} & schema.keys()
    ]
    assert set(bare) == ANYTHING


def closed(schema: Any) -> Any:
    """A schema that knows no field which it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **found} if isinstance(found.get("properties"), dict) else found


async def test_what_is_there_is_answered_with_the_fields_that_are_described_and_no_others(tmp_path: Path) -> None:
    described = closed(json.loads(DESCRIBED.read_text()))
    world, wrong, asked_for = World(), {}, set()
    async with AsyncExitStack() as stack:
        key, ids = await opened(stack, world, tmp_path)
        api = await stack.enter_async_context(world.client(key))
        bodies: dict[str, Any] = {
            "/v1/files/{id}/recurate": {"min_score": {"support": 0.1}},
            "/v1/benchmarks": {"model": ids["tuned"]},
            "/v1/evaluate": {"models": [ids["tuned"], ids["base"]], "file": ids["dataset"]},
            "/v1/finetune-jobs": {"model": ids["base"], "training_file": ids["dataset"]},
        }
        lasts = {"/v1/fine_tuning/jobs/{id}": "ended", "/v1/finetune-jobs/{id}/cancel": "queued"}
        for asked in sorted(OURS, key=lambda each: (each.method == "DELETE", each.path.endswith("cancel"))):
            given = {name: each[0] for name, each in values(ids, "GET", asked.path).items() if each}
            if asked.path in lasts:
                given["id"] = ids[lasts[asked.path]]
            if asked.path == "/v1/benchmarks/{id}/cancel":
                given["id"] = (await api.get("/v1/benchmarks?limit=1")).json()["data"][0]["id"]
            query = {name: given[name] for name in ("file", "file_id", "model", "row") if name in given}
            wanted = asked.query.model_fields if asked.query else asked.beside
            query = {name: value for name, value in query.items() if name in wanted}
            body = bodies.get(asked.path, {}) if asked.method == "POST" else None
            answer = await api.request(asked.method, asked.path.format(**given), params=query, json=body)
            assert answer.status_code == 200, (named(asked), answer.text)
            asked_for.add(named(asked))
            for schema in schemas_of(described, asked):
                held = {**schema, "components": described["components"]}
                if found := [each.message for each in jsonschema.Draft202012Validator(held).iter_errors(answer.json())]:
                    wrong[named(asked)] = found
    assert wrong == {}
    assert asked_for == {named(each) for each in OURS}


@pytest.mark.slow
def test_whatever_is_asked_is_answered_as_the_description_says(tmp_path: Path) -> None:
    found = fuzzed(3, tmp_path)
    assert found.wrong == {}, "\n\n".join(found.wrong.values())
    assert found.statuses[200] > 50
    assert found.statuses[400] > 50
    assert sum(found.statuses.values()) > 250
