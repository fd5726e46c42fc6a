"""Decides what rows a run has, what it asks of a model, what its graded rows say, how it ends. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from contracts.documents.facts import View
from contracts.envelope import derived_id
from contracts.events.evals import CriterionResult, EvalRunEnded, ModelUsage
from contracts.wire.chat import too_deep
from contracts.wire.evals import (
    MAX_BYTES,
    MAX_ROW,
    MAX_ROWS,
    PURPOSE,
    AskedSource,
    Criterion,
    JsonlSource,
    sampling_of,
)
from contracts.wire.response_items import messages_of as messages_of_items
from contracts.wire.templates import parts, render, value_at
from functions._shared.grading.graded import Graded, sample_of
from functions._shared.grading.item_schema import Misfit

MOST_CHARACTERS = 2**20
"""Of a row's messages."""
MOST_ANSWER = 2**18
_MOST_SAID = 2**12
"""Characters of what a grader says, besides its score, that are kept."""
Row = dict[str, Any]
Item = dict[str, Any]


class CannotRunError(Exception):
    """Nothing can be graded; its text says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RowError(Exception):
    """One row cannot be answered; its text says why."""


def check_file(file: View | None, tenant: str, id: str) -> View:
    """Return the file whose rows are graded; raises CannotRunError."""
    if file is None or file["tenant"] != tenant or file["deleted"]:
        raise CannotRunError("file_deleted", f"The file {id} was deleted.")
    if file["purpose"] != PURPOSE or file["blob"]["bytes"] > MAX_BYTES:
        raise CannotRunError("invalid_file", f"Rows lie in files of the purpose '{PURPOSE}', up to {MAX_BYTES} bytes.")
    return file


def rows_of(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of a file, in each line `{"item": {…}, "sample"?: {…}}`; raises CannotRunError."""
    count = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        count += 1
        if count > MAX_ROWS or len(line) > MAX_ROW:
            sentence = f"Line {number} of the file: there are at most {MAX_ROWS} rows of at most {MAX_ROW} bytes."
            raise CannotRunError("file_too_large", sentence)
        yield _row(line, number)
    if not count:
        raise CannotRunError("no_rows", "The file has no rows.")


def _row(line: bytes, number: int) -> Row:
    try:
        row = json.loads(line, parse_constant=_no_constant)
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()  # half of a surrogate pair is no text
        row = None if too_deep(row) else row
    except (ValueError, RecursionError):
        row = None
    item, sample = (row.get("item"), row.get("sample")) if isinstance(row, dict) else (None, None)
    if not isinstance(item, dict) or not isinstance(sample, dict | None):
        sentence = f'Line {number} of the file: expected {{"item": {{…}}}}, and "sample" as an object, if any.'
        raise CannotRunError("invalid_row", sentence)
    return {"item": item, "sample": sample}


def _no_constant(text: str) -> None:
    raise ValueError(text)


def misfit_error(misfit: Misfit) -> CannotRunError:
    """Return the error of a file with a row that the eval's schema does not allow."""
    if misfit.row is None:
        return CannotRunError("invalid_schema", f"The eval's item_schema is no JSON schema: {misfit.problem}.")
    what = f"Line {misfit.row} of the file: item{misfit.place}: {misfit.problem}, as the eval's item_schema has it."
    return CannotRunError("invalid_row", what)


def stored_where(asked: Mapping[str, Any], labels: Mapping[str, str] | None, until_ms: int) -> dict[str, Any]:
    """Return the filter of the stored chats or responses that a run is asked for, those until it was created.

    `labels` are the eval's own, which count where the run names none.
    """
    kind = "response" if asked["type"] == "responses" else "chat"
    wanted: dict[str, Any] = {"kind": kind, "deleted": False, "status": "recorded"}
    if asked.get("model") is not None:
        wanted["model"] = asked["model"]
    wanted |= {f"metadata.{key}": value for key, value in (asked.get("metadata") or labels or {}).items()}
    before = asked.get("created_before")
    latest = until_ms if before is None else min(until_ms, before * 1000)
    since = {"$gte": asked["created_after"] * 1000} if asked.get("created_after") is not None else {}
    return {**wanted, "created_at": {**since, "$lte": latest}}


def is_asked_for(asked: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Return whether a stored chat is asked for, or a response by what stands in it: a completed one."""
    if asked["type"] != "responses":
        return True
    response = content["response"]
    tools, users = asked.get("tools"), asked.get("users")
    called, wanted = any(each["type"] == "function_call" for each in response["output"]), asked.get("has_tool_calls")
    said = {**response, "reasoning_effort": (response.get("reasoning") or {}).get("effort")}
    same = ("temperature", "top_p", "reasoning_effort")
    return (
        response["status"] == "completed"
        and all(asked.get(name) in (None, said.get(name)) for name in same)
        and wanted in (None, called)
        and (asked.get("instructions_search") or "").casefold() in (response.get("instructions") or "").casefold()
        and (not tools or any(each.get("name") in tools for each in response.get("tools") or ()))
        and (not users or response.get("user") in users)
    )


def stored_row(id: str, content: Mapping[str, Any], metadata: Mapping[str, str]) -> Row:
    """Return a stored chat or response as a row: what it was asked with, and its first answer."""
    if "response" in content:
        model, said, message, reason = _of_response(content["response"], content["input"])
    else:
        said, completion = content["request"]["messages"], content["completion"]
        choice = completion["choices"][0]
        model, message, reason = completion["model"], choice["message"], choice["finish_reason"]
    item = {"id": id, "model": model, "metadata": dict(metadata), "input": said, "input_trajectory": said}
    return {"item": item, "sample": sample_of(message.get("content") or "", message, reason)}


def _of_response(
    response: Mapping[str, Any], items: Sequence[dict[str, Any]]
) -> tuple[str, list[dict[str, Any]], dict[str, Any], str]:
    """Return a response as a chat: model, messages, the message that answers, and the reason of its end."""
    instructions = response.get("instructions")
    said = [{"role": "system", "content": instructions}] if instructions else []
    turns = messages_of_items(response["output"])
    calls = [call for turn in turns for call in turn.get("tool_calls") or ()]
    text = "".join(turn.get("content") or "" for turn in turns)
    message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    return response["model"], said + messages_of_items(items), message, "tool_calls" if calls else "stop"


def sample_given(row: Row) -> dict[str, Any]:
    """Return the sample that a row itself holds."""
    return row["sample"] or {}


def messages_of(source: AskedSource, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that a row asks; raises RowError, and as `render` does."""
    asked = source.input_messages
    if asked.type == "template":
        said = [{"role": each.role, "content": render(each.content, {"item": item})} for each in asked.template or ()]
    else:
        (path,) = (part for part in parts("{{" + str(asked.item_reference) + "}}") if isinstance(part, tuple))
        said = value_at(path, {"item": item})
        if not isinstance(said, list) or not said or not all(isinstance(each, dict) for each in said):
            raise RowError(f"{asked.item_reference} is no list of messages.")
    if sum(len(json.dumps(each)) for each in said) > MOST_CHARACTERS:
        raise RowError(f"The messages have more than {MOST_CHARACTERS} characters.")
    return said


def chat_of(source: AskedSource, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the chat that a row asks."""
    return {"model": source.model, "messages": list(messages), **sampling_of(source)}


def answered(answer: Any) -> tuple[str, dict[str, Any], str]:
    """Return text, message and reason of the end of a chat's answer; raises RowError."""
    try:
        choice = answer["choices"][0]
        message, reason = dict(choice["message"]), str(choice["finish_reason"])
    except (LookupError, TypeError, ValueError):
        raise RowError("The answer is no chat completion.") from None
    text = message.get("content") or ""
    if len(text) > MOST_ANSWER:
        raise RowError(f"The answer has more than {MOST_ANSWER} characters.")
    return text, message, reason


def passes(criterion: Criterion, graded: Graded) -> bool:
    """Return whether a criterion holds: by its threshold, or as the grader says; code and models pass from 0.5 on."""
    if graded.error is not None:
        return False
    if graded.passed is not None:
        return graded.passed
    threshold = getattr(criterion, "pass_threshold", None)
    if threshold is None:
        lowest, highest = getattr(criterion, "range", (0.0, 1.0))
        threshold = (lowest + highest) / 2
    return graded.reward >= threshold


def result(criterion: Criterion, graded: Graded) -> dict[str, Any]:
    """Return what one criterion says of a row."""
    said = {"name": criterion.name, "type": criterion.type, "score": graded.reward, "passed": passes(criterion, graded)}
    if graded.error is not None:
        said["error"] = {"code": graded.error, "message": str(graded.details)[:_MOST_SAID]}
    if graded.said is not None:
        said["sample"] = {"model": graded.model, "output": graded.said[:_MOST_SAID]}
    return said


def item_id(run: str, number: int) -> str:
    """Return the id of a run's graded row; the number in it tells where it lies."""
    return f"outputitem_{run.removeprefix('evalrun_')}_{number}"


def item(
    run: View, number: int, row: Row, sample: Mapping[str, Any], results: Sequence[Mapping[str, Any]], usage: Any
) -> Item:
    """Return a graded row as it is shown; `usage` is (model, tokens) of each request that it took."""
    errored = bool(sample["error"]["code"]) or any("error" in each for each in results)
    passed = not errored and all(each["passed"] for each in results)
    return {
        "status": "error" if errored else "pass" if passed else "fail",  # first, so that a list finds it unread
        "id": item_id(run["id"], number),
        "object": "eval.run.output_item",
        "created_at": run["created_at"] // 1000,
        "eval_id": run["eval"],
        "run_id": run["id"],
        "datasource_item_id": number,
        "datasource_item": row["item"],
        "results": list(results),
        "sample": dict(sample),
        "usage": list(usage),
    }


def shown_sample(
    source: AskedSource | JsonlSource,
    messages: Sequence[Mapping[str, Any]],
    output: Sequence[Mapping[str, Any]],
    tokens: Mapping[str, int],
    finish_reason: str = "",
    error: str = "",
    model: str = "",
) -> dict[str, Any]:
    """Return a row's sample as it is shown, where numbers that nobody gave are the API's defaults.

    `model` answered it where the run asks none.
    """
    asked = source.sampling_params.model_dump() if not isinstance(source, JsonlSource) else {}
    return {
        "input": [{"role": str(each.get("role")), "content": _text(each.get("content"))} for each in messages],
        "output": [{"role": each.get("role"), "content": each.get("content")} for each in output],
        "finish_reason": finish_reason,
        "model": getattr(source, "model", None) or model,
        "usage": {**{name: tokens.get(name, 0) for name in TOKENS}, "cached_tokens": 0},
        "error": {"code": "sample_error" if error else "", "message": error},
        "seed": asked.get("seed") or 0,
        "temperature": 1.0 if asked.get("temperature") is None else asked["temperature"],
        "top_p": 1.0 if asked.get("top_p") is None else asked["top_p"],
        "max_completion_tokens": asked.get("max_completion_tokens") or 0,
    }


TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


Status = Literal["completed", "canceled"]


class Tally:
    """What graded rows say together."""

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        self.statuses: Counter[str] = Counter()
        self._passed: Counter[str] = Counter({each.name: 0 for each in criteria})
        self._failed: Counter[str] = Counter()
        self._usage: dict[str, Counter[str]] = {}
        self.parts = 0

    def add(self, items: Sequence[Item]) -> None:
        """Count a part."""
        self.parts += 1
        for each in items:
            self.statuses[each["status"]] += 1
            for said in each["results"]:
                (self._passed if said["passed"] else self._failed)[said["name"]] += 1
            for model, tokens in each["usage"]:
                self._usage.setdefault(model, Counter()).update({"requests": 1, **tokens})

    def ended(self, status: Status, total: int) -> EvalRunEnded:
        """Return the ending of a run."""
        criteria = [CriterionResult(name=name, passed=n, failed=self._failed[name]) for name, n in self._passed.items()]
        usage = [
            ModelUsage(
                model=model,
                requests=tokens["requests"],
                prompt_tokens=tokens["prompt_tokens"],
                completion_tokens=tokens["completion_tokens"],
            )
            for model, tokens in self._usage.items()
        ]
        return EvalRunEnded(
            status=status,
            total=total,
            passed=self.statuses["pass"],
            failed=self.statuses["fail"],
            errored=self.statuses["error"],
            parts=self.parts,
            criteria=tuple(criteria),
            usage=tuple(usage),
        )


def failed(code: str, message: str) -> EvalRunEnded:
    """Return the ending of a run that cannot be run."""
    return EvalRunEnded(status="failed", code=code, message=message)


def request_id(run: str, number: int) -> str:
    """Return the id of a row's request."""
    return "req_" + derived_id(run, "request", number).replace("-", "")
