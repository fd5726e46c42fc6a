"""Rows of one run, answered by its model and graded by its criteria."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from contracts.documents import View
from contracts.manifest import ManifestRef
from contracts.ports import Complete, Documents
from contracts.wire.asked import PASSED_ON, model_asked
from contracts.wire.errors import ApiError
from contracts.wire.evals import Criterion, DataSource, JsonlSource
from contracts.wire.graders import PythonGrader
from contracts.wire.templates import MissingValueError, TooLongError
from functions._shared.grading.code import Coders
from functions._shared.grading.grade import Judges, grade
from functions._shared.grading.graded import Graded, Values, sample_of, tokens
from functions._shared.patience import ask_patiently
from functions._shared.visible import visible_model
from functions.run_eval import core
from functions.run_eval.core import Row, RowError

CHAT = "/v1/chat/completions"


@dataclass
class _Sampled:
    """A row on its way."""

    row: Row
    values: Values
    shown: dict[str, Any]
    usage: list[tuple[str, dict[str, int]]] = field(default_factory=list)


@dataclass(frozen=True)
class Grading:
    """What one run grades by."""

    complete: Complete
    documents: Documents
    coders: Coders
    run: View
    source: DataSource
    criteria: Sequence[Criterion]
    gate: asyncio.Semaphore
    """As many rows at once as the setting says."""

    async def items(self, first: int, rows: Sequence[Row]) -> list[core.Item]:
        """Return rows, of which the first has the number `first`, as graded; raises UnavailableError."""
        sampled = await _together([self._sampled(first + at, row) for at, row in enumerate(rows)])
        code = {each.name: await self._code(each, sampled) for each in self.criteria if isinstance(each, PythonGrader)}
        return await _together([self._item(first + at, each, at, code) for at, each in enumerate(sampled)])

    async def _sampled(self, number: int, row: Row) -> _Sampled:
        source = self.source
        if isinstance(source, JsonlSource) or source.model is None:
            given = core.sample_given(row)
            text = given.get("output_text")
            output = [{"role": "assistant", "content": text}] if isinstance(text, str) else []
            asked, model = (), ""
            if not isinstance(source, JsonlSource):
                asked, model = row["item"]["input"], row["item"]["model"]
            shown = core.shown_sample(source, asked, output, {}, model=model)
            return _Sampled(row, {"item": row["item"], "sample": given}, shown)
        messages: list[dict[str, Any]] = []
        try:
            messages = core.messages_of(source, row["item"])
            async with self.gate:
                chat = core.chat_of(source, messages)
                status, answer = await self._ask(core.request_id(self.run["id"], number), chat)
            if status != 200:
                raise RowError(_message(answer, status))
            text, message, reason = core.answered(answer)
        except (MissingValueError, TooLongError, RowError) as error:
            why = f"There is no value at {error}." if isinstance(error, MissingValueError) else str(error)
            shown = core.shown_sample(source, (), (), {}, error=why or "A text with its values is too long.")
            return _Sampled(row, {"item": row["item"], "sample": {}}, shown)
        used = tokens(answer)
        shown = core.shown_sample(source, messages, [message], used, reason)
        values = {"item": row["item"], "sample": sample_of(text, message, reason)}
        return _Sampled(row, values, shown, [(source.model, used)])

    async def _code(self, criterion: PythonGrader, sampled: Sequence[_Sampled]) -> list[Graded]:
        """Return what a criterion's code says of all rows, in one child; those that failed before are not graded."""
        return await self.coders.run(self.run["tenant"], criterion.source, [each.values for each in sampled])

    async def _item(self, number: int, each: _Sampled, at: int, code: Mapping[str, Sequence[Graded]]) -> core.Item:
        results: list[dict[str, Any]] = []
        if not each.shown["error"]["code"]:
            async with self.gate:
                for criterion in self.criteria:
                    id = core.request_id(self.run["id"], number) + f"-{len(results)}"
                    judges = Judges(partial(self._judge, id), self.coders_of)
                    known = code.get(criterion.name)
                    graded = known[at] if known else await grade(criterion, each.values, judges)
                    results.append(core.result(criterion, graded))
                    each.usage += graded.usage.items()
        return core.item(self.run, number, each.row, each.shown, results, each.usage)

    async def coders_of(self, source: str, rows: Sequence[Values]) -> list[Graded]:
        """Run a criterion's code."""
        return await self.coders.run(self.run["tenant"], source, rows)

    async def _judge(self, id: str, model: str, chat: Mapping[str, Any]) -> tuple[int, Any]:
        return await self._ask(id, {"model": model, **chat})

    async def _ask(self, id: str, chat: Mapping[str, Any]) -> tuple[int, Any]:
        """Return what a chat is answered, at the priority of batches; raises UnavailableError."""
        tenant = self.run["tenant"]
        body = msgspec.json.encode(chat)
        try:
            model_asked(body, PASSED_ON[CHAT])
        except ApiError as error:
            return error.status, error.body()
        view = await visible_model(self.documents, tenant, chat["model"])
        if view is None:
            return 404, {"error": {"message": f"The model `{chat['model']}` does not exist."}}
        manifest = ManifestRef.model_validate(view["manifest"])
        return await ask_patiently(self.complete, CHAT, body, manifest, id, tenant)


def _message(answer: Any, status: int) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message"))[:1000] if isinstance(error, dict) else f"The serving process answers {status}."


async def _together(jobs: Sequence[Any]) -> list[Any]:
    """Return what all return, in their order; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in jobs]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # whoever runs this looks for UnavailableError itself
    return [task.result() for task in tasks]
