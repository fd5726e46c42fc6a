"""Every task on every side: a finished (task, side) is a file, an answered batch a line, and neither is asked again."""

from __future__ import annotations

import gc
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import lm_eval
import numpy as np
import torch
import transformers
from datasets.exceptions import DatasetsError
from jinja2 import TemplateError
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from pydantic import BaseModel, ConfigDict, Field

from contracts.benchmarks import Item, Side, TaskResult
from functions.benchmark_model.harness import bundle, results, tasks
from functions.benchmark_model.harness.bundle import BundleError, Part
from functions.benchmark_model.harness.fast_path import Direct, templates_remembered
from functions.benchmark_model.harness.journal import Journal
from functions.benchmark_model.harness.served import ServedOverHttp

SEEDS = {"random": 0, "numpy": 1234, "torch": 1234, "few_shot": 1234}
"""lm-eval's own."""
Tell = Callable[[Mapping[str, Any]], None]
"""Says one line of progress."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Model):
    """One side's model: a folder, or an endpoint with the folder's tokenizer."""

    identity: str
    """What the weights are called by content; answers are kept under it."""
    model: Path
    """Folder of the base, or of merged weights."""
    adapter: Path | None = None
    url: str | None = None
    """Of an OpenAI-compatible endpoint; then nothing is loaded but the tokenizer."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    name: str = ""
    """What the endpoint calls the model."""


class Spec(_Model):
    """What to ask whom."""

    bundle: Path | None = None
    """A bundle beside the tasks that ship."""
    tasks: tuple[str, ...] = ()
    """Names of tasks or of families; empty: all that can be asked."""
    sides: Mapping[Side, Asked]
    folder: Path
    """All state; a folder that an earlier attempt left is taken up."""
    batch_size: int = Field(16, ge=1)
    few_shot: Mapping[str, int] = Field(default_factory=dict)
    """Family → examples."""
    limit: int | None = Field(None, ge=1)
    """Items of each task."""
    device: str = "cpu"
    dtype: str = "auto"
    direct: bool = True
    """Whether letters take the short way."""


def run(spec: Spec, tell: Tell) -> dict[str, Any]:
    """Ask what is not answered yet; returns the result as JSON. Raises BundleError.

    Files in `spec.folder`: tasks/TASK.yaml, journal/TASK.SIDE.jsonl, results/TASK.SIDE.json
    and harness.json, {tasks, items} as contracts.benchmarks has them.
    """
    parts = choose(spec)
    tasks.write(parts, spec.folder / "tasks", Path(lm_eval.__file__).parent / "tasks", spec.few_shot)
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    done: dict[tuple[str, Side], dict[str, Any]] = {}
    for side, asked in spec.sides.items():
        lm: Direct | ServedOverHttp | None = None
        for part in parts:
            path = spec.folder / "results" / f"{part.task}.{side}.json"
            pinned = _pinned(spec, part, asked)
            found = _read(path, pinned)
            if found is None:
                lm = lm or _load(spec, asked)
                found = _ask(spec, part, side, lm, pinned, tell)
                _write(path, json.dumps(found, ensure_ascii=False))
            tell({"finished": {"task": part.task, "side": side, "metrics": found["metrics"]}})
            done[part.task, side] = found
        del lm
        gc.collect()  # hooks make a circle of it, and two models may not fit
    return _whole(spec, parts, done)


def choose(spec: Spec) -> list[Part]:
    """Return the parts that are asked; raises BundleError for a name that no usable part has."""
    parts = bundle.inspect(*([bundle.OWN, spec.bundle] if spec.bundle else [bundle.OWN]))
    usable = [part for part in parts if part.usable]
    if not spec.tasks:
        return usable
    for name in spec.tasks:
        if not any(name in (part.task, part.family) for part in usable):
            told = next((part.problems[0] for part in parts if name in (part.task, part.family)), "it is not there")
            raise BundleError(f"The task {name!r} cannot be asked: {told}. `temper bundle check` says more.")
    return [part for part in usable if part.task in spec.tasks or part.family in spec.tasks]


def _pinned(spec: Spec, part: Part, asked: Asked) -> str:
    """The hash of everything that has to be the same for the same answers."""
    told = {
        "identity": asked.identity,
        "served": asked.url is not None,
        "data": part.sha256,
        "task": tasks.config(part, Path(), spec.few_shot).get("num_fewshot"),
        "batch_size": spec.batch_size,
        "limit": spec.limit,
        "dtype": spec.dtype,
        "device": spec.device,
        "direct": spec.direct,
        "seeds": SEEDS,
        "versions": [version(name) for name in ("lm-eval", "transformers", "torch", "peft", "datasets")],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _load(spec: Spec, asked: Asked) -> Direct | ServedOverHttp:
    if asked.url is not None:
        context = json.loads((asked.model / "config.json").read_text("utf-8"))["max_position_embeddings"]
        return ServedOverHttp(asked.url, asked.headers, asked.name, asked.model, context, spec.batch_size)
    lm = Direct(
        pretrained=str(asked.model),
        peft=str(asked.adapter) if asked.adapter else None,
        device=spec.device,
        dtype=spec.dtype,
        batch_size=spec.batch_size,
    )
    lm.direct = spec.direct
    return lm


def _ask(spec: Spec, part: Part, side: Side, lm: Direct | ServedOverHttp, pinned: str, tell: Tell) -> dict[str, Any]:
    random.seed(SEEDS["random"])
    np.random.seed(SEEDS["numpy"])
    torch.manual_seed(SEEDS["torch"])
    manager = TaskManager(include_path=str(spec.folder / "tasks"), include_defaults=False)
    try:
        loaded = manager.load([part.task])
    except (AttributeError, ImportError, LookupError, TypeError, ValueError, DatasetsError, TemplateError) as error:
        raise BundleError(f"lm-eval cannot read the task {part.task!r}: {type(error).__name__}: {error}") from error
    task = loaded["tasks"][part.task]
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=SEEDS["few_shot"])
    answered = 0

    def progress(requests: int) -> None:
        nonlocal answered
        answered += requests
        tell({"progress": {"task": part.task, "side": side, "answered": answered}})

    lm.on_batch, lm.cut = progress, 0
    with Journal(spec.folder / "journal" / f"{part.task}.{side}.jsonl", pinned) as lm.journal, templates_remembered():
        said = evaluate(lm=lm, task_dict=loaded, limit=spec.limit, bootstrap_iters=0, log_samples=True)
    assert said is not None
    logged = [{**sample, "question": task.doc_to_text(sample["doc"])} for sample in said["samples"][part.task]]
    return {
        "task": part.task,
        "side": side,
        "pinned": pinned,
        "metrics": _metrics(said["results"][part.task]),
        "few_shot": said["n-shot"][part.task],
        "version": said["versions"][part.task],
        "cut": lm.cut,
        "samples": results.samples(part.family, part.subject, logged),
    }


def _metrics(told: Mapping[str, Any]) -> dict[str, float]:
    """lm-eval's means by name, without what is no number."""
    values = {name: value for name, value in told.items() if "," in name and isinstance(value, int | float)}
    return {name.removesuffix(",none"): float(value) for name, value in values.items() if "_stderr" not in name}


def _whole(spec: Spec, parts: Sequence[Part], done: Mapping[tuple[str, Side], Mapping[str, Any]]) -> dict[str, Any]:
    """Write harness.json and return what is said of it."""
    scorer = f"lm-eval {version('lm-eval')}"
    items: list[Item] = []
    tables: list[TaskResult] = []
    for family in dict.fromkeys(part.family for part in parts):
        own = [part for part in parts if part.family == family]
        told = [done[part.task, side] for part in own for side in spec.sides]
        asked = [
            item
            for part in own
            for item in results.items(family, {side: done[part.task, side]["samples"] for side in spec.sides})
        ]
        metric = own[0].metric or next(iter(told[0]["metrics"]), "")
        tables.append(results.task_result(asked, own[0].title, metric, scorer, told))
        items += asked
    whole = {
        "tasks": [table.model_dump(mode="json") for table in tables],
        "items": [item.model_dump(mode="json") for item in items],
    }
    _write(spec.folder / "harness.json", json.dumps(whole, ensure_ascii=False))
    return {
        "scorer": scorer,
        "seeds": SEEDS,
        "tasks": [
            {
                "task": part.task,
                "family": part.family,
                "metrics": {side: done[part.task, side]["metrics"] for side in spec.sides},
                "items": part.items if spec.limit is None else min(part.items, spec.limit),
                "few_shot": done[part.task, next(iter(spec.sides))]["few_shot"],
                "version": done[part.task, next(iter(spec.sides))]["version"],
                "data_sha256": part.sha256,
            }
            for part in parts
        ],
    }


def _read(path: Path, pinned: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found["pinned"] == pinned else None


def _write(path: Path, text: str) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, "utf-8")
    part.replace(path)
