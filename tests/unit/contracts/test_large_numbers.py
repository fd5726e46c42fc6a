"""P1: what is stored is served, however large its numbers are: MongoDB has a class of its own for those from 2**31."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import bson
import msgspec
import pytest

from contracts.documents import READ_MODELS
from contracts.wire import batches, benchmarks, dataset, evals, legacy, openai, permissions, uploads
from infra.adapters.mongo.documents import PLAIN
from tests.events import golden

Shape = Callable[[dict[str, Any]], Any]
COUNTS = ("extracted", "rejected", "chunked", "cut", "made", "kept")


def _progress(view: dict[str, Any]) -> Any:
    return dataset.progress(view, dict.fromkeys(COUNTS, view["created_at"]))


def _using(view: dict[str, Any]) -> Any:
    return dataset.seen_by([dataset.using(view, view["created"]["training_file"], [{"id": "m", "deleted": False}])])


SHAPES: dict[str, tuple[Shape, ...]] = {
    "files": (openai.file, legacy.validation, legacy.verdict),
    "archives": (_progress,),
    "documents": (lambda view: dataset.uncut(view, view["extracted"] and view["extracted"]["pages"]),),
    "jobs": (openai.job, legacy.job, _using),
    "job_events": (openai.job_event, openai.step_metrics, legacy.job_event),
    "models": (openai.model, openai.checkpoint),
    "benchmarks": (benchmarks.benchmark,),
    "batches": (batches.batch,),
    "evals": (lambda view: evals.eval_object(view, {"data_source_config": {}, "testing_criteria": []}),),
    "eval_runs": (lambda view: evals.run_object(view, {"data_source": {}}),),
    "permissions": (permissions.permission,),
    "uploads": (lambda view: uploads.upload(view, 0),),
    "webhook_endpoints": (openai.webhook_endpoint,),
    "notifications": (openai.notification,),
}
"""Read model → every shape in which the API shows its views; those that are not here are shown nowhere."""


@pytest.mark.parametrize("number", [2**31, 2**53 - 1])
@pytest.mark.parametrize("model", READ_MODELS)
def test_every_view_and_every_shape_of_it_survives_large_numbers(model: str, number: int) -> None:
    views = [view for view in golden.views()["models"][model]["views"].values() if view is not None]
    assert views
    for view in views:
        large = golden.enlarged(view, number)
        stored = bson.decode(bson.encode(large), codec_options=PLAIN)
        assert json.loads(msgspec.json.encode(stored)) == large
        for shape in SHAPES.get(model, ()):
            msgspec.json.encode(shape(stored))
