"""Greedy answers of an exported model beside those of the served one: in plain PEFT, transformers, llama.cpp.

The served one answers in the serving process's own app, all questions at once. What it says is compared with the
adapter in plain PEFT, with the merged weights in plain transformers and, where an interpreter that has the package
`xllamacpp` is named (an environment of its own: it brings llama.cpp), with the GGUF file in float16. The first two
must say the same, word for word; the exit status is 1 where they do not.

`python -m tests.benchmarks.exported_answers --base DIR --adapter DIR --rows FILE.jsonl [--llama PYTHON]`
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from transformers import AutoTokenizer

from functions.export_model import check, convert
from functions.generate_text.app import create_app
from infra.adapters.memory import MemoryBlobs
from tests.unit.generate_text.tiny import store

QUESTIONS, TOKENS = 24, 48
LLAMA = """
import json, sys
import xllamacpp as x
model, questions, stops, tokens = json.load(open(sys.argv[1]))
asked = x.CommonParams()
asked.model.path, asked.n_ctx, asked.n_gpu_layers = model, 2048, 0
server, said = x.Server(asked), []
for ids in questions:
    made = server.handle_completions({"prompt": ids, "temperature": 0, "top_k": 1, "n_predict": tokens, "stop": stops})
    said.append((json.loads(made) if isinstance(made, str) else made)["choices"][0]["text"])
print("\\n" + json.dumps(said), flush=True)
"""
"""Runs where `xllamacpp` is: prompts are token ids, so that only the weights are compared."""


async def served(base: Path, adapter: Path, questions: list[Any], cache: Path) -> list[str]:
    """What the serving app says."""
    blobs = MemoryBlobs()
    template = hashlib.sha256((base / "chat_template.jinja").read_bytes()).hexdigest()
    own = await store(blobs, "public/base", base, template_sha256=template, context=2048)
    ref = await store(blobs, "local/job", adapter, own, "adapter", template_sha256=template, context=2048)
    app = create_app(blobs, cache, "cpu")
    named = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://serving", timeout=None, headers=named) as http:

        async def one(question: Any) -> str:
            asked = {"model": "m", "messages": question["messages"], "max_tokens": TOKENS, "temperature": 0}
            reply = await http.post("/v1/chat/completions", json=asked)
            assert reply.status_code == 200, reply.text
            return str(reply.json()["choices"][0]["message"]["content"])

        found = await asyncio.gather(*map(one, questions))
    await asyncio.to_thread(app.state.engine.close)
    return list(found)


def exported(format: str, base: Path, adapter: Path, questions: list[Any], folder: Path) -> list[str]:
    """What the model says as it was exported."""
    out = folder / format
    out.mkdir()
    for path in [*base.glob("tokenizer*"), *base.glob("*.jinja")]:
        shutil.copyfile(path, out / path.name)
    where = {"format": format, "base": str(base)}
    if format == "adapter":
        for path in adapter.glob("adapter_*"):
            shutil.copyfile(path, out / path.name)
    else:
        texts = [each["messages"][-1]["content"] for each in questions]
        done = convert.convert({**where, "name": "m", "adapter": str(adapter), "out": str(out), "texts": texts})
        assert not done["refused"], done
    asked = [{**each, "max_tokens": TOKENS} for each in questions]
    said: list[str] = check.check({**where, "folder": str(out), "switches": {}, "questions": asked})["said"]
    return said


def llama(python: Path, base: Path, questions: list[Any], folder: Path) -> list[str]:
    """What llama.cpp says of the GGUF file."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompts = [
        tokenizer.apply_chat_template(each["messages"], add_generation_prompt=True)["input_ids"] for each in questions
    ]
    spec = folder / "llama.json"
    spec.write_text(json.dumps([str(folder / "gguf" / convert.GGUF), prompts, [tokenizer.eos_token], TOKENS]))
    done = subprocess.run([str(python), "-c", LLAMA, str(spec)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said: list[str] = json.loads(done.stdout.splitlines()[-1])
    return said


def main() -> None:
    """Compare, and say how many answers are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "adapter", "rows"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--llama", type=Path, help="a Python interpreter that has xllamacpp")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.rows.read_text("utf-8").splitlines()][:QUESTIONS]
    questions = [{"messages": row["messages"][:1]} for row in rows]
    right = [row["messages"][-1]["content"] for row in rows]
    different = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ours = asyncio.run(served(given.base, given.adapter, questions, folder / "cache"))
        print(f"served: {sum(map(str.__eq__, ours, right))} of {len(rows)} as the rows say", flush=True)
        for format in ("adapter", "merged", "gguf", *(("llama.cpp",) if given.llama else ())):
            began = time.process_time()
            said = (
                llama(given.llama, given.base, questions, folder)
                if format == "llama.cpp"
                else exported(format, given.base, given.adapter, questions, folder)
            )
            same = sum(one.strip() == other.strip() for one, other in zip(ours, said, strict=True))
            print(f"{format}: {same} of {len(rows)} as served ({time.process_time() - began:.0f} CPU s)", flush=True)
            different += format in ("adapter", "merged") and same < len(rows)
            for one, other in zip(ours, said, strict=True):
                if one.strip() != other.strip():
                    print(f"  served {one!r}, {format} {other!r}", flush=True)
    raise SystemExit(bool(different))


if __name__ == "__main__":
    main()
