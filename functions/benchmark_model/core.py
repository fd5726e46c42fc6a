"""What is asked of the models, how an answer is scored, and what may be benchmarked at all. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.asking import REFUSAL
from contracts.benchmarks import Kind, Metric
from contracts.documents.facts import View
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, derived_id, make
from contracts.events.benchmarks import BenchmarkedModel, BenchmarkFailed, BenchmarkRequested, Suite
from functions.benchmark_model.score import exact_match, f1, refusal, rouge_l

PREFIX = "bench-"
NONE = "none"
"""Of a job's `benchmarks`: nothing is asked when it has succeeded."""
TITLES: Mapping[str, str] = {
    "documents": "Your documents: held-out sections, read among distractors",
    "validation": "The validation file's rows",
    "generalization": "Generalization: trained facts, asked in other words",
    "forgetting": "Forgetting: general rows, before and after",
    "absent": "Control: held-out questions that no passage shown answers",
    "trained": "Training rows, asked again",
    "no_context": "Control: held-out questions without their context",
    "closed_book": "Training questions without their context",
    "needle": "A needle in a haystack of your documents",
    "needle_absent": "Control: the same haystacks without the needle",
}
NO_JUDGE = "none"
"""Of a suite's `judge`: answers are scored by rule."""

JUDGE_STEPS = (
    "Compare the facts of the actual output with those of the expected output, in view of the input.",
    "A fact that contradicts the expected output, or one of its facts that is missing, costs most.",
    "Other words, another order, and more detail that does not contradict it cost nothing.",
    "An actual output that is empty, says that it does not know, or does not answer the input gets 0.",
)

NOTHING = "(nothing)"
"""What a judge is shown for an empty text: DeepEval takes one for a field that was forgotten."""


class NoAnswerError(Exception):
    """The judge's endpoint gave no reply."""


class Question(BaseModel):
    """One thing that both models are asked; a line of the suite."""

    model_config = ConfigDict(frozen=True)

    id: str
    task: str
    kind: Kind
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...] | None = None
    question: str
    passages: tuple[str, ...] = ()
    answer: str
    max_tokens: int = Field(ge=1)
    source: Mapping[str, str | int] = Field(default_factory=dict)
    by: Mapping[str, str | int] = Field(default_factory=dict)


def digest(*key: str | int) -> str:
    """Return the SHA-256 of a key."""
    return hashlib.sha256("\n".join(map(str, key)).encode()).hexdigest()


def draw(*key: str | int) -> int:
    """Return 64 bits that depend on `key` alone: chance that is the same on every machine and in every order."""
    return int(digest(*key)[:16], 16)


def question_id(task: str, messages: Sequence[Mapping[str, Any]], answer: str) -> str:
    """Return an id that derives from what is asked, so that nothing is asked twice under two names."""
    text = "\n".join(f"{message['role']}: {message.get('content')}" for message in messages)
    return f"item-{derived_id(task, text, answer).replace('-', '')[:24]}"


def scored(question: Question, said: str) -> dict[str, float | None]:
    """Return the scores of an answer that need no judge."""
    if question.answer == REFUSAL:
        return {"refusal": refusal(said, question.answer)}
    return {
        "exact_match": exact_match(said, question.answer),
        "f1": f1(said, question.answer),
        "rouge_l": rouge_l(said, question.answer),
    }


def primary(question: Question, judged: bool, wanted: Metric | None) -> str:
    """Return the metric by which a question's task is compared."""
    if question.answer == REFUSAL:
        return "refusal"
    if wanted is not None:
        return wanted
    if judged:
        return "judge"
    return "f1" if question.task in FILES else "exact_match"  # whole sentences are hardly ever met word for word


FILES: tuple[Literal["generalization", "forgetting"], ...] = ("generalization", "forgetting")
"""Tasks that are asked when a request names a file of rows for them."""


def judged_by(model: str, deepeval: str) -> str:
    """Return who judges, and how, in words that are the same for the same scores."""
    return f"{model}, DeepEval {deepeval} GEval Correctness, steps {digest(*JUDGE_STEPS)[:8]}"


# --- what is benchmarked


def benchmark_of(job: str) -> str:
    """Return the id of the benchmark that follows a job by itself."""
    return f"{PREFIX}{derived_id(job, 'benchmark').replace('-', '')}"


def after_job(
    event: Event, job: View, base: View | None, suite: Suite | None, general: View | None = None
) -> Event | None:
    """Return the request that follows a job's success, or None where nobody wants it; `general` is a file of rows."""
    created, succeeded = job["created"], event.data.model_dump(mode="json")
    if suite is None or created.get("benchmarks") == NONE or base is None:
        return None
    models = {
        "base": BenchmarkedModel(name=created["model"], manifest=base["manifest"]),
        "tuned": BenchmarkedModel(name=succeeded["fine_tuned_model"], manifest=succeeded["manifest"]),
    }
    data = BenchmarkRequested.model_validate(
        {
            "models": models,
            "base_name": created["model"],
            "job": event.subject,
            "file": created["training_file"],
            "forgetting": general["id"] if general and _usable(general, event.tenant) else None,
            "suite": suite,
        }
    )
    name = benchmark_of(event.subject)
    return make(data, subject=name, tenant=event.tenant, id=derived_id(name, "benchmark.requested"), cause=event.id)


def _usable(file: View, tenant: str) -> bool:
    return file["tenant"] == tenant and not file["deleted"] and file["validated"] is not None


def inputs(
    requested: BenchmarkRequested,
    tenant: str,
    files: Mapping[str, View | None],
    job: View | None,
    base: View | None,
    models: Mapping[str, View | None],
    answered: View | None,
) -> dict[str, Any] | BenchmarkFailed:
    """Return what the work on a benchmark needs to know, or why it cannot be done.

    `models` are the tenant's and the public ones by name, `answered` is the benchmark that is scored anew. Another
    system may have asked: all that the request names must be the tenant's own or everybody's.
    """
    if base is None or base["deleted"]:
        return BenchmarkFailed(code="model_not_found", message=f"The base model {requested.base_name} is not there.")
    if requested.job and (job is None or job["tenant"] != tenant):
        return BenchmarkFailed(code="job_not_found", message=f"The job {requested.job} does not exist.")
    if requested.rescores and (answered is None or answered["tenant"] != tenant):
        return BenchmarkFailed(code="benchmark_not_found", message=f"There is no benchmark {requested.rescores}.")
    found: dict[str, Any] = {"base": base["manifest"]}
    found["context"] = base["context"]
    roles = {"rows": requested.file, **dict(zip(MORE_ROWS, more_rows(requested, job), strict=True))}
    for role, name in roles.items():
        if name is None:
            found[role] = None
            continue
        file = files.get(name)
        if file is None or file["tenant"] != tenant or file["deleted"]:
            return BenchmarkFailed(code="file_not_found", message=f"No such File object: {name}.")
        if file["validated"] is None:
            return BenchmarkFailed(code="file_not_ready", message=f"The rows of {name} are not ready, or not valid.")
        found[role] = {"file": name, **{part: file["validated"].get(part) for part in _PARTS}}
    asked = {}
    for side, model in requested.models.items():
        view = models.get(model.name)
        if view is None or view["deleted"] or view["tenant"] not in (tenant, PUBLIC):
            message = f"The model `{model.name}` does not exist or you do not have access to it."
            return BenchmarkFailed(code="model_not_found", message=message)
        asked[side] = BenchmarkedModel(name=model.name, manifest=view["manifest"])
    found["requested"] = requested.model_copy(update={"models": asked}).model_dump(mode="json")
    results = job["succeeded"]["result_files"] if job and job["succeeded"] else ()
    metrics = files.get(results[0]) if results else None
    found["metrics"] = metrics["blob"] if metrics and not metrics["deleted"] else None
    return found


MORE_ROWS = ("validation", *FILES)
"""Roles of files beside the one that was trained on."""


def more_rows(requested: BenchmarkRequested, job: View | None) -> tuple[str | None, ...]:
    """Return the files of these roles."""
    validation = job["created"]["validation_file"] if job else None
    return validation, requested.generalization, requested.forgetting


_PARTS = ("blob", "lineage", "held_out", "rows", "held_out_rows", "coverage", "generator")
"""Of a file of rows, or of a data set made of documents."""


def failed(benchmark: str, tenant: str, cause: str | None, data: BenchmarkFailed) -> Event:
    """Return the ending of a benchmark without a result."""
    return make(data, subject=benchmark, tenant=tenant, id=derived_id(benchmark, "end"), cause=cause)
