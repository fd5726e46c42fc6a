"""An OpenAI-compatible endpoint that writes questions by script and fails as real ones: 429, 500, hangs, nonsense."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from contracts.canonical import compact, sha256

ANSWERS, HANGS, ADDS = "writer", "stuck", "adder"
"""Tenants with an endpoint of their own: one answers in the end, one never does, one adds to every other answer a word
that is not in its quote."""
SECONDS = 0.1
"""What an answer takes."""
_PASSAGE = re.compile(r"<<<\n(.*)\n>>>", re.S)
_SENTENCE = re.compile(r"[A-Z][^.!?\n]*[.!?]")
"""Within a line, as a quote has to be from one paragraph."""
_LONG = re.compile(r"[a-z]{6,}")


class Endpoint:
    """What was asked, and the threads that answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: Counter[str] = Counter()
        self.asked: list[tuple[str, str]] = []
        """(tenant, the request's hash, under which its reply is recorded), in order."""
        self.failures: Counter[str] = Counter()
        self.ended = threading.Event()
        self.port = 0

    def file(self, path: Path) -> Path:
        """Write what the setting `generators_file` wants."""
        own = {
            tenant: {"url": f"http://127.0.0.1:{self.port}/{tenant}/v1", "model": f"{tenant}-1", "key": "sk-test-key"}
            for tenant in (ANSWERS, HANGS, ADDS)
        }
        path.write_text(json.dumps(own))
        return path

    def waiting(self, tenant: str) -> int:
        """How often a tenant's endpoint was asked."""
        return sum(each == tenant for each, _ in list(self.asked))

    def answer(self, tenant: str, body: bytes) -> tuple[int, str] | None:
        """Return status and text, or None to close the connection without a word."""
        name = sha256(compact(json.loads(body)))
        with self._lock:
            self._times[name] += 1
            first = self._times[name] == 1
            self.asked.append((tenant, name))
        if tenant == HANGS:
            self.ended.wait(600)
            return None
        time.sleep(SECONDS)
        fault = ("429", "500", "silence", "nonsense", "fenced", "none")[int(name[:8], 16) % 6] if first else "none"
        self.failures[fault] += 1
        said = pairs(json.loads(body)["messages"], adds=tenant == ADDS)
        match fault:
            case "429":
                return 429, ""
            case "500":
                return 500, ""
            case "silence":
                self.ended.wait(1)
                return None
            case "nonsense":
                return 200, f"Of course! Here you are: {said[: len(said) // 3]}"
            case "fenced":
                return 200, f"```json\n{said}\n```"
            case _:
                return 200, said


def pairs(messages: list[dict[str, Any]], *, adds: bool = False) -> str:
    """Return a pair for every sentence of the passage; the quote is the sentence, word for word.

    With `adds`, every other answer ends with a word of the passage that its own sentence does not have.
    """
    asked = next(each["content"] for each in messages if _PASSAGE.search(each["content"]))
    found = _PASSAGE.search(asked)
    assert found is not None
    made: list[dict[str, str]] = []
    for sentence in _SENTENCE.findall(found[1]):
        words = sentence.rstrip(".").split(" ")
        if len(words) < 3:
            continue
        *told, one, two = words
        question = f"How does the handbook complete: {' '.join(told)} …?"
        answer = f"{one} {two}"
        if adds and len(made) % 2:
            answer += next(f" {word}" for word in _LONG.findall(found[1]) if word not in sentence)
        made.append({"question": question, "answer": answer, "quote": sentence})
    return json.dumps({"pairs": made}, ensure_ascii=False)


@contextmanager
def answering() -> Iterator[Endpoint]:
    """Run the endpoint on a free port until the block ends."""
    endpoint = Endpoint()
    with serving(lambda path, body: endpoint.answer(path.split("/")[1], body), endpoint.ended) as port:
        endpoint.port = port
        yield endpoint


@contextmanager
def serving(answer: Callable[[str, bytes], tuple[int, str] | None], ended: threading.Event) -> Iterator[int]:
    """Serve chat completions whose status and text `answer` gives for (path, body); yields the port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            said = answer(self.path, body)
            if said is None:
                self.close_connection = True
                return
            status, text = said
            choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
            content = json.dumps({"object": "chat.completion", "choices": choices}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            if status == 429:
                self.send_header("retry-after", "0.2")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing: what was asked is kept."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: Any) -> None:
            """Nothing: clients that are killed break off."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            ended.set()
            server.shutdown()
            thread.join()
