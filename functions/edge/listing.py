"""Which part of a list is asked for, in which order, and what comes after it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.wire import openai
from contracts.wire.errors import ApiError, unsupported
from functions.edge.fields import Fields, check_strings, invalid_value

View = Mapping[str, Any]
Filter = dict[str, Any]
Order = Sequence[tuple[str, int]]


def in_order(models: Iterable[View]) -> list[View]:
    """Return models as OpenAI lists them: oldest first, a job's checkpoints in the order of their steps.

    The registrations of one job are said at once, so their own times do not tell which is the final model.
    """
    models = sorted(models, key=lambda view: (view["created_at"], view["id"]))
    begun: dict[str, int] = {}
    for view in models:
        begun.setdefault(view["job"] or view["id"], view["created_at"])
    return sorted(models, key=lambda view: (begun[view["job"] or view["id"]], view["job"] or "", view["step"] or 0))


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is asked for."""

    limit: int
    after: str | None
    descending: bool = True

    @property
    def direction(self) -> int:
        """The sort order as the stores take it."""
        return -1 if self.descending else 1

    @property
    def order(self) -> Order:
        """How most lists are sorted: by age, and by id where two are of one moment."""
        return (("created_at", self.direction), ("id", self.direction))


def beyond(last: View, order: Order) -> Filter:
    """Return the filter for what comes after the item `last` in an order whose fields go in one direction."""
    (first, direction), *rest = order
    operator = "$gt" if direction > 0 else "$lt"
    if not rest:
        return {first: {operator: last[first]}}
    later: Filter = {"$or": [{first: {operator: last[first]}}, {first: last[first], **beyond(last, rest)}]}
    return {first: {f"{operator}e": last[first]}, **later}  # said once more, so that an index finds the place


def window(query: Mapping[str, str], default: int, most: int) -> Window:
    """Return the window that `limit`, `after` and `order` ask for."""
    limit: Any = query.get("limit")
    if limit is not None and re.fullmatch(r"-?[0-9]{1,9}", limit):
        limit = int(limit)
    found = Fields({"limit": limit, "order": query.get("order")})
    order = found.choice("order", ("asc", "desc"))
    after = query.get("after") or None
    check_strings(after or "", "after")
    return Window(found.whole("limit", 1, most) or default, after, order != "asc")


def unknown_after(after: str) -> ApiError:
    """The item that a page should begin after is not in this list."""
    sentence = f"There is nothing with id '{after[:128]}' in this list. Give the last id of the page before."
    return ApiError(sentence, param="after", code="invalid_value")


def metadata_filter(query: Mapping[str, str]) -> Filter:
    """Return the filter of a job list for `metadata[key]=value` and `metadata=null`."""
    wanted: Filter = {}
    if "metadata" in query:
        if query["metadata"] != "null":
            raise invalid_value("metadata", query["metadata"], ("null",))
        return {"created.metadata": {}}
    for name, value in query.items():
        if found := re.fullmatch(r"metadata\[(.*)\]", name, flags=re.DOTALL):
            key = found[1]
            if not key or "." in key or key.startswith("$") or "\0" in key:
                raise unsupported(
                    "Filtering by a metadata key that is empty, holds a dot or begins with $ is", "metadata"
                )
            wanted[f"created.metadata.{key}"] = value
    return wanted


def after_checkpoint(checkpoints: Sequence[View], window: Window) -> tuple[list[View], bool]:
    """Return the page of a job's checkpoints, which are few, and whether more follow."""
    start = 0
    if window.after is not None:
        ids = [openai.checkpoint_id(view["id"]) for view in checkpoints]
        if window.after not in ids:
            raise unknown_after(window.after)
        start = ids.index(window.after) + 1
    shown = [view for view in checkpoints[start:] if not view["deleted"]]
    return shown[: window.limit], len(shown) > window.limit
