"""Records that no function can believe, one of each kind, for `file.uploaded`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from contracts import envelope
from contracts.blobs import BlobRef
from contracts.envelope import Event, outside_subject
from contracts.events.files import FileUploaded
from contracts.signing import ingest_secret, signature
from tests.connected.log import KEY

TOPIC = "file.uploaded"


@dataclass
class Raw:
    """A record to publish as it is."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)

    def with_header(self, name: str, value: bytes | None) -> Raw:
        """Replace or add a header."""
        return Raw(self.key, self.value, [*((n, v) for n, v in self.headers if n != name), (name, value)])


def uploaded(name: str = "1", subject: str | None = None) -> Event:
    """A file of rows, as Temper itself says it."""
    blob = BlobRef(key="local/file-1/content", sha256="0" * 64, bytes=1)
    data = FileUploaded(blob=blob, filename=name, purpose="fine-tune")
    return envelope.make(data, subject=subject or f"file-{uuid4().hex}", tenant="local", id=str(uuid4()))


def signed(event: Event, key: bytes = KEY) -> Raw:
    """As Temper publishes it."""
    return Raw(event.subject.encode(), envelope.body(event), list(envelope.headers(event, key)))


def outside(tenant: str = "local") -> Raw:
    """As another system publishes it, unsigned."""
    source, event_id = "elsewhere", str(uuid4())
    subject = outside_subject("file-", tenant, source, event_id)
    said = {"id": event_id, "source": source, "type": TOPIC, "subject": subject, "tenant": tenant, "specversion": "1.0"}
    headers: list[tuple[str, bytes | None]] = [(f"ce_{name}", value.encode()) for name, value in said.items()]
    return Raw(subject.encode(), envelope.body(uploaded()), headers)


def signed_with(raw: Raw, tenant: str, key_id: str, key: bytes = KEY) -> Raw:
    """The same, signed with an ingest key of the tenant."""
    raw = raw.with_header("ce_keyid", key_id.encode())
    secret, headers = ingest_secret(key, tenant, key_id), [(name, value or b"") for name, value in raw.headers]
    sig = signature(secret, TOPIC, (raw.key or b"").decode(), headers, raw.value or b"")
    return raw.with_header("ce_sig", sig.encode())


def _with_value(value: bytes | None) -> Callable[[], Raw]:
    return lambda: Raw((good := outside()).key, value, good.headers)


def _own_subject() -> Raw:
    return Raw(b"file-x", b"{}", outside().with_header("ce_subject", b"file-x").headers)


def _wrong_key() -> Raw:
    good = outside()
    return Raw(b"file-other", good.value, good.headers)


GARBAGE: dict[str, tuple[str, Callable[[], Raw]]] = {
    "not JSON": ("bad_json", _with_value(b"\xff\xfe no JSON")),
    "no body": ("bad_json", _with_value(None)),
    "a list": ("bad_json", _with_value(b"[]")),
    "a lone surrogate": ("bad_json", _with_value(b'{"filename": "\\ud800"}')),
    "deeper than the stack": ("bad_json", _with_value(b'{"a":' + b"[" * 90_000)),
    "another shape": ("bad_schema", _with_value(b'{"filename": 1}')),
    "no headers": ("bad_header", lambda: Raw(b"file-1", b"{}")),
    "a header that is not UTF-8": ("bad_header", lambda: outside().with_header("ce_source", b"\xff\xfe")),
    "a header that is given twice": (
        "bad_header",
        lambda: Raw((g := outside()).key, g.value, [*g.headers, *g.headers]),
    ),
    "a header that is null": ("bad_header", lambda: outside().with_header("ce_id", None)),
    "reply_to with nothing else": ("bad_header", lambda: Raw(b"k", b"{}", [("reply_to", b"file.deleted")])),
    "another topic's type": ("bad_header", lambda: outside().with_header("ce_type", b"job.created")),
    "a key that is not the subject": ("bad_key", _wrong_key),
    "no key": ("bad_key", lambda: Raw(None, (good := outside()).value, good.headers)),
    "a subject of one's own choice": ("bad_subject", _own_subject),
    "signed with another key": ("bad_signature", lambda: signed(uploaded(), b"another key")),
    "a signature in another alphabet": ("bad_signature", lambda: outside().with_header("ce_sig", "é".encode())),
    "unsigned for another tenant": ("unsigned", lambda: outside("other")),
    "unsigned with a fence": ("bad_header", lambda: outside().with_header("ce_attempt", b"1000000000")),
    "unsigned of a newer version": ("unknown_version", lambda: outside().with_header("ce_dataversion", b"99")),
}
"""What it is → (code of its dead letter, a new one)."""
