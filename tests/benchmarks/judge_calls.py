"""Judge calls per second, 16 in flight, ÷ 16 × the rate of calls one after the other.

Both arms go the whole way of a benchmark's judging: GEval in its process, the request over HTTP, the reply recorded in
MinIO. A judge by script takes a quarter of a second for each. Every answer has to be scored, and the same in both arms
(BENCHMARKS row 8b: at least 0.8).

`python -m tests.benchmarks.judge_calls [--quick]`
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contracts.ports import Blobs
from contracts.replies import Patience, Replies
from functions.benchmark_model.judging import IN_FLIGHT, judged
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.minio.blobs import MinioBlobs
from infra.children.child import ProcessChild
from infra.runtime.world import blob_store
from tests.judge import judging
from tests.stack import running_stack

ROUNDS, QUICK_ROUNDS = 5, 2
SECONDS = 0.25
"""Of a verdict."""
TOGETHER, ALONE = 20 * IN_FLIGHT, 12
GATE = 0.8


async def rate(blobs: Blobs, folder: Path, name: str, count: int, in_flight: int) -> tuple[float, dict[str, float]]:
    """Judge `count` answers; returns calls per second, from the first call's beginning to the last one's end."""
    items = folder / f"{name}.jsonl"
    lines = ({"id": f"item-{n}", "side": "tuned", "question": f"Pump {n}?", "answer": f"{n} kg", "said": f"{n % 7} kg"}
             for n in range(count))  # fmt: skip
    items.write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores: dict[str, float] = {}

    async def scored(line: Mapping[str, Any]) -> None:
        scores[line["id"]] = line["score"]

    with judging(SECONDS, faulty=False) as judge:
        generate = HttpGenerate(judge.url, "strict-1")
        replies = Replies(blobs, f"local/{name}/judge", generate, Patience(), asyncio.sleep)
        await judged(ProcessChild(), items, replies, "strict-1", in_flight, scored)
        await generate.close()
        began, ended = min(start for start, _ in judge.calls), max(end for _, end in judge.calls)
        if len(judge.calls) != count or len(scores) != count or None in scores.values():
            raise AssertionError(f"{len(judge.calls)} calls and {len(scores)} scores for {count} answers")
    return count / (ended - began), scores


async def _rounds(blobs: MinioBlobs, folder: Path, rounds: int) -> list[tuple[float, float]]:
    await blobs.ensure_bucket()
    found = []
    for number in range(rounds + 1):
        together, scores = await rate(blobs, folder, f"together-{number}", TOGETHER, IN_FLIGHT)
        alone, same = await rate(blobs, folder, f"alone-{number}", ALONE, 1)
        if any(scores[name] != score for name, score in same.items()):
            raise AssertionError("the same answers have other scores when they are judged one by one")
        if number:  # the first warms both arms
            found.append((together, alone))
    return found


def run(quick: bool = False) -> dict[str, Any]:
    """Both arms in turn; the gate is on the unfavourable bound."""
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as folder,
        running_stack(Path(folder) / "home", "--only", "kafka,mongo,minio") as stack,
    ):
        rates = asyncio.run(_rounds(blob_store(stack.settings), Path(folder), QUICK_ROUNDS if quick else ROUNDS))
    ratios = [together / (IN_FLIGHT * alone) for together, alone in rates]
    bounds = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "ratio": {"median": statistics.median(ratios), "p10": bounds[0], "p90": bounds[-1]},
        "calls_per_second": [(round(together, 1), round(alone, 2)) for together, alone in rates],
        "gate": GATE,
        "passed": bounds[0] >= GATE,
        "versions": {"python": platform.python_version(), "deepeval": version("deepeval")},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)
