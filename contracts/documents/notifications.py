"""The read models of webhook endpoints, and of what somebody is to be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.documents.facts import Fact, ReadModel, View, first, of_type
from contracts.envelope import Event


def _subject(event: Event) -> Iterable[str]:
    return (event.subject,)


def endpoint_view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the endpoint as it was said last; once deleted, always deleted."""
    born, deleted = first(facts, "webhook_endpoint.created"), first(facts, "webhook_endpoint.deleted")
    if born is None:
        return None
    newest = max([born, *of_type(facts, "webhook_endpoint.updated")], key=lambda fact: (fact["at"], fact["hash"]))
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "updated_at": newest["at"],
        **{name: newest["data"][name] for name in ("name", "url", "event_types", "hint")},
        "deleted": deleted is not None,
    }


def view(id: str, facts: Mapping[str, Fact]) -> View | None:
    """Return the notification; that it was delivered wins."""
    born = first(facts, "notification.requested")
    if born is None:
        return None
    delivered, failed = first(facts, "notification.delivered"), first(facts, "notification.failed")
    ending = delivered or failed
    return {
        "id": id,
        "tenant": born["tenant"],
        "created_at": born["at"],
        "requested": born["data"],
        "delivered": delivered["data"] if delivered else None,
        "failed": failed["data"] if failed and not delivered else None,
        "finished_at": ending["at"] if ending else None,
        "ended": ending is not None,
    }


WEBHOOK_ENDPOINTS = ReadModel(
    name="webhook_endpoints",
    version=1,
    topics=frozenset({"webhook_endpoint.created", "webhook_endpoint.updated", "webhook_endpoint.deleted"}),
    births=frozenset({"webhook_endpoint.created"}),
    touches=_subject,
    view=endpoint_view,
    indexes=(("tenant", "-created_at", "-id"),),
)
NOTIFICATIONS = ReadModel(
    name="notifications",
    version=1,
    topics=frozenset({"notification.requested", "notification.delivered", "notification.failed"}),
    births=frozenset({"notification.requested"}),
    touches=_subject,
    view=view,
    indexes=(("tenant", "-created_at", "-id"), ("ended", "created_at")),
)
