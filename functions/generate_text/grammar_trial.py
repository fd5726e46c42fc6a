"""Grammars are compiled in a child first: one that takes too much time or memory ends the child, and nothing else.

What a schema becomes can grow without bound with its size, and no limit of llguidance's holds while it is read.
`python -m functions.generate_text.grammar_trial` reads a grammar a line, as a JSON string, and writes why it does not
compile, empty where it does.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=100_000,
    step_max_items=20_000,
    max_lexer_states=20_000,
    max_grammar_size=200_000,
    verbose_errors=False,
)
"""What a step may cost the batch: about 10 ms in the worst of cases, and 40 MB; a grammar beyond it ends its answer."""
SECONDS, MEMORY = 2.0, 2**30
"""Of the processor, and bytes: what compiling one may take."""
_WAIT = 30.0
_READY = b'"ready"\n'
COSTLY = f"it takes more than {SECONDS:g} seconds or {MEMORY >> 20} MiB to compile"


class Trial:
    """A child that compiles; of one thread."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.communicate()
            self._child = None

    def problem(self, rules: str) -> str:
        """Return why a grammar does not compile, empty where it does."""
        child = self._child = self._child or _start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(rules).encode() + b"\n")
            child.stdin.flush()
            line = _line(child)
        except OSError:
            line = b""
        if not line:
            self._child = None
            child.kill()
            child.communicate()
            return COSTLY
        told: str = json.loads(line)
        return told


def _start() -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}
    )
    if _line(child) != _READY:
        child.kill()
        raise RuntimeError("the child that compiles grammars does not start")
    return child


def _line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline() if select.select([child.stdout], [], [], _WAIT)[0] else b""


def compiled(tokenizer: LLTokenizer, rules: str) -> LLMatcher:
    """Return a grammar, which may be in error."""
    return LLMatcher(tokenizer, rules, log_level=0, limits=LIMITS)


def main() -> None:
    """Compile what comes, until nobody is there any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)
    tokenizer = LLTokenizer("byte")
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    for line in sys.stdin.buffer:
        # tokens of the model's own are others here
        rules = re.sub(r"<\[\d+\]>", "<[1]>", json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # which ends the process
        found = compiled(tokenizer, rules)
        if not found.is_error():
            found.compute_bitmask()
        told = found.get_error() or "it cannot be compiled" if found.is_error() else ""
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
