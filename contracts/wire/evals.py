"""Evals and their runs as asked for and as served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from contracts.bounds import Number
from contracts.events.completions import Metadata
from contracts.events.evals import MOST_CRITERIA, Label
from contracts.wire import openai
from contracts.wire.errors import ApiError, refuse, shown
from contracts.wire.graders import (
    LabelModel,
    Messages,
    PythonGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
    read_at,
    read_single,
)
from contracts.wire.request import Query, Request
from contracts.wire.requests import PageQuery
from contracts.wire.responses import ReasoningEffort
from contracts.wire.templates import NAMESPACES, TemplateError, paths

PURPOSE = "evals"
"""Of the files whose rows runs grade."""
MAX_ROWS = 10_000
MAX_BYTES = 64 * 2**20
MAX_ROW = 2**18
"""Bytes of a row."""
PART = 32
"""Rows that are recorded together: what a crash may cost."""
Object = dict[str, Any]


# --- evals


class TextSimilarityCriterion(TextSimilarity):
    """How alike texts must be."""

    pass_threshold: Number


class PythonCriterion(PythonGrader):
    """What code must say."""

    pass_threshold: Number | None = None


class ScoreModelCriterion(ScoreModel):
    """What a model must say."""

    pass_threshold: Number | None = None


Criterion = StringCheck | TextSimilarityCriterion | PythonCriterion | ScoreModelCriterion | LabelModel
CRITERIA: Mapping[str, type[Criterion]] = {
    "string_check": StringCheck,
    "text_similarity": TextSimilarityCriterion,
    "python": PythonCriterion,
    "score_model": ScoreModelCriterion,
    "label_model": LabelModel,
}


class EvalRequest(Request):
    """POST /evals."""

    name: Label = ""
    metadata: Metadata = Field(default_factory=dict)
    data_source_config: dict[str, Any]
    testing_criteria: tuple[dict[str, Any], ...] = Field(min_length=1, max_length=MOST_CRITERIA)


class EvalUpdateRequest(Request):
    """POST /evals/{id}: what is left out stays."""

    name: Label | None = None
    metadata: Metadata | None = None


class CustomConfig(Request):
    """Rows as the caller has them."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    include_sample_schema: bool = False


def _searchable(labels: dict[str, str] | None) -> dict[str, str] | None:
    if any(not key or "." in key or "\0" in key or key.startswith("$") for key in labels or {}):
        what = "Invalid '{param}': what is searched for is a key without dots that is not empty and begins with no $."
        raise refuse("invalid_value", what)
    return labels


class StoredConfig(Request):
    """Chats that were stored, with their answers."""

    type: Literal["stored_completions", "logs"]
    metadata: Annotated[Metadata, AfterValidator(_searchable)] = Field(default_factory=dict)


_STORED_SCHEMA: Object = {
    "type": "object",
    "properties": {
        "item": {
            "type": "object",
            "properties": {"input": {"type": "array"}, "input_trajectory": {"type": "array"}},
        },
        "sample": {"type": "object", "properties": {"output_text": {"type": "string"}}},
    },
    "required": ["item", "sample"],
}


def read_config(given: Object) -> Object:
    """Return a data source's configuration as shown; raises ApiError."""
    where = "data_source_config"
    if given.get("type") in ("logs", "stored_completions"):
        stored = read_at(StoredConfig, given, where)
        return {"type": stored.type, "metadata": stored.metadata, "schema": _STORED_SCHEMA}
    asked = read_at(CustomConfig, given, where)
    names = ["item", "sample"] if asked.include_sample_schema else ["item"]
    schema: Object = {"type": "object", "properties": {"item": asked.item_schema}, "required": names}
    if asked.include_sample_schema:
        schema["properties"]["sample"] = {"type": "object", "properties": {"output_text": {"type": "string"}}}
    return {"type": "custom", "schema": schema}


def item_schema(config: Mapping[str, Any]) -> Object | None:
    """Return the schema that rows must fit, of a configuration as shown; None where they come from elsewhere."""
    found: Object | None = config["schema"]["properties"]["item"] if config["type"] == "custom" else None
    return found


def read_criteria(given: Sequence[Any]) -> list[Criterion]:
    """Return testing criteria; raises ApiError."""
    found = [read_single(each, f"testing_criteria[{place}]", CRITERIA) for place, each in enumerate(given)]
    names = [each.name for each in found]
    for place, name in enumerate(names):
        if name in names[:place]:
            sentence = f"Two testing criteria have the name {shown(name)}. Give each its own."
            raise ApiError(sentence, param=f"testing_criteria[{place}].name", code="duplicate_name")
    return found


# --- runs


class _FileContentRow(Request):
    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class _Source(Request):
    type: Literal["file_content", "file_id"]
    content: tuple[_FileContentRow, ...] = Field(default=(), max_length=MAX_ROWS)
    id: str | None = Field(default=None, min_length=1, max_length=128)

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if self.type == "file_id" and self.id is None:
            raise refuse("missing_required_parameter", "Missing required parameter: '{param}'.", "id")
        if self.type == "file_content" and not self.content:
            raise refuse("empty_array", "Invalid '{param}': a run needs at least one row.", "content")
        return self


class _InputMessages(Request):
    type: Literal["template", "item_reference"]
    template: Messages | None = None
    item_reference: str | None = Field(default=None, max_length=512)

    @model_validator(mode="after")
    def _either(self) -> Self:
        if getattr(self, self.type) is None:
            raise refuse("missing_required_parameter", "Missing required parameter: '{param}'.", self.type)
        if self.type == "item_reference":
            try:
                (path,) = paths("{{" + str(self.item_reference) + "}}")
                if path[0] != NAMESPACES[0]:
                    raise TemplateError("it begins with 'sample'.")
            except (TemplateError, ValueError):
                what = "Invalid '{param}': expected a place in the row, such as 'item.messages'."
                raise refuse("invalid_value", what, "item_reference") from None
        return self


class _Sampling(Request):
    refused = frozenset({"reasoning_effort"})

    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)


class ChatSampling(_Sampling):
    """How chats are asked; the last two are checked as a chat's own."""

    response_format: dict[str, Any] | None = None
    tools: Annotated[tuple[dict[str, Any], ...], Field(max_length=128)] | None = None


class _TextFormat(Request):
    format: dict[str, Any] | None = None


class ResponseSampling(_Sampling):
    """How responses are asked."""

    refused = frozenset({"reasoning_effort", "tools"})

    text: _TextFormat = _TextFormat()


class JsonlSource(Request):
    """Rows that hold what is graded."""

    type: Literal["jsonl"]
    source: _Source


class _Asked(Request):
    source: _Source
    model: str = Field(min_length=1, max_length=512)
    input_messages: _InputMessages


class CompletionsSource(_Asked):
    """Rows that a model answers as chats."""

    type: Literal["completions"]
    sampling_params: ChatSampling = ChatSampling()


class _Kept(Request):
    model: str | None = Field(default=None, min_length=1, max_length=512)
    metadata: Annotated[Metadata | None, AfterValidator(_searchable)] = None
    created_after: int | None = Field(default=None, ge=0, le=2**40)
    created_before: int | None = Field(default=None, ge=0, le=2**40)
    limit: int | None = Field(default=None, ge=1, le=MAX_ROWS)

    @property
    def id(self) -> None:
        """Of no file."""


class _Stored(_Kept):
    type: Literal["stored_completions"]


_Text = Annotated[str, Field(min_length=1, max_length=512)]


class _StoredResponses(_Kept):
    type: Literal["responses"]
    has_tool_calls: bool | None = None
    instructions_search: _Text | None = None
    reasoning_effort: ReasoningEffort | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    tools: tuple[_Text, ...] = Field(default=(), max_length=128)
    users: tuple[_Text, ...] = Field(default=(), max_length=128)


class _Again(Request):
    model: str | None = Field(default=None, min_length=1, max_length=512)
    input_messages: _InputMessages = _InputMessages(type="item_reference", item_reference="item.input_trajectory")


class StoredSource(_Again):
    """Stored chats: as they were answered or, with a model, as it answers them now."""

    type: Literal["completions"]
    source: _Stored
    sampling_params: ChatSampling = ChatSampling()


class StoredResponsesSource(_Again):
    """Stored responses, in the same way."""

    type: Literal["responses"]
    source: _StoredResponses
    sampling_params: ResponseSampling = ResponseSampling()


class ResponsesSource(_Asked):
    """Rows that a model answers as responses."""

    type: Literal["responses"]
    sampling_params: ResponseSampling = ResponseSampling()


AskedSource = CompletionsSource | ResponsesSource | StoredSource | StoredResponsesSource
DataSource = JsonlSource | AskedSource
SOURCES: Mapping[str, type[DataSource]] = {
    "jsonl": JsonlSource,
    "completions": CompletionsSource,
    "responses": ResponsesSource,
}
STORED: Mapping[str, tuple[str, type[DataSource]]] = {
    "stored_completions": ("completions", StoredSource),
    "responses": ("responses", StoredResponsesSource),
}
"""Type of a source → the type of the data source that has it, and that one."""


class RunRequest(Request):
    """POST /evals/{id}/runs."""

    name: Label = ""
    metadata: Metadata = Field(default_factory=dict)
    data_source: dict[str, Any]


def read_source(given: Object) -> DataSource:
    """Return a run's data source; raises ApiError."""
    kind, source = given.get("type"), given.get("source")
    if not isinstance(kind, str) or kind not in SOURCES:
        options = ", ".join(f"'{each}'" for each in SOURCES)
        sentence = f"Invalid value: {shown(kind)}. Supported values are: {options}."
        raise ApiError(sentence, param="data_source.type", code="invalid_value")
    of = source.get("type") if isinstance(source, dict) else None
    if isinstance(of, str) and of in STORED:
        wanted, stored = STORED[of]
        if kind == wanted:
            return read_at(stored, given, "data_source")
        sentence = f"Runs of the type '{kind}' over '{of}' are not served: it is a source of the type '{wanted}'."
        raise ApiError(sentence, param="data_source.source.type", code="unsupported")
    return read_at(SOURCES[kind], given, "data_source")


def sampling_of(source: AskedSource) -> Object:
    """Return the parameters of the chats that a run asks, besides model and messages."""
    asked = source.sampling_params.model_dump(exclude_none=True)
    form = (asked.pop("text", None) or {}).get("format")
    if form is not None:
        kind = form.get("type")
        rest = {name: value for name, value in form.items() if name != "type"}
        asked["response_format"] = {"type": kind, "json_schema": rest} if kind == "json_schema" else form
    if "tools" in asked:
        asked["tools"] = list(asked["tools"])
    return asked


class EvalPage(PageQuery):
    """GET /evals."""

    order: Literal["asc", "desc"] = "asc"
    order_by: Literal["created_at", "updated_at"] = "created_at"

    @property
    def sort(self) -> tuple[tuple[str, int], ...]:
        """How the list is sorted, by id where two are of one moment."""
        return ((self.order_by, self.direction), ("id", self.direction))


class RunPage(PageQuery):
    """GET /evals/{id}/runs."""

    order: Literal["asc", "desc"] = "asc"
    status: Literal["queued", "in_progress", "completed", "canceled", "failed"] | None = None


class ItemPage(Query):
    """GET /evals/{id}/runs/{run}/output_items: in the order of the rows."""

    limit: int = Field(default=20, ge=1, le=100)
    after: str | None = None
    order: Literal["asc", "desc"] = "asc"
    status: Literal["pass", "fail"] | None = None


# --- as served


def eval_object(view: Mapping[str, Any], content: Mapping[str, Any]) -> Object:
    """Return an Eval; `content` is what its blob holds."""
    return {
        "id": view["id"],
        "object": "eval",
        "name": view["name"],
        "created_at": openai.seconds(view["created_at"]),
        "metadata": view["metadata"],
        **{name: content[name] for name in ("data_source_config", "testing_criteria")},
    }


def run_object(view: Mapping[str, Any], content: Mapping[str, Any]) -> Object:
    """Return an EvalRun; `error` always holds two texts, which are empty where nothing is wrong."""
    ended, created = view["ended"] or {}, view["created"]
    return {
        "id": view["id"],
        "object": "eval.run",
        "eval_id": view["eval"],
        "name": created["name"],
        "status": view["status"],
        "model": created["model"] or "",
        "created_at": openai.seconds(view["created_at"]),
        "metadata": created["metadata"],
        "data_source": content["data_source"],
        "error": {"code": ended.get("code") or "", "message": ended.get("message") or ""},
        "report_url": f"/v1/evals/{view['eval']}/runs/{view['id']}",
        "result_counts": {name: view[name] for name in ("total", "errored", "failed", "passed")},
        "per_testing_criteria_results": [
            {"testing_criteria": each["name"], "passed": each["passed"], "failed": each["failed"]}
            for each in ended.get("criteria", ())
        ],
        "per_model_usage": [_usage(each) for each in ended.get("usage", ())],
    }


def _usage(each: Mapping[str, Any]) -> Object:
    return {
        "model_name": each["model"],
        "invocation_count": each["requests"],
        "prompt_tokens": each["prompt_tokens"],
        "completion_tokens": each["completion_tokens"],
        "total_tokens": each["prompt_tokens"] + each["completion_tokens"],
        "cached_tokens": 0,
    }
