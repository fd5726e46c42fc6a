"""DeepEval's GEval on answers: `python -m functions.benchmark_model.judge spec.json`.

The spec names `items` (a file of lines {id, side, question, answer, said}) and `in_flight`, how many are judged at the
same time. This process knows no endpoint: it prints {"ask": {id, prompt, name, schema, again}} and is told on standard
input {id, text} or {id, error}. For each item it prints {"scored": {id, side, score, raw, reason}}, `score` in 0..1, or
{"scored": {id, side, score: null, error}}: what could not be judged is not 0.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from functions.benchmark_model.core import NoAnswerError

LINE_BYTES = 16 * 2**20

# DeepEval reads these when it is imported; without them it reports home and writes into the folder it is started in.
QUIET = {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
    "DEEPEVAL_DISABLE_DOTENV": "1",
    "DEEPEVAL_FILE_SYSTEM": "READ_ONLY",
    "DEEPEVAL_RETRY_MAX_ATTEMPTS": "1",
    "DEEPEVAL_DISABLE_TIMEOUTS": "1",
    "CONFIDENT_TRACING_ENABLED": "NO",
}


class Wire:
    """The conversation with whoever started this process."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._asked = out, dict[int, asyncio.Future[Mapping[str, Any]]]()

    def say(self, message: Mapping[str, Any]) -> None:
        """Print a line."""
        self._out.write(json.dumps(message, ensure_ascii=False) + "\n")
        self._out.flush()

    async def ask(self, prompt: str, name: str, schema: Mapping[str, Any] | None, again: bool) -> str:
        """Return the endpoint's reply; raises UnansweredError."""
        id = len(self._asked)
        self._asked[id] = asyncio.get_running_loop().create_future()
        self.say({"ask": {"id": id, "prompt": prompt, "name": name, "schema": schema, "again": again}})
        told = await self._asked[id]
        if "error" in told:
            raise NoAnswerError(told["error"])
        return str(told["text"])

    async def listen(self) -> None:
        """Hear replies until standard input ends; then nobody waits for a score any more."""
        reader = asyncio.StreamReader(limit=LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            told = json.loads(line)
            self._asked[told["id"]].set_result(told)
        os._exit(1)


async def judge_all(spec: Mapping[str, Any], out: TextIO) -> None:
    """Judge every item of the spec."""
    os.environ.update(QUIET)
    from functions.benchmark_model.correctness import score  # seconds: only who judges waits for DeepEval

    wire = Wire(out)
    lines = iter(Path(spec["items"]).read_bytes().splitlines())

    async def drain() -> None:
        for line in lines:
            item = json.loads(line)
            wire.say({"scored": {"id": item["id"], "side": item["side"], **await score(item, wire.ask)}})

    hearing = asyncio.create_task(wire.listen())
    await asyncio.gather(*(drain() for _ in range(spec["in_flight"])))
    hearing.cancel()


def main(spec_path: str) -> int:
    """Judge what the spec names; standard output carries the conversation and nothing else."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # DeepEval greets
    asyncio.run(judge_all(json.loads(Path(spec_path).read_bytes()), out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
