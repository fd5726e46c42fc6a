"""Belief: whether a record counts, decided once for whoever reads the log: dispatcher, projector, rebuild, replay."""

from __future__ import annotations

from contracts import envelope
from contracts.envelope import Event, PoisonError, Record
from contracts.events.keys import KeyCreated, KeyRevoked

TOPICS = ("key.created", "key.revoked")


class IngestKeys:
    """The ingest keys that the log knows, and when.

    Learning more of the log changes no answer about a record that is older than what is learnt.
    """

    def __init__(self) -> None:
        self._created: dict[tuple[str, str], int] = {}
        self._revoked: dict[tuple[str, str], int] = {}

    def learn(self, event: Event) -> None:
        """Take in a key that was made or revoked; its earliest time counts."""
        key = event.tenant, event.subject
        if isinstance(event.data, KeyRevoked):
            self._revoked[key] = min(event.at, self._revoked.get(key, event.at))
        elif isinstance(event.data, KeyCreated) and event.data.kind == "ingest":
            self._created[key] = min(event.at, self._created.get(key, event.at))

    def check(self, tenant: str, key_id: str, at: int) -> None:
        """Raise PoisonError unless the key was this tenant's, made and not revoked at that time."""
        created, revoked = self._created.get((tenant, key_id)), self._revoked.get((tenant, key_id))
        if created is None or at < created:
            raise PoisonError("unknown_key", f"there was no ingest key {key_id[:40]} of this tenant then")
        if revoked is not None and at >= revoked:
            raise PoisonError("revoked_key", f"the ingest key {key_id[:40]} had been revoked")


def believe(record: Record, signing_key: bytes, unsigned_tenant: str | None, keys: IngestKeys) -> Event:
    """Return the event in a record that counts; raises PoisonError with a code, NewerVersionError.

    `keys` must have learnt what was said of keys up to the record's time.
    """
    event = envelope.read(record, signing_key, unsigned_tenant)
    key_id = envelope.key_id(record)
    if key_id is not None:
        keys.check(event.tenant, key_id, event.at)
    return event
