"""E-mail (EML, and Outlook's MSG): subject, sender and date, the text, and the documents that came with it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from contracts.events.corpus import Problem
from contracts.formats import HEAD, Skip, sniff
from functions.extract_text.core import MAX_PROBLEMS, Extracted, UnreadableError
from functions.extract_text.decode import decoded
from functions.extract_text.draft import DraftPiece, composed, pieces_of
from functions.extract_text.partition import partition_text
from functions.extract_text.plain import read_plain

Read = Callable[[Path, str, int], Extracted]
"""Reads what is attached: its path, its format, how deep it lies."""
MAX_DEPTH = 2
"""Of mails within mails."""
MAX_ATTACHMENTS = 200
_SHOWN = ("From", "To", "Cc", "Date")
_QUOTED = re.compile(r"(?m)^[ \t]*(?:>[ \t]?)+")


class _Letter:
    """A mail on its way into pieces; what cannot be read of it is a problem."""

    def __init__(self, folder: Path, read: Read, depth: int) -> None:
        self.pieces: list[DraftPiece] = []
        self.problems: list[Problem] = []
        self._folder, self._read, self._depth = folder, read, depth
        self._attached = 0

    def head(self, subject: str, lines: list[str]) -> None:
        self.pieces.append(DraftPiece("title", " ".join(subject.split()) or "(no subject)", 1))
        self.pieces.append(DraftPiece("text", "\n".join(" ".join(line.split()) for line in lines)))

    def body(self, plain: str, html: str) -> None:
        """Add the text, without the marks of what it quotes; as HTML where there is no other."""
        if plain.strip():
            self.pieces += pieces_of(read_plain(_QUOTED.sub("", plain).encode("utf-8", "replace")))
        elif html.strip():
            self.pieces += partition_text("html", html)

    def attached(self, name: str, data: bytes) -> None:
        """Add the text of a document that came with the mail below its name."""
        self._attached += 1
        found = sniff(data[:HEAD], len(data))
        if self._attached > MAX_ATTACHMENTS:
            return self._skipped(name, f"The mail has more than {MAX_ATTACHMENTS} of them.")
        if self._depth >= MAX_DEPTH:
            return self._skipped(name, f"It lies more than {MAX_DEPTH} mails deep. Upload it by itself.")
        if isinstance(found, Skip):
            return self._skipped(name, found.message)
        if found == "zip":
            from contracts.formats import begins

            found = begins(data[:HEAD])
            if isinstance(found, Skip) or found == "zip":
                return self._skipped(name, "It is an archive. Upload it by itself.")
        path = self._folder / f"{self._attached}.{self._depth}"
        path.write_bytes(data)
        try:
            inner = self._read(path, found, self._depth + 1)
        except UnreadableError as error:
            return self._skipped(name, str(error))
        finally:
            path.unlink()
        self.problems += inner.problems
        self.pieces.append(DraftPiece("title", name, 2))
        self.pieces += (DraftPiece(each.kind, each.text, each.level and each.level + 2) for each in pieces_of(inner))
        return None

    def _skipped(self, name: str, why: str) -> None:
        message = f"What is attached as {name[-200:]!r} was not read. {why}"
        self.problems.append(Problem(code="attachment_skipped", message=message[:1000]))

    def done(self) -> Extracted:
        return composed(self.pieces, tuple(self.problems[:MAX_PROBLEMS]))


def read_eml(path: Path, read: Read, depth: int = 0) -> Extracted:
    """Return the text of a mail as it is sent (RFC 5322); UnreadableError where it is encrypted."""
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        letter = _Letter(Path(folder), read, depth)
        letter.head(
            _header(message, "Subject"), [f"{name}: {said}" for name in _SHOWN if (said := _header(message, name))]
        )
        plain: list[str] = []
        html: list[str] = []
        attached: list[tuple[str, bytes]] = []
        for part in _parts(message):
            kind = part.get_content_type()
            if kind in ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"):
                raise UnreadableError("encrypted", "The mail is encrypted. Save it decrypted, or its text.")
            name = part.get_filename()
            if part.get_content_maintype() == "multipart":
                continue
            if kind == "message/rfc822":
                inner = part.get_payload()
                if isinstance(inner, list) and inner and isinstance(inner[0], EmailMessage):
                    attached.append((name or _header(inner[0], "Subject") or "mail", inner[0].as_bytes()))
            elif kind in ("text/plain", "text/html") and not name and part.get_content_disposition() != "attachment":
                (plain if kind == "text/plain" else html).append(_text(part))
            elif not kind.startswith("application/pgp") and kind != "application/pkcs7-signature":
                attached.append((name or kind, _payload(part)))
        letter.body("\n\n".join(plain), "\n".join(html))
        for each in attached:
            letter.attached(*each)
        return letter.done()


def _parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """Yield the parts of a mail, not those of the mails within it."""
    yield message
    if message.get_content_type() != "message/rfc822" and message.is_multipart():
        for part in message.iter_parts():
            if isinstance(part, EmailMessage):
                yield from _parts(part)


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name) or "")
    except (ValueError, TypeError, IndexError, AttributeError, LookupError):  # the library's, on what is malformed
        return ""


def _payload(part: EmailMessage) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(part: EmailMessage) -> str:
    data = _payload(part)
    charset = part.get_content_charset()
    try:
        return data.decode(charset) if charset else decoded(data)[0]
    except (LookupError, UnicodeDecodeError):
        return decoded(data)[0]


def read_msg(path: Path, read: Read, depth: int = 0) -> Extracted:
    """Return the text of a mail as Outlook saves it."""
    from oxmsg import Message

    message = Message.load(str(path))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        letter = _Letter(Path(folder), read, depth)
        sent = message.sent_date
        to = ", ".join(f"{each.name} <{each.email_address}>" for each in message.recipients)
        lines = {"From": message.sender, "To": to, "Date": sent and f"{sent:%Y-%m-%d %H:%M}"}
        letter.head(message.subject or "", [f"{name}: {said}" for name, said in lines.items() if said])
        letter.body(message.body or "", message.html_body or "")
        for attachment in message.attachments:
            letter.attached(attachment.file_name or "attachment", attachment.file_bytes or b"")
        return letter.done()
