"""The envelope of every event: CloudEvents 1.0, Kafka binding, binary mode."""

from __future__ import annotations

import hmac
import json
import uuid
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contracts import topics, upcasts
from contracts.canonical import compact
from contracts.events import Payload
from contracts.signing import ingest_secret, signature

NAMESPACE = uuid.UUID("6f1d3a52-6a0c-5d7e-9d54-7e0a6f9c2b11")
MAX_BYTES = 256 * 1024
MAX_ATTRIBUTE = 1024


class PoisonError(Exception):
    """A record that no retry can mend; it goes to `dead.letter` with this code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnsayableError(ValueError):
    """An event that no reader would take, because it is too large or holds what has no place in JSON."""


class NewerVersionError(Exception):
    """A signed event of a newer version than this process knows: wait for an upgrade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as published on the topic named by `type`."""

    id: str
    """UUIDv7 of a command, or uuid5 of the natural key."""
    type: str
    """The topic."""
    subject: str
    """What it happened to; the record's key."""
    tenant: str
    """Who owns the subject."""
    source: str = "temper"
    """CloudEvents source; `temper` for our own."""
    cause: str | None = None
    """Id of the event that led to this one."""
    traceparent: str | None = None
    """W3C trace context."""
    dataversion: int = 1
    epoch: int = 0
    """Which pause or resume it belongs to."""
    attempt: int = 0
    """The fence of the claim that said it."""
    data: Payload
    at: int = 0
    """LogAppendTime in milliseconds; 0 until published."""


def derived_id(*natural_key: str | int) -> str:
    """Return the uuid5 of a natural key such as (job, topic, epoch, attempt, step)."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(natural_key, separators=(",", ":"))))


def outside_subject(prefix: str, tenant: str, source: str, event_id: str) -> str:
    """Return the subject that an outside publisher's event must carry: prefix + uuid5(tenant, source, id)."""
    return prefix + uuid.uuid5(NAMESPACE, json.dumps([tenant, source, event_id], separators=(",", ":"))).hex


def make(
    data: Payload,
    *,
    subject: str,
    tenant: str,
    id: str,
    cause: str | None = None,
    epoch: int = 0,
    attempt: int = 0,
    traceparent: str | None = None,
) -> Event:
    """Return an event around `data`; the topic follows from the payload's class."""
    topic = topics.of(data)
    return Event(
        id=id,
        type=topic.name,
        subject=subject,
        tenant=tenant,
        cause=cause,
        epoch=epoch,
        attempt=attempt,
        traceparent=traceparent,
        dataversion=topic.version,
        data=data,
    )


def body(event: Event) -> bytes:
    """Return the record's body: canonical JSON, so that a second try says the same bytes."""
    return compact(event.data.model_dump(mode="json"))


def sayable(event: Event) -> bytes:
    """Return an event's body, read as a reader would; raises UnsayableError where one would not take it."""
    what = f"{event.type} of {event.subject[:100]!a}"
    try:
        payload = body(event)
        if len(payload) > MAX_BYTES:
            raise UnsayableError(f"{what} has {len(payload)} bytes, more than {MAX_BYTES}; content belongs in blobs")
        type(event.data).model_validate(_object(payload))
        for name in ("id", "subject", "tenant", "source", "cause", "traceparent"):
            _attribute(name, (getattr(event, name) or "").encode())
    except UnsayableError:
        raise
    except ValidationError as error:
        raise UnsayableError(f"{what} cannot be read: {_first(error)}") from error
    except (PoisonError, ValueError) as error:
        raise UnsayableError(f"{what} cannot be said: {error}") from error
    return payload


def headers(event: Event, signing_key: bytes, key_id: str | None = None) -> list[tuple[str, bytes]]:
    """Return the CloudEvents headers, signed last (`ce_sig` = HMAC-SHA256 over topic, key, headers, body)."""
    attributes: list[tuple[str, str]] = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", event.id),
        ("ce_source", event.source),
        ("ce_type", event.type),
        ("ce_subject", event.subject),
        ("ce_tenant", event.tenant),
        ("ce_dataversion", str(event.dataversion)),
    ]
    optional = (("ce_cause", event.cause), ("ce_traceparent", event.traceparent), ("ce_keyid", key_id))
    attributes += [(name, value) for name, value in optional if value]
    if event.epoch or event.attempt:
        attributes += [("ce_epoch", str(event.epoch)), ("ce_attempt", str(event.attempt))]
    signed = [(name, value.encode()) for name, value in attributes]
    payload = sayable(event)
    sig = signature(signing_key, event.type, event.subject, signed, payload)
    return [*signed, ("ce_sig", sig.encode())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A Kafka record as it came in, before anybody believes it."""

    topic: str
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None
    at: int
    partition: int = 0
    offset: int = 0


def read(record: Record, signing_key: bytes, unsigned_tenant: str | None) -> Event:
    """Return the event in `record`, or raise PoisonError with a code: header, json, schema, signature, foreign.

    Whether an ingest key was good then is for `belief.believe`.
    """
    attributes = _attributes(record)
    payload = _object(record.value)
    event_type, tenant = attributes["ce_type"], attributes["ce_tenant"]
    if event_type != record.topic:
        raise PoisonError("bad_header", f"ce_type {event_type!r} on topic {record.topic!r}")
    topic = topics.named(record.topic)
    if topic is None:
        raise PoisonError("unknown_topic", f"no event is known for topic {record.topic!r}")
    ours = _trusted(record, attributes, topic, signing_key, unsigned_tenant)
    version = _whole(attributes, "ce_dataversion", 1)
    if version > topic.version:
        if ours:
            raise NewerVersionError(f"{record.topic} has version {version}; this process knows {topic.version}")
        raise PoisonError("unknown_version", f"{record.topic} version {version}; the newest is {topic.version}")
    try:
        data = understood(topic, upcasts.upcast(topic.name, version, payload), ours)
    except ValidationError as error:
        raise PoisonError("bad_schema", f"{record.topic}: {_first(error)}") from error
    event_id, source, subject = attributes["ce_id"], attributes["ce_source"], attributes["ce_subject"]
    if not ours:
        event_id = derived_id("outside", tenant, source, event_id)
    return Event(
        id=event_id,
        type=record.topic,
        subject=subject,
        tenant=tenant,
        source=source,
        cause=attributes.get("ce_cause"),
        traceparent=attributes.get("ce_traceparent"),
        dataversion=topic.version,
        epoch=_whole(attributes, "ce_epoch", 0),
        attempt=_whole(attributes, "ce_attempt", 0),
        data=data,
        at=record.at,
    )


def understood(topic: topics.Topic, payload: dict[str, Any], ours: bool) -> Payload:
    """Return what a body says; raises ValidationError.

    What Temper itself said before a bound was drawn is read at the bound: its own records are never lost.
    """
    try:
        return topic.payload.model_validate(payload)
    except ValidationError as error:
        if not ours:
            raise
        return topic.payload.model_validate(upcasts.at_bounds(payload, error))


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"


def _attribute(name: str, value: bytes) -> str:
    if len(value) > MAX_ATTRIBUTE:
        raise PoisonError("bad_header", f"header {name} has {len(value)} bytes, more than {MAX_ATTRIBUTE}")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PoisonError("bad_header", f"header {name} is not UTF-8") from error


def _attributes(record: Record) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, value in record.headers:
        if not name.startswith("ce_"):
            continue
        if name in attributes:
            raise PoisonError("bad_header", f"header {name} is given twice")
        attributes[name] = _attribute(name, value or b"")
    for name in ("ce_id", "ce_source", "ce_type", "ce_subject", "ce_tenant"):
        if not attributes.get(name):
            raise PoisonError("bad_header", f"header {name} is missing or empty")
    if record.key is None or record.key != attributes["ce_subject"].encode():
        raise PoisonError("bad_key", "the record's key is not ce_subject")
    return attributes


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _safe_int(text: str) -> int:
    if len(text) > 16 or abs(number := int(text)) >= 2**53:
        raise ValueError(f"the number {text[:20]} is beyond 2**53")
    return number


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        payload = json.loads(value or b"", parse_constant=_refuse, parse_int=_safe_int)
        if b"\\u0000" in compact(payload):  # lone surrogates fail in compact(), here and not in a store
            raise ValueError("a string holds a NUL character")
    except (ValueError, RecursionError) as error:
        raise PoisonError("bad_json", f"the body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise PoisonError("bad_json", "the body is not a JSON object")
    return payload


def _whole(attributes: dict[str, str], name: str, default: int) -> int:
    text = attributes.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise PoisonError("bad_header", f"header {name} is not a whole number below 10**9: {text[:20]!r}")
    return int(text)


def _trusted(
    record: Record, attributes: dict[str, str], topic: topics.Topic, signing_key: bytes, unsigned_tenant: str | None
) -> bool:
    """Return True for Temper's own event, False for a permitted outsider's; refuse everything else."""
    tenant, key_id, sig = attributes["ce_tenant"], attributes.get("ce_keyid"), attributes.get("ce_sig")
    if sig is not None:
        key = ingest_secret(signing_key, tenant, key_id) if key_id else signing_key
        signed = [(name, value or b"") for name, value in record.headers]
        expected = signature(key, record.topic, attributes["ce_subject"], signed, record.value or b"")
        if not hmac.compare_digest(expected.encode(), sig.encode()):  # text of other alphabets would raise
            raise PoisonError("bad_signature", "ce_sig does not match topic, key, headers and body")
        if key_id is None:
            return True
    elif tenant != unsigned_tenant:
        raise PoisonError("unsigned", f"unsigned events are not accepted for tenant {tenant[:40]!r}")
    if topic.outside is None:
        raise PoisonError("unsigned", f"{topic.name} may only be published by Temper itself")
    if "ce_epoch" in attributes or "ce_attempt" in attributes:
        raise PoisonError("bad_header", "an outside event carries no epoch and no attempt")
    if topic.born:
        subject = outside_subject(topic.outside, tenant, attributes["ce_source"], attributes["ce_id"])
        if attributes["ce_subject"] != subject:
            raise PoisonError("bad_subject", f"ce_subject must be {subject} (prefix + uuid5 of tenant, source, id)")
    elif not attributes["ce_subject"].startswith(topic.outside):
        raise PoisonError("bad_subject", f"ce_subject must start with {topic.outside}")
    return False


def key_id(record: Record) -> str | None:
    """Return the ingest key that a record claims to be signed with, if any."""
    for name, value in record.headers:
        if name == "ce_keyid" and value:
            return value.decode(errors="replace")
    return None
