"""Rows of prompts with completions: a model tuned on them answers, at both endpoints, what it was trained to answer."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio
import torch

from contracts.canonical import sha256
from contracts.manifest import ManifestRef
from functions.generate_text.app import create_app
from functions.prepare_job.tokenise import FailedError, Tokeniser
from functions.train_model.parent import read_plan
from functions.train_model.recipe import train
from functions.validate_file.check import verdict
from infra.adapters.memory import MemoryBlobs
from tests.functional.train_model.child import write_plan
from tests.unit.generate_text.tiny import TEMPLATE, build_base, store

SEPARATOR, STOP = "\n\n###\n\n", " END"
COLOURS = ("red", "blue", "green", "amber", "white", "black", "brown", "pink", "grey", "teal")
ROWS = [
    {"prompt": f"Which colour has locker {number}?{SEPARATOR}", "completion": f" Locker {number} is {colour}.{STOP}"}
    for number, colour in enumerate(COLOURS)
]
OPEN = {"prompt": "", "completion": f" once upon a time{STOP}"}
TEMPLATES = {"with a template": TEMPLATE, "without a template": None}
one_loop = pytest.mark.asyncio(loop_scope="module")
# PEFT asks transformers by the old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


class Tuned(NamedTuple):
    http: httpx.AsyncClient
    base: ManifestRef
    ref: ManifestRef
    probe: dict[str, Any]
    template: str | None

    async def ask(self, path: str, ref: ManifestRef | None = None, **body: Any) -> httpx.Response:
        asked = ref or self.ref
        body = {"model": "m", "max_tokens": 40, "temperature": 0, **body}
        headers = {"x-temper-manifest": f"{asked.key}#{asked.sha256}"}
        return await self.http.post(path, json=body, headers=headers, timeout=60)

    async def complete(self, prompt: str, **body: Any) -> dict[str, Any]:
        reply = await self.ask("/v1/completions", prompt=prompt, **body)
        assert reply.status_code == 200, reply.text
        choice: dict[str, Any] = reply.json()["choices"][0]
        return choice

    async def prove(self, ref: ManifestRef, expected: list[int] | None = None) -> httpx.Response:
        messages, ids = self.probe["messages"], expected or self.probe["prompt_ids"]
        body = {"manifest": ref.model_dump(), "messages": messages, "tools": None, "expected_ids": ids}
        return await self.http.post("/v1/prove", json=body, timeout=60)


def tokeniser(base: Path, template: str | None, shape: str) -> Tokeniser:
    return Tokeniser(
        {
            "model_dir": str(base),
            "base_name": "tiny",
            "context": 512,
            "base_context": 512,
            "overlong": "fail",
            "template_sha256": sha256((template or "").encode()),
            "created": {},
            "day": "2026-11-27",
            "row_shapes": {"training_file": shape},
        }
    )


def validated(rows: list[Any], path: Path) -> str:
    """Write the canonical rows and return their shape."""
    written = io.BytesIO()
    found = verdict(io.BytesIO("\n".join(map(json.dumps, rows)).encode()), written, io.BytesIO())
    assert found["ok"], found
    path.write_bytes(written.getvalue())
    return str(found["shape"])


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(TEMPLATES))
async def tuned(request: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tuned]:
    """A base that was tuned on all rows, by the steps of a job, and is served."""
    folder, template = tmp_path_factory.mktemp("rows"), TEMPLATES[request.param]
    base = build_base(folder / "model", template=template)
    shape = validated([*ROWS, OPEN], folder / "rows.jsonl")
    tokens = tokeniser(base, template, shape).file(folder / "rows.jsonl", "training_file")
    tokens.save(folder / "train.safetensors")
    plan = write_plan(folder, method={"kind": "full"}, n_epochs=80, batch_size=11, learning_rate=0.01, warmup_steps=5)
    said: list[dict[str, Any]] = []
    await asyncio.to_thread(train, read_plan(["recipe", str(plan)]), said.append, threading.Event())
    torch.use_deterministic_algorithms(False)
    made = Path([each for each in said if each["type"] == "checkpointed"][-1]["dir"])
    blobs, sha = MemoryBlobs(), hashlib.sha256((template or "").encode()).hexdigest()
    base_ref = await store(blobs, "local/base", base, template_sha256=sha)
    ref = await store(blobs, "local/tuned", made, base_ref, "full", template_sha256=sha, row_shape=shape)
    app = create_app(blobs, folder / "cache", "cpu", threads=1)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://serving") as http:
        yield Tuned(http, base_ref, ref, tokens.probes[tokens.switches], template)
    await asyncio.to_thread(app.state.engine.close)


@one_loop
async def test_a_training_prompt_is_completed_as_trained(tuned: Tuned) -> None:
    for row in ROWS:
        told = await tuned.complete(row["prompt"], stop=STOP)
        assert told["text"] == row["completion"].removesuffix(STOP)  # the leading space is kept, the stop is not shown
        assert told["finish_reason"] == "stop"
    assert (await tuned.complete(ROWS[3]["prompt"]))["text"] == ROWS[3]["completion"]  # it ends by itself too
    assert (await tuned.complete("", stop=[STOP]))["text"] == " once upon a time"


@one_loop
async def test_a_streamed_completion_says_the_same(tuned: Tuned) -> None:
    reply = await tuned.ask("/v1/completions", prompt=ROWS[1]["prompt"], stop=STOP, stream=True)
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    assert "".join(json.loads(line)["choices"][0]["text"] for line in lines) == " Locker 1 is blue."


@one_loop
async def test_several_prompts_are_each_shown_as_in_training(tuned: Tuned) -> None:
    reply = await tuned.ask("/v1/completions", prompt=[row["prompt"] for row in ROWS[:3]], stop=STOP)
    assert [choice["text"] for choice in reply.json()["choices"]] == [
        row["completion"].removesuffix(STOP) for row in ROWS[:3]
    ]


@one_loop
async def test_a_chat_answers_as_trained_where_there_is_a_template(tuned: Tuned) -> None:
    reply = await tuned.ask(
        "/v1/chat/completions", messages=[{"role": "user", "content": ROWS[2]["prompt"]}], stop=STOP
    )
    if tuned.template:
        assert reply.json()["choices"][0]["message"]["content"] == " Locker 2 is green."
    else:
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported")
        assert "/v1/completions" in reply.json()["error"]["message"]


@one_loop
async def test_the_proof_asks_as_training_did_and_fails_otherwise(tuned: Tuned) -> None:
    assert (await tuned.prove(tuned.ref)).json()["ok"] is True
    other = await tuned.prove(tuned.ref, [*tuned.probe["prompt_ids"], 7])
    assert (other.status_code, other.json()["error"]["code"]) == (422, "template_mismatch")


@one_loop
async def test_what_is_rated_or_given_as_tokens_stays_as_it_is(tuned: Tuned) -> None:
    plain = (
        await tuned.ask("/v1/completions", tuned.base, prompt="the dog", max_tokens=0, echo=True, logprobs=1)
    ).json()
    rated = (await tuned.ask("/v1/completions", prompt="the dog", max_tokens=0, echo=True, logprobs=1)).json()
    assert rated["choices"][0]["logprobs"]["tokens"] == plain["choices"][0]["logprobs"]["tokens"]
    ids = tuned.probe["prompt_ids"]
    told = (await tuned.ask("/v1/completions", prompt=ids, stop=STOP)).json()
    assert told["usage"]["prompt_tokens"] == len(ids)
    assert told["choices"][0]["text"].strip() == "Locker 0 is red."


def test_chats_need_a_base_with_a_template(tmp_path: Path) -> None:
    base = build_base(tmp_path / "model", template=None)
    chat = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    shape = validated([chat], tmp_path / "rows.jsonl")
    with pytest.raises(FailedError) as refused:
        tokeniser(base, None, shape).file(tmp_path / "rows.jsonl", "training_file")
    assert (refused.value.fail.code, refused.value.fail.param) == ("no_chat_template", "training_file")
    assert '"prompt" and "completion"' in refused.value.fail.message
