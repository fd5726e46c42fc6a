"""Which part of a list is asked for, in which order, and what comes after it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contracts.wire import openai
from contracts.wire.errors import ApiError, invalid_value, unsupported
from contracts.wire.requests import PageQuery

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


def beyond(last: View, order: Order) -> Filter:
    """Return the filter for what comes after the item `last` in an order whose fields go in one direction."""
    (first, direction), *rest = order
    operator = "$gt" if direction > 0 else "$lt"
    if not rest:
        return {first: {operator: last[first]}}
    later: Filter = {"$or": [{first: {operator: last[first]}}, {first: last[first], **beyond(last, rest)}]}
    return {first: {f"{operator}e": last[first]}, **later}  # said once more, so that an index finds the place


def unknown_after(after: str) -> ApiError:
    """The item that a page should begin after is not in this list."""
    sentence = f"There is nothing with id '{after[:128]}' in this list. Give the last id of the page before."
    return ApiError(sentence, param="after", code="invalid_value")


def metadata_filter(query: Mapping[str, str], field: str = "created.metadata") -> Filter:
    """Return the filter of a list for `metadata[key]=value` and `metadata=null`; views have them in `field`."""
    wanted: Filter = {}
    if "metadata" in query:
        if query["metadata"] != "null":
            raise invalid_value("metadata", query["metadata"], ("null",))
        return {field: {}}
    for name, value in query.items():
        if found := re.fullmatch(r"metadata\[(.*)\]", name, flags=re.DOTALL):
            key = found[1]
            if not key or "." in key or key.startswith("$") or "\0" in key:
                raise unsupported(
                    "Filtering by a metadata key that is empty, holds a dot or begins with $ is", "metadata"
                )
            wanted[f"{field}.{key}"] = value
    return wanted


def after_checkpoint(checkpoints: Sequence[View], asked: PageQuery) -> tuple[list[View], bool]:
    """Return the page of a job's checkpoints, which are few, and whether more follow."""
    start = 0
    if asked.after is not None:
        ids = [openai.checkpoint_id(view["id"]) for view in checkpoints]
        if asked.after not in ids:
            raise unknown_after(asked.after)
        start = ids.index(asked.after) + 1
    shown = [view for view in checkpoints[start:] if not view["deleted"]]
    return shown[: asked.limit], len(shown) > asked.limit
