"""P4: a model that is taken away is the model that is served: as PEFT's folder, as transformers', as GGUF."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from contracts.blobs import BlobRef
from contracts.events.benchmarks import BenchmarkCompleted, BenchmarkRequested
from contracts.events.jobs import JobCreated, JobQueued
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.ports import ChildResult, Proof
from functions.export_model import check, convert, gguf_rules
from functions.export_model.core import Compared, ExportError, compared
from functions.export_model.work import CHECK, CONVERT, ExportPorts, export
from functions.generate_text.app import create_app
from infra.cli.export import _score
from infra.runtime.bootstrap import DEMO_FOLDER
from tests.functional.edge import World, plan
from tests.unit.generate_text.tiny import build_adapter, build_base, store

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # of PEFT's own making
MESSAGES = [{"role": "user", "content": "What is the weight of 25 blue kettles?"}]
NAME, JOB = "ft:base:local::abc", "ftjob-1"


class Inside:
    """The Child port without a process: the same functions, in this one, which has torch already."""

    async def run(self, module: str, argument: Path, memory_bytes: int = 0, seconds: float = 0) -> ChildResult:
        do: Any = {CONVERT: convert.convert, CHECK: check.check}[module]
        found = await asyncio.to_thread(lambda: json.dumps(do(json.loads(argument.read_text()))))
        return ChildResult(0, found.encode(), "")


class Place(World):
    """A served base with an adapter, and the job that made it."""

    async def fill(self, root: Path, base: Path, kind: str = "adapter") -> Place:
        self.root, self.base_folder = root, base
        template = (base / "chat_template.jinja").read_text()
        sha = hashlib.sha256(template.encode()).hexdigest()
        self.base_ref = await store(self.blobs, "public/base", base, template_sha256=sha)
        folder = build_adapter(root / "adapter", base, seed=1) if kind == "adapter" else base
        self.ref = await store(self.blobs, f"local/{JOB}/ckpt/1/30", folder, self.base_ref, kind, template_sha256=sha)
        tokenizer = AutoTokenizer.from_pretrained(base)
        text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
        self.ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        probe = {"messages": MESSAGES, "tools": None, "prompt_ids": self.ids}
        blob = await self.blobs.put(f"local/{JOB}/probe.json", json.dumps(probe).encode())
        await self.say(JobCreated(model="base", training_file="file-1"), JOB, "local")
        await self.say(JobQueued(plan=plan().model_copy(update={"probe": blob})), JOB, "local")
        data = ModelRegistered(
            kind=kind,  # type: ignore[arg-type]
            manifest=self.ref,
            base=self.base_ref,
            base_name="base",
            template_sha256=sha,
            context=512,
            owned_by="local",
            job=JOB,
            step=30,
        )
        await self.say(data, NAME, "local")
        return self

    async def prove(self, manifest: ManifestRef, messages: Any, tools: Any, ids: Any) -> Proof:
        """Ask the real serving app."""
        app = create_app(self.blobs, self.root / "cache", "cpu", threads=1)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://serving") as http:
            body = {"manifest": manifest.model_dump(), "messages": messages, "tools": tools, "expected_ids": ids}
            said = (await http.post("/v1/prove", json=body)).json()
        await asyncio.to_thread(app.state.engine.close)
        return Proof(prompt_ids=tuple(said["prompt_ids"]), answer=said["answer"])

    @property
    def ports(self) -> ExportPorts:
        child: Any = Inside()
        return ExportPorts(
            self.blobs, self.documents, child, self.prove, self.root / "cache", _score, lambda _text: None
        )

    async def model(self) -> dict[str, Any]:
        view = await self.documents.get("models", f"local/{NAME}")
        assert view is not None
        return view


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return await Place().fill(tmp_path, DEMO_FOLDER)


def greedy(model: Any, ids: list[int]) -> list[int]:
    with torch.no_grad():
        made = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=16, do_sample=False)
    found: list[int] = made[0, len(ids) :].tolist()
    return found


@pytest.mark.parametrize("format", ["adapter", "merged", "gguf"])
async def test_what_was_exported_says_what_the_served_model_says(place: Place, tmp_path: Path, format: Any) -> None:
    out = tmp_path / "out"
    found = await export(place.ports, await place.model(), format, out)
    assert found.compared == Compared(1, 1, None, None)
    names = {path.name for path in found.files}
    weights = {"adapter": "adapter_model.safetensors", "merged": "model.safetensors", "gguf": convert.GGUF}[format]
    assert {weights, "README.md", "tokenizer.json", "chat_template.jinja"} <= names
    assert "base_model: base" in (out / "README.md").read_text()
    assert place.base_ref.sha256 in (out / "README.md").read_text()
    assert not list(tmp_path.glob(".*partial"))
    if format == "adapter":
        stored = await place.blobs.get(f"local/{JOB}/ckpt/1/30/{weights}")
        assert (out / weights).read_bytes() == stored
    tokenizer = AutoTokenizer.from_pretrained(out)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == place.ids


async def test_a_gguf_file_says_of_itself_what_llama_cpp_needs(place: Place, tmp_path: Path) -> None:
    found = await export(place.ports, await place.model(), "gguf", tmp_path / "out")
    reader = gguf.GGUFReader(tmp_path / "out" / convert.GGUF)
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == "llama"
    assert said["llama.attention.head_count"] == 4
    assert said["tokenizer.ggml.eos_token_id"] == 1
    assert said["tokenizer.chat_template"] == (DEMO_FOLDER / "chat_template.jinja").read_text()
    assert said["tokenizer.ggml.tokens"][1] == "<|end|>"
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert "output.weight" not in tensors, "it is the embedding"
    assert {"blk.0.attn_q.bias", "blk.3.ffn_down.weight", "token_embd.weight"} <= tensors.keys()
    assert found.warning, "no pre-tokenizer of llama.cpp's reads like the demo base's"
    assert "token ids" in found.warning


async def test_a_family_that_is_not_rotated_is_exported_and_read_back(tmp_path: Path) -> None:
    base = build_base(tmp_path / "base")
    weights = {name: tensor.half().float() for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})  # random answers turn with a rounding
    place = await Place().fill(tmp_path, base, "full")
    found = await export(place.ports, await place.model(), "gguf", tmp_path / "out")
    assert found.compared is not None
    assert found.compared.good
    assert found.warning is None


async def test_a_damaged_export_is_refused_and_leaves_nothing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_rules, "permute", lambda weights, heads: weights)
    with pytest.raises(ExportError, match="not the model that is served"):
        await export(place.ports, await place.model(), "gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*partial"))


async def test_a_model_is_asked_what_its_own_benchmark_asked(place: Place, tmp_path: Path) -> None:
    served = await place.prove(place.ref, MESSAGES, None, place.ids)
    question = {
        "id": "item-1", "task": "documents", "kind": "documents", "messages": MESSAGES, "question": "?",
        "answer": served.answer, "max_tokens": 32,
    }  # fmt: skip
    await place.blobs.put("local/bench-1/suite.jsonl", json.dumps(question).encode())
    said = [{"id": "item-1", "said": served.answer}, {"id": "item-2", "said": "x"}]
    await place.blobs.put(
        "local/bench-1/answers/tuned-00000.jsonl", b"\n".join(json.dumps(each).encode() for each in said)
    )
    models = {"tuned": {"name": NAME, "manifest": place.ref.model_dump()}}
    asked = BenchmarkRequested.model_validate({"models": models, "base_name": "base", "job": JOB})
    await place.say(asked, "bench-1", "local")
    blob = BlobRef(key="local/bench-1/report.html", sha256="0" * 64, bytes=1)
    ending = BenchmarkCompleted(result=blob, items=blob, report=blob, verdict="better", sentence="Better.", scores=())
    await place.say(ending, "bench-1", "local")
    found = await export(place.ports, await place.model(), "adapter", tmp_path / "out")
    assert found.compared == Compared(1, 1, 1.0, 1.0)


async def test_what_cannot_be_exported_says_why(tmp_path: Path, place: Place) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="is there already"):
        await export(place.ports, await place.model(), "adapter", tmp_path / "there")
    full = await Place().fill(tmp_path / "full", build_base(tmp_path / "b"), "full")
    with pytest.raises(ExportError, match="no adapter"):
        await export(full.ports, await full.model(), "adapter", tmp_path / "out")
    with pytest.raises(ExportError, match="GemmaForCausalLM cannot be exported as GGUF"):
        gguf_rules.architecture({"architectures": ["GemmaForCausalLM"]})
    config = json.loads((DEMO_FOLDER / "config.json").read_text())
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    with pytest.raises(ExportError, match="rotary scaling 'longrope'"):
        gguf_rules.write_config(writer, "x", {**config, "rope_parameters": {"rope_type": "longrope"}})


async def test_a_full_fine_tune_is_merged_as_it_is(tmp_path: Path) -> None:
    place = await Place().fill(tmp_path, build_base(tmp_path / "base"), "full")
    found = await export(place.ports, await place.model(), "merged", tmp_path / "out")
    assert found.compared is not None
    assert found.compared.good
    one, two = (AutoModelForCausalLM.from_pretrained(folder) for folder in (tmp_path / "base", tmp_path / "out"))
    assert greedy(one, place.ids) == greedy(two, place.ids)


def test_an_answer_that_rounding_turned_is_good_only_where_the_score_holds() -> None:
    lines = [{"served": "a b"}] * 100
    said = ["a b"] * 98 + ["b"] * 2

    def scored(_line: Any, text: str) -> float:
        return 1.0 if text == "a b" else 0.0

    assert compared(lines, said, scored).good
    assert not compared(lines, ["b"] * 5 + ["a b"] * 95, scored).good
    assert not compared(lines, said, lambda _line, _text: None).good


def test_a_pre_tokenizer_is_told_by_what_it_does(tmp_path: Path) -> None:
    raw = Tokenizer.from_file(str(build_base(tmp_path / "base") / "tokenizer.json"))
    raw.save(str(tmp_path / "gpt2.json"))
    assert gguf_rules.pre_tokenizer(tmp_path / "gpt2.json") == ("gpt-2", 0)
    said = json.loads((tmp_path / "gpt2.json").read_text())
    digits = {"type": "Digits", "individual_digits": True}
    said["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, said["pre_tokenizer"]]}
    (tmp_path / "smol.json").write_text(json.dumps(said))
    kind, misread = gguf_rules.pre_tokenizer(tmp_path / "smol.json")
    assert misread == 0
    assert kind == "smollm"
