"""Who is told: a real SMTP server, and an HTTP server that is called as a webhook; each answers as a test says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope, Session

from contracts.events.notifications import Told


@dataclass
class Post:
    """A mail server's memory."""

    answer: str = "250 OK"
    """To the next mail."""
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    """That were taken."""
    tried: list[str] = field(default_factory=list)
    """Message-ID of whatever came, taken or not."""

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail, or not."""
        mail: Any = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self.tried.append(mail["Message-ID"])
        if self.answer.startswith("250"):
            self.mails.append(mail)
        return self.answer


class Listening(Controller):
    """A controller of a port that the system chooses."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(**options: Any) -> Iterator[Post]:
    """Run a mail server on a free port."""
    post = Post()
    controller = Listening(post, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        post.port = controller.port
        yield post
    finally:
        controller.stop()


@dataclass
class Endpoint:
    """A webhook endpoint's memory."""

    status: int = 200
    """Of the next answer."""
    port: int = 0
    calls: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    """Status that it was answered with, headers in small letters, body."""

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:{self.port}/hook?of=temper"

    def taken(self) -> list[tuple[dict[str, str], bytes]]:
        """Return headers and body of calls that were taken."""
        return [(headers, body) for status, headers, body in self.calls if status == 200]


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    """Run an endpoint on a free port; it redirects to itself where its status is a redirection."""
    memory = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            memory.calls.append((memory.status, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(memory.status)
            if 300 <= memory.status < 400:
                self.send_header("location", memory.url)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"thanks")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    memory.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wanted(url: str, *types: Told) -> dict[str, Any]:
    """Return what an endpoint is made of."""
    return {"name": "pager", "url": url, "event_types": list(types or ("fine_tuning.job.succeeded",))}
