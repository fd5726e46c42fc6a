"""Documents in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mgqpy import Query

from contracts.canonical import compact
from contracts.documents import READ_MODELS, Stored, View, fold, touched
from contracts.envelope import Event


class MemoryDocuments:
    """The `Documents` port in dictionaries, with the real folds; `mgqpy` matches MongoDB's filters."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Stored]] = {name: {} for name in READ_MODELS}

    async def apply(self, event: Event, *models: str) -> None:
        """Fold `event` into every document it touches (of `models` only, if given)."""
        for model, id in touched(event):
            stored = self.stored[model.name]
            if (not models or model.name in models) and (new := fold(model, id, stored.get(id), event)):
                stored[id] = replace(new, view=_copy(new.view))

    async def get(self, model: str, id: str) -> View | None:
        """Return the view of one born document, or None."""
        found = self.stored[model].get(id)
        return _copy(found.view) if found else None

    async def find(
        self, model: str, where: Mapping[str, Any], sort: Sequence[tuple[str, int]] = (), limit: int = 0
    ) -> list[View]:
        """Return views by a MongoDB filter over view fields."""
        meets = Query(dict(where)).test
        found = [each.view for each in self.stored[model].values() if each.view is not None and meets(each.view)]
        for name, order in reversed(sort):
            found.sort(key=lambda view: (_at(view, name) is not None, _at(view, name)), reverse=order < 0)
        return [_copy(view) for view in found[: limit or None]]

    async def each(self, model: str, where: Mapping[str, Any]) -> AsyncIterator[View]:
        """Yield views by a MongoDB filter over view fields."""
        for view in await self.find(model, where):
            yield view

    async def count(self, model: str, where: Mapping[str, Any]) -> int:
        """Return how many views match a MongoDB filter."""
        return len(await self.find(model, where))

    async def total(self, model: str, field: str, where: Mapping[str, Any]) -> int:
        """Return the sum of a field, by its dotted path, over the views that match a MongoDB filter."""
        return sum(_at(view, field) or 0 for view in await self.find(model, where))


def _copy(view: View | None) -> Any:
    """As a store would give it back: of JSON's types, and nobody else's."""
    return json.loads(compact(view))


def _at(view: View, path: str) -> Any:
    value: Any = view
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
