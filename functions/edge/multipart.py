"""multipart/form-data read as it comes: small fields are kept, the bytes of one part are handed on."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from contracts.wire.errors import ApiError, missing
from functions.edge.refusals import too_large

_EXTENDED = re.compile(rb"""filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([^;\s"]+)""", re.IGNORECASE)
"""A name as RFC 5987 writes it; the parser leaves it out."""
MAX_FIELD = 64 * 1024
MAX_PARTS = 64


class Form:
    """A form with one part called `file`, or as `of` says; feed it the body's chunks, take the part's bytes between."""

    def __init__(self, content_type: str | None, of: str = "file") -> None:
        self.of = of
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise ApiError(
                "The body must be multipart/form-data with a boundary in its Content-Type.", code="invalid_multipart"
            )
        self.fields: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {}
        self.filename: bytes | None = None
        self.begun = False
        """Whether the file's part has begun."""
        self.complete = False
        """Whether the closing boundary has come."""
        self._ended = False
        self._parts = 0
        self._pieces: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._header = bytearray()
        self._value = bytearray()
        self._name: str | None = None
        self._field = bytearray()
        headers = ("header_field", "header_value", "header_end", "headers_finished")
        names = ("part_begin", *headers, "part_data", "part_end", "end")
        callbacks: Any = {f"on_{name}": getattr(self, f"_on_{name}") for name in names}
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as error:  # the boundary is too long
            raise broken(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes of the body; raises ApiError for what is no form."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise broken(str(error)) from error

    def take(self) -> list[bytes]:
        """Return the file's bytes that came since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces

    @property
    def file_ended(self) -> bool:
        """Whether the file's part is behind us."""
        return self._ended

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise broken(f"there are more than {MAX_PARTS} parts")
        self._headers, self._field = {}, bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        header = self._headers.get(b"content-disposition", b"")
        disposition, options = parse_options_header(header)
        if disposition != b"form-data" or b"name" not in options:
            raise broken("a part has no Content-Disposition with a name")
        self._name = options[b"name"].decode("utf-8", errors="replace")
        if self._name == self.of:
            if self.begun:
                sentence = f"There is more than one '{self.of}'. Upload one at a time."
                raise ApiError(sentence, param=self.of, code="invalid_multipart")
            self.begun = True
            extended = _EXTENDED.search(header)  # where both stand it is the better one: RFC 6266
            self.filename = _decoded(*extended.groups()) if extended else options.get(b"filename")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self.of:
            self._pieces.append(data[start:end])
            return
        self._field += data[start:end]
        if len(self._field) > MAX_FIELD:
            raise broken(f"a field other than '{self.of}' is longer than {MAX_FIELD} bytes")

    def _on_part_end(self) -> None:
        if self._name == self.of:
            self._ended = True
        elif self._name is not None:
            try:
                self._keep(self._name, self._field.decode())
            except UnicodeDecodeError:
                raise broken("a field is not UTF-8") from None

    def _keep(self, name: str, text: str) -> None:
        """Keep a field; a list comes as a part for each of its items, `name[]`, and is kept as JSON."""
        if name.endswith("[]"):
            items = self._lists.setdefault(name[:-2], [])
            items.append(text)
            self.fields[name[:-2]] = json.dumps(items)
        else:
            self.fields[name] = text

    def _on_end(self) -> None:
        self.complete = True


def _decoded(charset: bytes, name: bytes) -> bytes:
    return unquote(name.decode("latin-1"), encoding=charset.decode(), errors="replace").encode()


async def begin(form: Form, body: AsyncIterator[bytes]) -> None:
    """Read a form up to where its file begins; raises ApiError where there is none."""
    while not form.begun and not form.complete:
        form.feed(await following(body))
    if not form.begun:
        raise missing(form.of)


async def following(body: AsyncIterator[bytes]) -> bytes:
    """Return the next bytes of a body that has not come to its end."""
    chunk = await anext(body, None)
    if chunk is None:
        raise broken("it ends before its closing boundary")
    return chunk


async def content(
    form: Form, body: AsyncIterator[bytes], most: int, what: str, head: bytes = b""
) -> AsyncIterator[bytes]:
    """Yield the file's bytes, `head` first, then read the form on; raises so that a broken one is never stored."""
    size, pieces = 0, [head]
    while pieces or not form.complete:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise too_large(what, most)
            yield piece
        if not form.complete:
            form.feed(await following(body))
        pieces = form.take()
    async for _ in body:
        pass


def broken(reason: str) -> ApiError:
    """The body is no whole form."""
    return ApiError(f"The multipart body is broken: {reason}.", code="invalid_multipart")
