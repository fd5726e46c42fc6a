"""Embeddings through the official client: as sentence-transformers has them, in any company, with OpenAI's errors."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openai
import pytest
import torch
from openai import AsyncOpenAI
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from contracts.manifest import ManifestRef
from functions.generate_text.app import create_app
from functions.register_model.core import NotAModelError
from functions.register_model.work import register_embedding
from infra.adapters.memory import MemoryBlobs
from tests.functional.bases import SameProcess
from tests.functional.embedders import CONTEXT, WIDTH, embedder
from tests.functional.test_generate_text import served
from tests.unit.generate_text.tiny import build_base, store

TEXTS = ["The red key opens the gate at noon.", "kettle", "Nobody has another one, and the blue kettle weighs 7.", "?"]
PROMPTED = {"prompts": {"query": "the gate ", "document": ""}, "default_prompt_name": "query"}


class Server(NamedTuple):
    url: str
    folders: dict[str, Path]
    refs: dict[str, ManifestRef]
    embedder: Any
    client: AsyncOpenAI

    async def embed(self, model: str, given: Any, **options: Any) -> np.ndarray[Any, Any]:
        reply = await self.ask(model, given, **options)
        return np.array([each.embedding for each in reply.data])

    async def ask(self, model: str, given: Any, **options: Any) -> Any:
        ref = self.refs[model]
        headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}", "x-temper-tenant": options.pop("tenant", "a")}
        options.setdefault("encoding_format", "float")  # the strict client refuses the base64 that it asks for
        return await self.client.embeddings.create(model=model, input=given, extra_headers=headers, **options)

    def encode(self, model: str, texts: list[str], **options: Any) -> np.ndarray[Any, Any]:
        """What the library itself says."""
        library = SentenceTransformer(str(self.folders[model]), device="cpu", local_files_only=True)
        return np.asarray(library.encode(texts, show_progress_bar=False, **options))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Path], Any, Any]]:
    root = tmp_path_factory.mktemp("embeddings")
    folders = {
        "bert": embedder(root / "bert"),
        "prompted": embedder(root / "prompted", prompts=PROMPTED, dense=8, normalise=False),
    }
    blobs, refs = MemoryBlobs(), {}
    for name, folder in folders.items():
        refs[name] = asyncio.run(register_embedding(blobs, SameProcess(), name, folder))[0].manifest
    refs["base"] = asyncio.run(store(blobs, "public/base", build_base(root / "base")))
    app = create_app(blobs, root / "cache", "cpu", threads=1)
    with served(app) as url:
        yield url, folders, refs, app.state.embedder


@pytest.fixture
async def server(process: tuple[str, dict[str, Path], Any, Any]) -> AsyncIterator[Server]:
    url, *rest = process
    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield Server(url, *rest, client)


async def refused(asked: Any, status: int = 400) -> tuple[str | None, str | None, str]:
    with pytest.raises(openai.APIStatusError) as raised:
        await asked
    assert raised.value.status_code == status
    body: Any = raised.value.body
    return body["param"], body["code"], body["message"]


def near(one: Any, other: Any, most: float = 1e-5) -> bool:
    return bool(np.abs(np.asarray(one) - np.asarray(other)).max() <= most)


async def test_vectors_are_those_of_sentence_transformers_in_any_company(server: Server) -> None:
    together = await server.embed("bert", TEXTS)
    assert together.shape == (4, WIDTH)
    assert near(together, server.encode("bert", TEXTS))
    for place, text in enumerate(TEXTS):
        assert near(await server.embed("bert", text), together[place])
    assert near(np.linalg.norm(together, axis=1), 1)


async def test_vectors_are_what_plain_transformers_computes(server: Server) -> None:
    folder = server.folders["bert"]
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        hidden = model(**tokenizer([TEXTS[0]], return_tensors="pt")).last_hidden_state[0].mean(0)
    assert near(await server.embed("bert", TEXTS[0]), torch.nn.functional.normalize(hidden, dim=0))


async def test_base64_is_little_endian_float32_and_the_default_of_the_client(server: Server) -> None:
    floats = await server.embed("bert", TEXTS)
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        usual = server._replace(client=client)
        assert near(floats, await usual.embed("bert", TEXTS, encoding_format=openai.omit), 1e-7)
        raw = await usual.ask("bert", TEXTS, encoding_format="base64")
    assert isinstance(raw.data[2].embedding, str)
    assert near(np.frombuffer(base64.b64decode(raw.data[2].embedding), "<f4"), floats[2], 1e-7)


async def test_token_ids_are_read_as_they_are_and_usage_counts_tokens(server: Server) -> None:
    tokenizer = AutoTokenizer.from_pretrained(server.folders["bert"])
    ids = tokenizer(TEXTS)["input_ids"]
    texts, tokens, one = [await server.ask("bert", given) for given in (TEXTS, ids, ids[0])]
    assert near([each.embedding for each in tokens.data], [each.embedding for each in texts.data])
    assert near(one.data[0].embedding, texts.data[0].embedding)
    assert texts.usage.prompt_tokens == texts.usage.total_tokens == sum(map(len, ids)) == tokens.usage.total_tokens
    assert [each.index for each in texts.data] == [0, 1, 2, 3]


async def test_fewer_dimensions_are_the_first_ones_at_length_one(server: Server) -> None:
    whole = await server.embed("bert", TEXTS)
    cut = await server.embed("bert", TEXTS, dimensions=5)
    assert near(cut, whole[:, :5] / np.linalg.norm(whole[:, :5], axis=1, keepdims=True))
    param, code, message = await refused(server.ask("bert", "kettle", dimensions=WIDTH + 1))
    assert (param, code) == ("dimensions", "integer_above_max_value")
    assert f"{WIDTH} dimensions" in message


async def test_a_default_prompt_stands_before_every_text_and_others_can_be_named(server: Server) -> None:
    assert near(await server.embed("prompted", TEXTS), server.encode("prompted", TEXTS))
    named = await server.embed("prompted", TEXTS, extra_body={"prompt_name": "document"})
    assert near(named, server.encode("prompted", TEXTS, prompt_name="document"))
    assert not near(named, await server.embed("prompted", TEXTS), 1e-3)
    param, _, message = await refused(server.ask("prompted", "kettle", extra_body={"prompt_name": "no"}))
    assert param == "prompt_name"
    assert "query, document" in message


async def test_an_input_that_is_too_long_is_refused_with_its_number_of_tokens(server: Server) -> None:
    long = " ".join(["key"] * (CONTEXT - 2))
    await server.ask("bert", long)
    param, code, message = await refused(server.ask("bert", ["kettle", f"{long} gate"]))
    assert (param, code) == ("input", "context_length_exceeded")
    assert f"maximum context length is {CONTEXT} tokens, however you requested {CONTEXT + 1} tokens" in message
    assert "input 1" in message


@pytest.mark.parametrize("model", ["bert", "prompted"])
async def test_the_end_of_what_is_too_long_is_cut_off_on_request_as_the_library_does_it(
    server: Server, model: str
) -> None:
    texts = ["kettle", " ".join(["key"] * 100), "The gate. " * 30]
    found = await server.ask(model, texts, extra_body={"truncate": "END"})
    assert near([each.embedding for each in found.data], server.encode(model, texts))
    assert found.model_extra["temper"] == {"truncated": [1, 2]}
    assert found.usage.prompt_tokens < 3 * CONTEXT
    fits = await server.ask(model, "kettle", extra_body={"truncate": "NONE"})
    assert "temper" not in (fits.model_extra or {})
    for more, asked in (({"truncate": "START"}, "kettle"), ({"truncate": "END"}, [5] * (CONTEXT + 1))):
        param, _, _ = await refused(server.ask(model, asked, extra_body=more))
        assert param == ("truncate" if asked == "kettle" else "input")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "cannot be empty"),
        ([], "1 to 2048"),
        (["kettle", ""], "input[1]"),
        ([[2, 3], []], "input[1]"),
        (["kettle"] * 2049, "2049"),
        ([[2, "kettle"]], "input[0]"),
        ([2, 4.5], "expected a string"),
        ([2, True], "expected a string"),
        ({"text": "kettle"}, "expected a string or an array"),
        (7, "expected a string or an array"),
        ([2, 128], "LangChain"),
        ([-1], "token -1"),
    ],
)
async def test_what_is_no_input_is_refused_by_its_place(server: Server, given: Any, said: str) -> None:
    param, _, message = await refused(server.ask("bert", given))
    assert str(param).startswith("input")
    assert said in message


async def test_all_inputs_together_have_a_bound(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.generate_text.embeddings.MAX_TOKENS", 100)
    await server.ask("bert", [[5] * 50] * 2)
    param, code, message = await refused(server.ask("bert", [[5] * 50, [5] * 51]))
    assert (param, code) == ("input", "max_tokens_per_request")
    assert "Requested 101 tokens, max 100" in message


async def test_models_of_one_kind_refuse_what_the_other_does(server: Server) -> None:
    _, code, message = await refused(server.ask("base", "kettle"))
    assert (code, "makes no embeddings" in message) == ("unsupported_model", True)
    ref = server.refs["bert"]
    headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
    chat: Any = {"messages": [{"role": "user", "content": "Hi"}], "extra_headers": headers, "model": "bert"}
    _, code, message = await refused(server.client.chat.completions.create(**chat))
    assert (code, "POST /v1/embeddings" in message) == ("unsupported_model", True)


async def test_requests_of_several_tenants_share_batches(server: Server) -> None:
    alone = {text: await server.embed("bert", text) for text in TEXTS}
    server.embedder.batches.clear()
    asked = [server.embed("bert", [TEXTS[n % 4]] * 30, tenant=f"t{n}") for n in range(8)]
    for place, found in enumerate(await asyncio.gather(*asked)):
        assert near(found, alone[TEXTS[place % 4]])
    assert sum(server.embedder.batches) == 240
    assert max(server.embedder.batches) > 1


async def test_an_unknown_name_is_told_and_unknown_ones_of_other_servers_are_not(server: Server) -> None:
    param, code, _ = await refused(server.ask("bert", "kettle", extra_body={"dimension": 3}))
    assert (param, code) == ("dimension", "unknown_parameter")
    await server.ask("bert", "kettle", user="me", extra_body={"truncate_prompt_tokens": 9})


QWEN: dict[str, Any] = {"family": "qwen3", "side": "left", "pooling": {"pooling_mode_lasttoken": True}}
KINDS: dict[str, dict[str, Any]] = {
    "xlm-roberta": {"family": "xlm-roberta", "pad_token_id": 0},
    "mpnet": {"family": "mpnet", "pad_token_id": 1, "pooling": {"pooling_mode_cls_token": True}},
    "modernbert": {"family": "modernbert", "pooling": {"pooling_mode": "max"}, "local_attention": 8},
    "qwen3": QWEN,
    "gpt2": QWEN | {"family": "gpt2", "n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT},
    "instructor": {"pooling": {"pooling_mode_mean_tokens": True, "include_prompt": False}, "prompts": PROMPTED},
    "two": {"pooling": {"pooling_mode": ["weightedmean", "mean_sqrt_len_tokens"]}, "normalise": False},
}


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_every_family_and_pooling_is_taken_and_embeds_as_the_library(tmp_path: Path, kind: str) -> None:
    from functions.generate_text.embedder import Embedder, EmbeddingModel

    folder, blobs = embedder(tmp_path / "model", **KINDS[kind]), MemoryBlobs()
    told: list[str] = []
    data, manifest = await register_embedding(blobs, SameProcess(), "mine", folder, told.append)
    assert data.kind == manifest.kind == "embedding"
    assert data.dimensions == WIDTH * (2 if kind == "two" else 1)
    assert any("cosine" in line for line in told) is (kind == "two")
    assert await register_embedding(blobs, SameProcess(), "mine", folder) == (data, manifest)
    model, loop = EmbeddingModel(folder, torch.device("cpu")), Embedder(1)
    try:
        found = loop.submit(model, model.read(TEXTS), "t").done.result(20)
    finally:
        loop.close()
    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    assert near(found, np.concatenate([library.encode([text], show_progress_bar=False) for text in TEXTS]))
    assert model.padded is (kind != "gpt2"), "what counts positions from the left is never padded there"


def _no_key(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors[next(name for name in sorted(tensors) if "query.weight" in name)]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _nan(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][5:] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _wide(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 10**9}))


def _link(folder: Path) -> None:
    shutil.move(folder / "config.json", folder.parent / "elsewhere.json")
    (folder / "config.json").symlink_to(folder.parent / "elsewhere.json")


def _pickle(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_no_key, "weights are missing"),
        (_nan, "not finite"),
        (_wide, "cannot load it"),
        (_link, "config.json is a link that leads out"),
        (_pickle, "only weights in safetensors are loaded"),
    ],
)
async def test_a_folder_that_cannot_be_served_is_refused_with_its_reason(tmp_path: Path, spoil: Any, said: str) -> None:
    folder, blobs = embedder(tmp_path / "model"), MemoryBlobs()
    spoil(folder)
    with pytest.raises(NotAModelError) as refused:
        await register_embedding(blobs, SameProcess(), "mine", folder)
    assert said in str(refused.value)
    assert await blobs.list("public/") == [], "nothing of it was stored"
