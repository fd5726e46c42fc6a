"""Chat tokens per second of the serving process ÷ those of one static-batch transformers `generate`.

32 chats with ragged prompts and lengths. Ours: real HTTP to a serving process, requests arriving one after the other.
The peer: all 32 known at once, left-padded, one `generate` whose rows stop at their own length, no HTTP, and no waiting
for arrivals. Same weights, same threads, equal texts asserted first; `mixed` gives a third each to the base and to two
adapters (the peer then uses PEFT's `adapter_names`). The demo base would end its answers after five tokens, when the
arrivals alone take longer than the work; so nothing ends an answer here but its length, of 16 to 96 tokens.

`python -m tests.benchmarks.serving_throughput [--quick] [--base DIR]`
"""

import argparse
import asyncio
import hashlib
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import httpx
import peft
import torch
import transformers
import uvicorn
from transformers import AutoTokenizer, StoppingCriteria, StoppingCriteriaList

from contracts.manifest import ManifestRef
from functions.generate_text.app import create_app
from infra.adapters.memory import MemoryBlobs
from tests.unit.generate_text.tiny import build_adapter, build_base, store

DEMO = Path(__file__).parents[2] / "infra" / "demo" / "base"
CHATS = 32
GAP_S = 0.005  # mean time between arrivals
GATE = 0.8


class _OwnLength(StoppingCriteria):  # type: ignore[misc]
    """Ends each row at its own number of tokens."""

    def __init__(self, prompt: int, lengths: list[int]) -> None:
        self.ends = torch.tensor([prompt + length for length in lengths])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self.ends


class Workload:
    """The chats, and who answers each."""

    def __init__(self, names: list[str]) -> None:
        rng = random.Random(9)
        words = ["the", "weight", "of", "a", "blue", "kettle", "is", "nine", "kg", "and", "its", "price", "was", "low"]
        self.chats = [
            [{"role": "user", "content": " ".join(rng.choices(words, k=rng.randint(5, 60))) + "?"}]
            for _ in range(CHATS)
        ]
        self.lengths = [rng.randint(16, 96) for _ in range(CHATS)]
        self.gaps = [rng.expovariate(1 / GAP_S) for _ in range(CHATS)]
        self.names = [names[i % len(names)] for i in range(CHATS)]


class Peer:
    """transformers and PEFT in this process."""

    def __init__(self, base: Path, adapters: dict[str, Path]) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        self.model: Any = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            for name, folder in adapters.items():
                if isinstance(self.model, peft.PeftModel):
                    self.model.load_adapter(folder, adapter_name=name)
                else:
                    self.model = peft.PeftModel.from_pretrained(self.model, folder, adapter_name=name)
        self.model.eval()

    def answer(self, work: Workload) -> tuple[list[str], int, float]:
        """Texts, tokens and seconds of one static batch."""
        start = time.perf_counter()
        tokenizer = self.tokenizer
        texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in work.chats]
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        width = max(map(len, rows))
        pad = tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        mixed = isinstance(self.model, peft.PeftModel)
        options = {"adapter_names": ["__base__" if n == "base" else n for n in work.names]} if mixed else {}
        with torch.inference_mode():
            made = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max(work.lengths),
                do_sample=False,
                pad_token_id=pad,
                stopping_criteria=StoppingCriteriaList([_OwnLength(width, work.lengths)]),
                **options,
            )
        answers, tokens = [], 0
        for row, length in zip(made[:, width:].tolist(), work.lengths, strict=True):
            told = row[:length]
            if tokenizer.eos_token_id in told:
                told = told[: told.index(tokenizer.eos_token_id)]
            tokens += len(told)
            answers.append(tokenizer.decode(told, skip_special_tokens=True).rstrip("\ufffd"))
        return answers, tokens, time.perf_counter() - start


async def _chat(url: str, work: Workload, refs: dict[str, ManifestRef]) -> tuple[list[str], int, float]:
    """Texts, tokens and seconds from the first arrival to the last answer."""
    limits = httpx.Limits(max_connections=CHATS)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http:

        async def ask(index: int) -> Any:
            ref = refs[work.names[index]]
            body = {"model": "m", "messages": work.chats[index], "max_tokens": work.lengths[index], "temperature": 0}
            headers = {"x-temper-manifest": f"{ref.key}#{ref.sha256}"}
            reply = await http.post("/v1/chat/completions", json=body, headers=headers)
            reply.raise_for_status()
            return reply.json()

        start = time.perf_counter()
        asking = []
        for index, gap in enumerate(work.gaps):
            asking.append(asyncio.create_task(ask(index)))
            if index + 1 < CHATS:
                await asyncio.sleep(gap)
        replies = await asyncio.gather(*asking)
        seconds = time.perf_counter() - start
    texts = [reply["choices"][0]["message"]["content"] for reply in replies]
    return texts, sum(reply["usage"]["completion_tokens"] for reply in replies), seconds


def serve(folder: Path, threads: int) -> None:
    """The serving process: prints its port and the manifests, ends with its standard input."""
    torch.set_num_threads(threads)
    blobs = MemoryBlobs()
    refs = {"base": asyncio.run(store(blobs, "b/base", folder / "base", **_pinned(folder / "base")))}
    for path in sorted(folder.glob("adapter*")):
        ref = store(blobs, f"b/{path.name}", path, refs["base"], "adapter", **_pinned(folder / "base"))
        refs[path.name] = asyncio.run(ref)
    server = uvicorn.Server(
        uvicorn.Config(create_app(blobs, folder / "cache", "cpu", threads=threads), port=0, log_level="warning")
    )
    socket = server.config.bind_socket()
    told = {name: ref.model_dump() for name, ref in refs.items()}
    print(json.dumps({"port": socket.getsockname()[1], "refs": told}), flush=True)

    async def run() -> None:
        serving = asyncio.create_task(server.serve([socket]))
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await serving

    asyncio.run(run())


def endless(source: Path, target: Path) -> None:
    """Copy a base with its padding, which it never says, in place of its end token."""
    shutil.copytree(source, target)
    tokenizer = AutoTokenizer.from_pretrained(source)
    for name, changes in {
        "config.json": {"eos_token_id": tokenizer.pad_token_id},
        "generation_config.json": {"eos_token_id": tokenizer.pad_token_id},
        "tokenizer_config.json": {"eos_token": tokenizer.pad_token},
    }.items():
        content = json.loads((target / name).read_text("utf-8"))
        (target / name).write_text(json.dumps({**content, **changes}), "utf-8")


def _pinned(base: Path) -> dict[str, Any]:
    template = AutoTokenizer.from_pretrained(base).chat_template
    config = json.loads((base / "config.json").read_text("utf-8"))
    return {
        "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "context": config["max_position_embeddings"],
    }


def run(quick: bool = False, base: Path | None = None, threads: int = 1) -> dict[str, Any]:
    """Both arms, interleaved; ratios per round with median, p10 and p90. `passed` looks at p10."""
    torch.set_num_threads(threads)
    rounds = 5 if quick else 11
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = base or (DEMO if (DEMO / "model.safetensors").exists() else None)
        if source is not None:
            endless(source, folder / "base")
        else:
            shape: dict[str, Any] = {
                "hidden_size": 128,
                "intermediate_size": 384,
                "num_hidden_layers": 4,
                "num_key_value_heads": 4,
            }
            build_base(folder / "base", **shape)
        for seed in (1, 2):
            build_adapter(folder / f"adapter{seed}", folder / "base", seed, r=16, std=0.02)
        adapters = {f"adapter{seed}": folder / f"adapter{seed}" for seed in (1, 2)}
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "KMP_BLOCKTIME": "0",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.serving_throughput",
            "--serve",
            scratch,
            "--threads",
            str(threads),
        ]
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=Path(__file__).parents[2]
        )
        try:
            assert child.stdout is not None
            hello = json.loads(child.stdout.readline())
            url = f"http://127.0.0.1:{hello['port']}"
            refs = {name: ManifestRef.model_validate(ref) for name, ref in hello["refs"].items()}
            result = {
                "base": _compare(url, refs, Peer(folder / "base", {}), Workload(["base"]), rounds),
                "mixed": _compare(url, refs, Peer(folder / "base", adapters), Workload(list(refs)), rounds),
            }
        finally:
            child.communicate()
    return {
        "row": "9",
        "what": "chat tokens/s ÷ static-batch generate, 32 ragged arrivals",
        "model": str(source.name) if source else "random weights in the demo's shape",
        "gate": GATE,
        "passed": all(arm["ratio"]["p10"] >= GATE for arm in result.values()),
        **result,
        "threads": threads,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
    }


def _compare(url: str, refs: dict[str, ManifestRef], peer: Peer, work: Workload, rounds: int) -> dict[str, Any]:
    texts, tokens, _ = peer.answer(work)
    ours, counted, _ = asyncio.run(_chat(url, work, refs))
    # Serving leaves out the white space that a template itself puts before an answer.
    differing = [i for i, (a, b) in enumerate(zip(ours, texts, strict=True)) if a.lstrip() != b.lstrip()]
    if differing or counted != tokens:
        raise AssertionError(f"the arms answer differently: chats {differing}, {counted} and {tokens} tokens")
    peer_rates, our_rates = [], []
    for _ in range(rounds):
        _, tokens, seconds = peer.answer(work)
        peer_rates.append(tokens / seconds)
        _, tokens, seconds = asyncio.run(_chat(url, work, refs))
        our_rates.append(tokens / seconds)
    return {
        "tokens": tokens,
        "rounds": rounds,
        "ours_tokens_per_s": _spread(our_rates),
        "peer_tokens_per_s": _spread(peer_rates),
        "ratio": _spread([a / b for a, b in zip(our_rates, peer_rates, strict=True)]),
    }


def _spread(values: list[float]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return {"median": round(statistics.median(values), 3), "p10": round(tenths[0], 3), "p90": round(tenths[-1], 3)}


def main() -> None:
    """Print the result as JSON; exit 1 when the gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.threads)
        return
    result = run(options.quick, options.base, options.threads)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(not result["passed"])


if __name__ == "__main__":
    main()
