"""P6: an outsider's record counts while its key was good, by the log's own time, and nobody decides that twice."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.belief import IngestKeys, believe
from contracts.envelope import Event, PoisonError, Record, make
from contracts.events.keys import KeyCreated, KeyRevoked
from contracts.signing import ingest_secret, signature
from tests.connected.garbage import TOPIC, outside, signed_with

KEY = b"the signing key"
KEYS = ("key-1", "key-2")
ROOT = Path(__file__).parents[3]


def created(key: str, at: int, tenant: str = "acme", kind: str = "ingest") -> Event:
    data = KeyCreated.model_validate({"sha256": key, "hint": "x", "kind": kind})
    return replace(make(data, subject=key, tenant=tenant, id=f"{key}-created"), at=at)


def revoked(key: str, at: int, tenant: str = "acme") -> Event:
    return replace(make(KeyRevoked(sha256=key), subject=key, tenant=tenant, id=f"{key}-revoked"), at=at)


def record(at: int, key: str = "key-1", tenant: str = "acme") -> Record:
    raw = signed_with(outside(tenant), tenant, key, KEY)
    return Record(topic=TOPIC, key=raw.key, headers=tuple(raw.headers), value=raw.value, at=at)


def verdict(record: Record, *said: Event) -> str:
    keys = IngestKeys()
    for event in said:
        keys.learn(event)
    try:
        return believe(record, KEY, None, keys).tenant
    except PoisonError as error:
        return error.code


@pytest.mark.parametrize(
    ("at", "expected"), [(9, "unknown_key"), (10, "acme"), (19, "acme"), (20, "revoked_key"), (99, "revoked_key")]
)
def test_a_record_counts_from_its_keys_creation_to_its_revocation(at: int, expected: str) -> None:
    said = [created("key-1", 10), revoked("key-1", 20), created("key-2", 1), revoked("key-1", 30), created("key-1", 40)]
    assert verdict(record(at), *said) == verdict(record(at), *reversed(said)) == expected


@pytest.mark.parametrize("other", [created("key-1", 1, "other"), created("key-1", 1, kind="api"), created("key-2", 1)])
def test_a_key_of_another_tenant_of_another_kind_or_of_another_name_signs_nothing(other: Event) -> None:
    assert verdict(record(5), other) == "unknown_key"


def test_what_is_learnt_later_changes_nothing_about_earlier_records() -> None:
    early, late = [created("key-1", 10)], [revoked("key-1", 20), created("key-2", 30)]
    assert verdict(record(15), *early) == verdict(record(15), *early, *late) == "acme"


def test_a_revoked_key_does_not_hide_behind_a_second_header_with_a_good_one() -> None:
    said = [created("key-1", 1), revoked("key-1", 2), created("key-2", 1)]
    raw = outside("acme")
    headers = [(name, value or b"") for name, value in raw.headers]
    headers = [("ce_keyid", b"key-2"), *headers, ("ce_keyid", b"key-1")]
    secret = ingest_secret(KEY, "acme", "key-1")
    assert raw.key
    sig = signature(secret, TOPIC, raw.key.decode(), headers, raw.value or b"")
    both = Record(topic=TOPIC, key=raw.key, headers=(*headers, ("ce_sig", sig.encode())), value=raw.value, at=5)
    assert verdict(both, *said) == "bad_header"


def test_nobody_but_belief_and_emit_read_records_without_asking_for_revocations() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("contracts", "functions", "infra")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"envelope\.read\(|envelope import .*\bread\b", path.read_text())
    }
    assert readers == {"contracts/belief.py", "infra/runtime/belief.py", "infra/cli/emit.py"}
