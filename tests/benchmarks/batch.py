"""A batch of chats beside live ones, with worker and serving killed in the middle: each line answered once.

Live chats' p95 beside the batch ÷ alone is at most 1.5; custom ids are kept in their order.

`python -m tests.benchmarks.batch [LINES]`
"""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openai import OpenAI

from tests.stack import UNTRACKED, Stack, running_stack

BASE = "temper-demo-1m"
LIVE = 40
GATE = 1.5
PATIENCE = 3600.0


def live(client: OpenAI) -> dict[str, float]:
    """Return how long chats take that somebody waits for, one after the other, in seconds."""
    took = []
    for number in range(LIVE):
        begun = time.perf_counter()
        question = f"What is gate {number}?"
        client.chat.completions.create(
            model=BASE, messages=[{"role": "user", "content": question}], max_tokens=32, temperature=0
        )
        took.append(time.perf_counter() - begun)
    took.sort()
    return {"p50": round(took[len(took) // 2], 3), "p95": round(took[int(len(took) * 0.95)], 3)}


def line(number: int) -> dict[str, Any]:
    """Return one line of the file."""
    messages = [{"role": "user", "content": f"What is code {number}?"}]
    body = {"model": BASE, "messages": messages, "max_tokens": 32, "temperature": 0}
    return {"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def measure(stack: Stack, lines: int) -> dict[str, Any]:
    """Run one batch and say what became of it."""
    client = OpenAI(base_url=stack.base_url, api_key=stack.api_key, _strict_response_validation=True, timeout=120)
    live(client)  # warm
    alone = live(client)
    content = "\n".join(json.dumps(line(number)) for number in range(lines)).encode()
    file = client.files.create(file=("requests.jsonl", content), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    begun = time.monotonic()

    def counts() -> Any:
        batch = client.batches.retrieve(made.id)
        assert batch.request_counts
        assert time.monotonic() - begun < PATIENCE, batch
        return batch

    while counts().request_counts.completed < 64:
        time.sleep(0.5)
    beside = live(client)
    killed_at = counts().request_counts.completed
    for name in ("worker", "serving"):
        os.kill(stack.process(name).pid, signal.SIGKILL)
    while (batch := counts()).status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(1)
    answers = [json.loads(each) for each in client.files.content(batch.output_file_id).text.splitlines()]
    exact = [each["custom_id"] for each in answers] == [f"id-{number}" for number in range(lines)]
    ratio = round(beside["p95"] / alone["p95"], 2)
    return {
        "what": f"{lines} chats as a batch, worker and serving killed after {killed_at}",
        "status": batch.status,
        "each_line_once": exact and batch.error_file_id is None,
        "seconds": round(time.monotonic() - begun),
        "live_seconds": {"alone": alone, "beside": beside},
        "live_p95_ratio": ratio,
        "gate": {"live_p95_ratio": GATE},
        "passed": exact and batch.status == "completed" and ratio <= GATE,
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def run(lines: int) -> dict[str, Any]:
    """Measure on a whole stack of its own."""
    os.environ.update(UNTRACKED)
    with tempfile.TemporaryDirectory(prefix="temper-bench-") as home, running_stack(Path(home)) as stack:
        return measure(stack, lines)


if __name__ == "__main__":
    result = run(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)
