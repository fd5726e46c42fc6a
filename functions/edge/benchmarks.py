"""What a request for a benchmark asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.documents.facts import View
from contracts.events.benchmarks import BenchmarkedModel, BenchmarkRequested, Suite
from contracts.wire.errors import ApiError
from contracts.wire.requests import Rescore


def of_job(job: View, base: View | None, rows: Mapping[str, str], asked: Suite) -> BenchmarkRequested:
    """Return the benchmark of a job's model against its base; raises ApiError before there is one."""
    if not job["succeeded"]:
        sentence = f"The job {job['id']} is {job['status']}; a benchmark needs its model, so wait until it succeeded."
        raise ApiError(sentence, param="id", code="job_not_succeeded")
    created, made = job["created"], job["succeeded"]
    if base is None:
        raise _no_base(created["model"])
    models = {
        "base": BenchmarkedModel(name=created["model"], manifest=base["manifest"]),
        "tuned": BenchmarkedModel(name=made["fine_tuned_model"], manifest=made["manifest"]),
    }
    return BenchmarkRequested.model_validate(
        {
            "models": models,
            "base_name": created["model"],
            "job": job["id"],
            "file": created["training_file"],
            **rows,
            "suite": asked,
        }
    )


def of_model(
    name: str, view: View, base: View | None, file: str | None, rows: Mapping[str, str], asked: Suite
) -> BenchmarkRequested:
    """Return the benchmark of any model, against its base where it has one."""
    if view["kind"] == "embedding":
        sentence = f"The model `{name}` makes embeddings; a benchmark asks models that write text."
        raise ApiError(sentence, param="model", code="unsupported_model")
    models = {"tuned": BenchmarkedModel(name=name, manifest=view["manifest"])}
    base_name = view["base_name"] or name
    if view["kind"] != "base":
        if base is None:
            raise _no_base(base_name)
        models["base"] = BenchmarkedModel(name=base_name, manifest=base["manifest"])
    return BenchmarkRequested.model_validate(
        {"models": models, "base_name": base_name, "job": view["job"], "file": file, **rows, "suite": asked}
    )


def rescored(view: View, asked: Rescore) -> BenchmarkRequested:
    """Return the request to score a benchmark's answers anew, by another judge or metric; nothing is asked again."""
    if not view["completed"]:
        raise not_completed(view)
    before = BenchmarkRequested.model_validate(view["requested"])
    suite = before.suite.model_copy(update={"judge": asked.judge, "metric": asked.metric})
    return before.model_copy(update={"rescores": before.rescores or view["id"], "suite": suite})


def _no_base(name: str) -> ApiError:
    sentence = f"The base model `{name}` is no longer there, so there is nothing to compare with. Add it again."
    return ApiError(sentence, param="model", code="model_not_found")


def check_cancel(view: View) -> None:
    """Refuse to cancel what has ended."""
    if view["ended"]:
        sentence = f"The benchmark {view['id']} has already ended: its status is {view['status']}."
        raise ApiError(sentence, param="id", code="benchmark_already_ended")


def no_benchmark(id: str) -> ApiError:
    """The tenant has no such benchmark."""
    return ApiError(f"The benchmark {id} does not exist.", status=404, param="id", code="benchmark_not_found")


def not_completed(view: View) -> ApiError:
    """There is no result to show."""
    why = view["failed"]["message"] if view["failed"] else "Ask again when its status is completed."
    return ApiError(
        f"The benchmark {view['id']} is {view['status']}. {why}", param="id", code="benchmark_not_completed"
    )
