"""P5: what is recorded can be said, and what is said can be read: every value of every event has a bound."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from contracts import envelope
from contracts.blobs import BlobRef
from contracts.envelope import Event, PoisonError, Record, UnsayableError, make, sayable
from contracts.events.benchmarks import BenchmarkedModel, BenchmarkRequested, Grid, Suite
from contracts.events.files import FileRejected, FileUploaded, RowError
from contracts.events.jobs import Hyperparameters, JobCancelled, JobCreated, JobFailed, JobProgressed, StepMetrics
from contracts.signing import signature
from contracts.topics import TOPICS, Topic
from tests.events.golden import KEY

LONGEST_NUMBERS = (-1.2345678901234567e299, 1.2345678901234567e299, 1.2345678901234567e-299)
MANUSCRIPT = re.compile("\ufffd+")


def unbounded(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[str]:
    """Yield where a value may be as large as it likes."""
    if "$ref" in schema:
        yield from unbounded(definitions[schema["$ref"].rpartition("/")[2]], definitions, path)
    for each in schema.get("anyOf", ()):
        yield from unbounded(each, definitions, path)
    if "enum" in schema or "const" in schema:
        return
    match schema.get("type"):
        case "string" if "maxLength" not in schema:
            yield path
        case "integer" | "number" if not (
            {"minimum", "exclusiveMinimum"} & schema.keys() and {"maximum", "exclusiveMaximum"} & schema.keys()
        ):
            yield path
        case "array":
            if "maxItems" not in schema:
                yield path
            for item in [*schema.get("prefixItems", ()), *([schema["items"]] if "items" in schema else [])]:
                yield from unbounded(item, definitions, f"{path}[]")
        case "object":
            yield from unbounded_fields(schema, definitions, path)


def unbounded_fields(schema: dict[str, Any], definitions: dict[str, Any], path: str) -> Iterator[str]:
    for name, each in schema.get("properties", {}).items():
        yield from unbounded(each, definitions, f"{path}.{name}")
    if isinstance(extra := schema.get("additionalProperties"), dict):
        names = schema.get("propertyNames", {})
        if not ("enum" in names or ("maxLength" in names and "maxProperties" in schema)):
            yield f"{path} (its names)"
        yield from unbounded(extra, definitions, f"{path}.*")


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_string_list_and_number_of_an_event_has_a_bound(topic: Topic) -> None:
    schema = topic.payload.model_json_schema()
    assert list(unbounded(schema, schema.get("$defs", {}), topic.name)) == []


def largest(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return the value of `schema` that takes most bytes."""
    if "$ref" in schema:
        return largest(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return max((largest(each, definitions) for each in schema["anyOf"]), key=size)
    if "enum" in schema or "const" in schema:
        return max(schema.get("enum", [schema.get("const")]), key=size)
    match schema["type"]:
        case "string":
            begins, letters = ("", "file-", "https://", "a@"), ("\x01", "😀", "a")
            made = (begin + letter * (schema["maxLength"] - len(begin)) for begin in begins for letter in letters)
            return next(text for text in made if re.search(schema.get("pattern", ""), text))
        case "integer":
            return schema["maximum"]
        case "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum"))
            high = schema.get("maximum", schema.get("exclusiveMaximum"))
            numbers = (*LONGEST_NUMBERS, 0.123456789012345678, 0.623456789012345678)
            return max((each for each in numbers if low < each < high), key=size)
        case "boolean":
            return False
        case "array" if "prefixItems" in schema:
            return [largest(each, definitions) for each in schema["prefixItems"]]
        case "array":
            return [largest(schema["items"], definitions)] * schema["maxItems"]
        case "object":
            return largest_object(schema, definitions)
        case "null":
            return None
    raise AssertionError(schema)


def largest_object(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if not schema.get("additionalProperties"):
        return {name: largest(each, definitions) for name, each in schema.get("properties", {}).items()}
    names = schema["propertyNames"]
    rest = "\x01" * (names.get("maxLength", 2) - 2)
    keys = names.get("enum") or [f"{number:02d}{rest}" for number in range(schema["maxProperties"])]
    return dict.fromkeys(keys, largest(schema["additionalProperties"], definitions))


def size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def widest(value: Any) -> Any:
    """Return what was shortened for people with its widest letters, as it would be stored."""
    if isinstance(value, str):
        return "😀" * len(value) if MANUSCRIPT.fullmatch(value) else value
    if isinstance(value, list):
        return [widest(each) for each in value]
    return {name: widest(each) for name, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_largest_event_that_its_bounds_allow_can_be_said(topic: Topic) -> None:
    schema = topic.payload.model_json_schema()
    first = topic.payload.model_validate(largest(schema, schema.get("$defs", {})))
    data = topic.payload.model_validate(widest(first.model_dump(mode="json")))
    event = make(data, subject="s" * 1024, tenant="t", id="i", epoch=10**9 - 1, attempt=10**9 - 1)
    said = record(event)
    assert len(said.value or b"") <= envelope.MAX_BYTES
    assert envelope.read(said, KEY, None).data == data


def record(event: Event) -> Record:
    headers = envelope.headers(event, KEY)
    return Record(
        topic=event.type, key=event.subject.encode(), headers=tuple(headers), value=envelope.body(event), at=1
    )


def test_what_a_person_is_told_is_shortened_and_whole_where_it_is_made() -> None:
    error = RowError(line=1, path="x" * 5000, code="wrong", message="half \ud800 and \x00 " + "y" * 5000)
    assert len(error.path) == 128
    assert error.path.endswith("…")
    assert error.message.startswith("half \ufffd and \ufffd yyy")
    assert len(error.message) == 400
    data = FileRejected(code="wrong", message="z" * 9000, errors=(error,) * 100)
    assert sayable(make(data, subject="file-1", tenant="local", id="1"))


def step(**changed: Any) -> JobProgressed:
    known = {"step": 1, "train_loss": 1.0, "train_mean_token_accuracy": 0.5}
    return JobProgressed.model_construct(total_steps=1, steps=(StepMetrics.model_construct(**{**known, **changed}),))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (JobFailed.model_construct(code="c", message="\x00", param=None), "NUL"),
        (JobFailed.model_construct(code="c", message="\ud800", param=None), "surrogates"),
        (JobFailed.model_construct(code="c" * 65, message="", param=None), "code"),
        (JobFailed.model_construct(code="c", message="x" * 300_000, param=None), "belongs in blobs"),
        (step(step=2**53), r"beyond 2\*\*53"),
        (step(train_loss=float("nan")), "JSON"),
    ],
)
def test_what_no_reader_would_take_is_not_said(data: Any, why: str) -> None:
    with pytest.raises(UnsayableError, match=why):
        sayable(make(data, subject="ftjob-1", tenant="local", id="1"))


@pytest.mark.parametrize("name", ["subject", "id", "cause", "tenant"])
def test_a_header_that_no_reader_would_take_is_not_said(name: str) -> None:
    event = make(JobCancelled(), subject="ftjob-1", tenant="local", id="1")
    for text in ("x" * 1025, "\ud800"):
        with pytest.raises(UnsayableError):
            sayable(replace(event, **{name: text}))


def own(data: Any, value: dict[str, Any]) -> Record:
    """Return a record of Temper's own that an earlier version published, before bounds were drawn."""
    event = make(data, subject="file-1", tenant="local", id="1")
    headers = [each for each in envelope.headers(event, KEY) if each[0] != "ce_sig"]
    content = json.dumps(value).encode()
    sig = signature(KEY, event.type, event.subject, headers, content)
    return Record(topic=event.type, key=b"file-1", headers=(*headers, ("ce_sig", sig.encode())), value=content, at=1)


def test_an_own_record_from_before_a_bound_is_read_at_the_bound() -> None:
    job = JobCreated(model="m", training_file="file-1")
    old = {
        "model": "m",
        "training_file": "file-1",
        "hyperparameters": {"n_epochs": 10**9},
        "metadata": {"k": "v" * 600},
    }
    read = envelope.read(own(job, old), KEY, None).data
    assert isinstance(read, JobCreated)
    assert read.hyperparameters.n_epochs == 50
    assert read.metadata == {"k": "v" * 512}
    benchmark = BenchmarkRequested(models={"tuned": BenchmarkedModel(name="m")}, base_name="m")
    grid = {"lengths": [0, 64, 2**40], "positions": [0.5, 7], "chunks": list(range(1, 20))}
    older = {"models": {"tuned": {"name": "m"}}, "base_name": "m", "suite": {"grid": grid}}
    found = envelope.read(own(benchmark, older), KEY, None).data
    assert isinstance(found, BenchmarkRequested)
    assert found.suite.grid == Grid(lengths=(1, 64, 2**24), positions=(0.5, 1.0), chunks=tuple(range(1, 9)))
    rejected = FileRejected(code="c", message="m")
    errors = [{"line": 1, "code": "c", "path": "p" * 9000, "message": "m"}] * 120
    refused = envelope.read(own(rejected, {"code": "c", "message": "m", "errors": errors}), KEY, None).data
    assert isinstance(refused, FileRejected)
    assert len(refused.errors) == 100


@pytest.mark.parametrize(
    "more",
    [
        {"hyperparameters": {"n_epochs": 10**9}},
        {"hyperparameters": {"n_epochs": 0}},
        {"hyperparameters": {"batch_size": 257}},
        {"hyperparameters": {"learning_rate_multiplier": 1e200}},
        {"hyperparameters": {"learning_rate_multiplier": 0}},
        {"suffix": "two\nlines"},
        {"suffix": "with:colon"},
        {"suffix": " begins with a space"},
        {"model": "a\nb"},
        {"training_file": "file-\x1b"},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 513}},
        {"metadata": {str(number): "v" for number in range(17)}},
        {"integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": ["t" * 65]}}]},
    ],
)
def test_what_another_system_asks_for_has_the_bounds_of_the_edge(more: dict[str, Any]) -> None:
    value = {"model": "m", "training_file": "file-1", **more}
    subject = envelope.outside_subject("ftjob-", "local", "elsewhere", "1")
    attributes = {"id": "1", "source": "elsewhere", "type": "job.created", "subject": subject, "tenant": "local"}
    headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
    asked = Record(topic="job.created", key=subject.encode(), headers=headers, value=json.dumps(value).encode(), at=1)
    with pytest.raises(PoisonError) as refused:
        envelope.read(asked, KEY, "local")
    assert refused.value.code == "bad_schema"


@pytest.mark.parametrize(
    "grid",
    [{"lengths": [2**53 + 1]}, {"lengths": [0]}, {"chunks": [0]}, {"positions": [1.1]}, {"distractors": ["hard"] * 3}],
)
def test_a_grid_has_bounds(grid: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Suite.model_validate({"grid": grid})


def test_what_openai_allows_is_allowed() -> None:
    job = JobCreated(
        model="m",
        training_file="file-1",
        suffix="größer 2",
        hyperparameters=Hyperparameters(n_epochs=50, batch_size=256, learning_rate_multiplier=0.02),
        metadata={"k" * 64: "v" * 512},
    )
    assert sayable(make(job, subject="ftjob-1", tenant="local", id="1"))
    blob = BlobRef(key="k", sha256="0" * 64, bytes=0)
    assert FileUploaded(blob=blob, filename="f" * 1024, purpose="fine-tune").filename
