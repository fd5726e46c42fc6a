"""Models by manifest: the proof fails on what is wrong, memory is bounded, a damaged cache heals."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from contracts.manifest import Manifest, ManifestRef
from functions.generate_text.app import create_app
from infra.adapters.memory import MemoryBlobs
from tests.unit.generate_text.tiny import TEMPLATE, build_adapter, build_base, plain, store
from tests.unit.prepare_job import kinds

MESSAGES = [{"role": "user", "content": "what is the weight of the blue kettle?"}]


class Serving(NamedTuple):
    app: Any
    http: httpx.AsyncClient
    blobs: MemoryBlobs
    base: Path
    base_ref: ManifestRef
    root: Path

    async def adapter(self, name: str, seed: int = 1, **changes: Any) -> ManifestRef:
        folder = build_adapter(self.root / name, self.base, seed)
        return await store(self.blobs, f"local/{name}", folder, self.base_ref, "adapter", **changes)

    async def prove(self, ref: ManifestRef, **changes: Any) -> httpx.Response:
        tokenizer = AutoTokenizer.from_pretrained(self.base)
        text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        body = {"manifest": ref.model_dump(), "messages": MESSAGES, "tools": None, "expected_ids": ids, **changes}
        return await self.http.post("/v1/prove", json=body)

    async def chat(self, ref: ManifestRef) -> httpx.Response:
        return await self.http.post(
            "/v1/chat/completions",
            json={"model": "m", "messages": MESSAGES, "max_tokens": 4, "temperature": 0},
            headers={"x-temper-manifest": f"{ref.key}#{ref.sha256}"},
        )


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    base = build_base(tmp_path / "base")
    blobs = MemoryBlobs()
    base_ref = await store(blobs, "local/base", base)
    app = create_app(blobs, tmp_path / "cache", "cpu", threads=1, max_adapters=2)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://serving") as http:
        yield Serving(app, http, blobs, base, base_ref, tmp_path)
    await asyncio.to_thread(app.state.engine.close)


async def test_a_sound_adapter_is_proved_and_answers(serving: Serving) -> None:
    reply = await serving.prove(await serving.adapter("a"))
    assert reply.status_code == 200, reply.text
    proof = reply.json()
    assert proof["ok"] is True
    reference = plain(serving.base, serving.root / "a")
    with torch.inference_mode():
        made = reference.generate(input_ids=torch.tensor([proof["prompt_ids"]]), max_new_tokens=32, do_sample=False)
    tokenizer = AutoTokenizer.from_pretrained(serving.base)
    assert proof["answer"] == tokenizer.decode(made[0, len(proof["prompt_ids"]) :], skip_special_tokens=True)


async def test_a_full_fine_tune_is_a_base_of_its_own(serving: Serving) -> None:
    folder = build_base(serving.root / "full", seed=9)
    ref = await store(serving.blobs, "local/full", folder, serving.base_ref, "full")
    assert (await serving.prove(ref)).status_code == 200
    assert serving.app.state.engine.state()["bases"] == 1


async def test_a_base_is_held_once_however_many_names_it_has(serving: Serving) -> None:
    other = await store(serving.blobs, "local/other-name", serving.base)
    assert other.sha256 != serving.base_ref.sha256
    replies = [await serving.chat(ref) for ref in (serving.base_ref, other, await serving.adapter("a"))]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert serving.app.state.engine.state()["bases"] == 1
    assert replies[0].json()["choices"] == replies[1].json()["choices"]
    different = await store(serving.blobs, "local/different", build_base(serving.root / "different", seed=4))
    assert (await serving.chat(different)).status_code == 200
    assert serving.app.state.engine.state()["bases"] == 2


async def test_a_flipped_bit_in_the_stored_weights_fails(serving: Serving) -> None:
    ref = await serving.adapter("a")
    await damage(serving.blobs, "local/a/adapter_model.safetensors")
    await refused(await serving.prove(ref), "weights_mismatch")


async def test_a_weight_that_is_gone_fails(serving: Serving) -> None:
    ref = await serving.adapter("a")
    await serving.blobs.delete("local/a/adapter_model.safetensors")
    await refused(await serving.prove(ref), "weights_mismatch")


async def test_another_manifest_hash_fails(serving: Serving) -> None:
    ref = await serving.adapter("a")
    await refused(await serving.prove(ManifestRef(key=ref.key, sha256="0" * 64)), "manifest_mismatch")
    await damage(serving.blobs, ref.key)
    await refused(await serving.prove(ref), "manifest_mismatch")
    await serving.blobs.delete(ref.key)
    await refused(await serving.prove(ref), "manifest_mismatch")


async def test_another_template_fails(serving: Serving) -> None:
    other = hashlib.sha256((TEMPLATE + " ").encode()).hexdigest()
    ref = await serving.adapter("a", template_sha256=other)
    await refused(await serving.prove(ref), "template_mismatch")


async def test_other_token_ids_than_in_training_fail(serving: Serving) -> None:
    ref = await serving.adapter("a")
    reply = await serving.prove(ref, expected_ids=[1, 2, 3])
    await refused(reply, "template_mismatch")
    assert "differ from token 0 on" in reply.json()["error"]["message"]


async def test_a_flipped_weight_that_is_stored_under_its_own_hash_fails_when_it_is_not_finite(serving: Serving) -> None:
    folder = build_adapter(serving.root / "nan", serving.base, 1)
    weights = load_file(folder / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, folder / "adapter_model.safetensors")
    ref = await store(serving.blobs, "local/nan", folder, serving.base_ref, "adapter")
    await refused(await serving.prove(ref), "not_finite")


async def test_an_adapter_of_another_base_fails(serving: Serving) -> None:
    other = build_base(serving.root / "other", hidden_size=48)
    folder = build_adapter(serving.root / "foreign", other, 3)
    ref = await store(serving.blobs, "local/foreign", folder, serving.base_ref, "adapter")
    await refused(await serving.prove(ref), "weights_mismatch")


@pytest.mark.parametrize("path", ["../evil.json", "/etc/evil.json", "a/../../b.json"])
async def test_a_manifest_cannot_write_outside_its_folder(serving: Serving, path: str) -> None:
    ref = await serving.adapter("a")
    manifest = Manifest.model_validate_json(await serving.blobs.get(ref.key))
    evil = manifest.model_copy(update={"files": (manifest.files[0].model_copy(update={"path": path}),)})
    await serving.blobs.put(ref.key, evil.encoded())
    await refused(await serving.prove(ManifestRef(key=ref.key, sha256=evil.digest())), "manifest_mismatch")


async def test_pickled_weights_are_refused(serving: Serving) -> None:
    ref = await serving.adapter("a")
    manifest = Manifest.model_validate_json(await serving.blobs.get(ref.key))
    weights = next(file for file in manifest.files if file.role == "weights")
    evil = manifest.model_copy(update={"files": (weights.model_copy(update={"path": "adapter_model.bin"}),)})
    await serving.blobs.put(ref.key, evil.encoded())
    await refused(await serving.prove(ManifestRef(key=ref.key, sha256=evil.digest())), "weights_mismatch")


async def test_the_least_recently_used_adapter_leaves_memory(serving: Serving) -> None:
    refs = [await serving.adapter(f"a{i}", seed=i) for i in range(4)]
    for ref in refs:
        assert (await serving.chat(ref)).status_code == 200
    state = (await serving.http.get("/healthz")).json()
    assert state["adapters"] == 2
    assert state["bases"] == 1
    assert set(state["models"]) == {serving.base_ref.sha256, refs[2].sha256, refs[3].sha256}
    assert (await serving.chat(refs[0])).status_code == 200


async def test_a_damaged_cache_is_fetched_again(serving: Serving) -> None:
    refs = [await serving.adapter(f"a{i}", seed=i) for i in range(4)]
    for ref in refs:
        await serving.chat(ref)
    cached = serving.root / "cache" / "models" / refs[0].sha256 / "adapter_model.safetensors"
    good = cached.read_bytes()
    cached.write_bytes(good[:-1] + b"\0")
    assert (await serving.prove(refs[0])).status_code == 200
    assert cached.read_bytes() == good


async def test_requests_for_a_model_that_is_loading_load_it_once(serving: Serving) -> None:
    ref = await serving.adapter("a")
    fetched: list[str] = []
    fetch = serving.blobs.fetch

    async def counting(blob: Any, path: Path) -> None:
        fetched.append(blob.key)
        await fetch(blob, path)

    serving.blobs.fetch = counting  # type: ignore[method-assign,assignment]
    replies = await asyncio.gather(*(serving.chat(ref) for _ in range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["choices"][0]["message"]["content"] for reply in replies}) == 1
    assert len(fetched) == len(set(fetched))


async def test_tools_that_the_template_ignores_stand_in_the_text_of_the_prompt(serving: Serving) -> None:
    template = "{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }}<|end|>{% endfor %}<|assistant|>"
    folder = build_base(serving.root / "deaf", template=template)
    sha = hashlib.sha256(template.encode()).hexdigest()
    ref = await store(serving.blobs, "local/deaf", folder, template_sha256=sha)
    headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
    tools = [{"type": "function", "function": {"name": "f", "description": "Tells how warm it is."}}]

    async def prompt_tokens(**more: Any) -> int:
        body = {"model": "m", "messages": MESSAGES, "max_tokens": 1, **more}
        reply = await serving.http.post("/v1/chat/completions", json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        return int(reply.json()["usage"]["prompt_tokens"])

    assert await prompt_tokens(tools=tools) > await prompt_tokens() + 5


async def test_a_model_without_a_template_answers_text_only(serving: Serving) -> None:
    folder = build_base(serving.root / "bare", template=None)
    ref = await store(serving.blobs, "local/bare", folder, template_sha256=hashlib.sha256(b"").hexdigest())
    refusal = await serving.chat(ref)
    assert refusal.status_code == 400
    assert "no chat template" in refusal.json()["error"]["message"]
    headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
    reply = await serving.http.post("/v1/completions", json={"model": "m", "prompt": "the"}, headers=headers)
    assert reply.status_code == 200


async def damage(blobs: MemoryBlobs, key: str) -> None:
    """Flip one bit behind the manifest's back."""
    data = bytearray(await blobs.get(key))
    data[len(data) // 2] ^= 1
    await blobs.put(key, bytes(data))


async def refused(reply: httpx.Response, code: str) -> None:
    assert reply.status_code == 422, reply.text
    assert reply.json()["error"]["code"] == code
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


async def test_what_is_thought_is_told_apart_and_the_models_own_switches_hold_unless_a_request_says_others(
    serving: Serving,
) -> None:
    folder = build_base(serving.root / "thinks", template=kinds.SWITCHED)
    sha = hashlib.sha256(kinds.SWITCHED.encode()).hexdigest()
    more: dict[str, Any] = {"template_sha256": sha}
    thinks = await store(serving.blobs, "local/thinks", folder, **more)
    quiet = {**more, "chat_template_kwargs": {"enable_thinking": False}}
    does_not = await store(serving.blobs, "local/quiet", folder, serving.base_ref, "full", **quiet)

    async def said(ref: ManifestRef, **asked: Any) -> tuple[str, str, int]:
        body = {"model": "m", "messages": MESSAGES, "max_tokens": 12, "temperature": 0, **asked}
        headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
        reply = await serving.http.post("/v1/chat/completions", json=body, headers=headers)
        assert reply.status_code == 200, reply.text
        whole = reply.json()
        message = whole["choices"][0]["message"]
        told = (message.get("reasoning_content", ""), message["content"])
        stream = await serving.http.post("/v1/chat/completions", json={**body, "stream": True}, headers=headers)
        lines = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
        deltas = [line["choices"][0]["delta"] for line in lines]
        names = ("reasoning_content", "content")
        assert tuple("".join(delta.get(name) or "" for delta in deltas) for name in names) == told
        return (*told, whole["usage"]["prompt_tokens"])

    thought, answer, _ = await said(thinks)
    assert thought
    assert not answer
    _, answer, length = await said(does_not)
    assert answer
    assert await said(thinks, chat_template_kwargs={"enable_thinking": False}) == ("", answer, length)
    assert (await said(does_not, chat_template_kwargs={"enable_thinking": True}))[0] == thought
