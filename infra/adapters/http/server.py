"""HTTP/1.1 for strangers: bounds in bytes and seconds on what comes in, and refusals in OpenAI's shape.

uvicorn bounds none of it on httptools: a head may be as large and a body as slow as anybody likes.
"""

from __future__ import annotations

import asyncio
import json
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from contracts.wire import openai

MAX_HEAD = 64 * 1024
_HEADER_COST = 32
"""Bytes that a header counts beside its own, as in HTTP/2: each is objects."""
_LINGER = 1.0
"""Seconds for the other side to read a refusal while it still sends."""
_MAX_WAITING = 16
"""Requests of one connection that may wait for the one before them."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection; at every moment it either serves a request or has a limit of time."""

    max_connections = 1000
    head_seconds = 10.0
    body_window = 30.0
    """Seconds in which a body must bring `body_bytes`, but for the time in which nobody took what had come."""
    body_bytes = 16 * 1024
    body_seconds = 2 * 3600.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or say that there are too many."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._clock: asyncio.TimerHandle | None = None
        self._in_body = False
        self._refused = False
        self._head = 0
        """What the head weighs, trailers included."""
        self._idle = 0
        """Bytes since something came of them."""
        if len(self.connections) > 2 * self.max_connections:
            self.transport.abort()
        elif len(self.connections) > self.max_connections:
            self._refuse(503, "overloaded", "There are too many connections. Please try again.", "server_error")
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._idle += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # there is nothing to upgrade to: it is answered as it stands
        except httptools.HttpParserError:
            if self._head <= MAX_HEAD:
                self._refuse(400, "invalid_http", "This is no HTTP/1.1 request that is understood here.")
        if self._idle > MAX_HEAD or self._head > MAX_HEAD:
            self._refuse(431, "headers_too_large", f"The request's head is larger than {MAX_HEAD} bytes.")
        if not self._refused:
            self._watch()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or a trailer."""
        self._head += len(name) + len(value) + _HEADER_COST
        if self._head > MAX_HEAD:
            raise ValueError("the head is too large")  # ends the parsing
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to serve the request, or let it wait for the one before it."""
        if len(self.pipeline) >= _MAX_WAITING:
            raise ValueError("too many requests wait")  # ends the parsing
        super().on_headers_complete()
        self._stop_clock()
        self._in_body, self._idle, self._got, self._held = True, 0, 0, False
        self._body_since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._idle = 0
        self._got += len(body)
        super().on_body(body)
        self._held = self._held or self.flow.read_paused

    def on_message_complete(self) -> None:
        """Know that nothing is missing."""
        self._stop_clock()
        self._in_body, self._idle = False, 0
        super().on_message_complete()

    def _watch(self) -> None:
        """Limit the time, unless it is the server's turn."""
        if self._clock is None:
            if self._in_body:
                self._clock = self.loop.call_later(self.body_window, self._body_due)
            elif self.cycle is None or self.cycle.response_complete:
                self._clock = self.loop.call_later(self.head_seconds, self._head_due)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _head_due(self) -> None:
        if self._idle:
            self._refuse(408, "request_timeout", f"The request's head took longer than {self.head_seconds:g} s.")
        else:
            self.transport.close()

    def _body_due(self) -> None:
        self._clock = None
        total = self.loop.time() - self._body_since
        if self.cycle.response_complete:
            self.transport.close()  # refused before it was whole, and time was given to see that
        elif total > self.body_seconds:
            self._refuse(408, "request_timeout", f"The body took longer than {self.body_seconds:g} s.")
        elif self._got < self.body_bytes and not self._held:
            sentence = f"The body brought less than {self.body_bytes} bytes in {self.body_window:g} s."
            self._refuse(408, "request_timeout", sentence)
        else:
            self._got, self._held = 0, self.flow.read_paused
            self._watch()

    def _refuse(self, status: int, code: str, message: str, kind: str = "invalid_request_error") -> None:
        """Answer, if this request can still be answered, and close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_clock()
        cycle = self.cycle
        if not cycle.response_started if self._in_body else cycle is None or cycle.response_complete:
            body = json.dumps(openai.error(message, kind, None, code), separators=(",", ":")).encode()
            retry = b"retry-after: 2\r\n" if status == 503 else b""
            head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
            self.transport.write(STATUS_LINE[status] + head + retry + b"\r\n" + body)
        if cycle is not None:
            cycle.disconnected = True  # what is still said goes nowhere
            cycle.message_event.set()
        self.transport.write_eof()
        self.transport.resume_reading()  # an end with something unread would take the answer back
        self._clock = self.loop.call_later(_LINGER, self.transport.close)
