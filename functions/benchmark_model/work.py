"""A benchmark under a lease: fix the questions, ask both models, record what they say in parts, judge, report."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.asking import REFUSAL
from contracts.benchmarks import SIDES, Side
from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.controls import Claim
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.benchmarks import (
    BenchmarkCompleted,
    BenchmarkFailed,
    BenchmarkProgressed,
    BenchmarkRequested,
    BenchmarkStarted,
)
from contracts.ports import (
    BlobExistsError,
    BlobNotFoundError,
    Blobs,
    Child,
    Emit,
    FaultyError,
    Generate,
    Lease,
    RefusedError,
)
from contracts.replies import Replies, spent, wait_out
from functions._shared.model_files import read_manifest
from functions._shared.stage import ChildStage, Limits, NoResultError, event_of, run_stage
from functions.benchmark_model import core
from functions.benchmark_model.core import Question
from functions.benchmark_model.judging import Judge, judged

SUITE, CONCLUDE = "functions.benchmark_model.suite", "functions.benchmark_model.conclude"
HARNESS = "functions.benchmark_model.harness"
HARNESS_SECONDS = 24 * 3600.0
LIMITS = Limits(memory_bytes=4 * 2**30, seconds=3600.0)
ATTEMPTS = 5
"""For one part of the answers, of a model that is there and answers wrongly."""
PART = 32
"""Answers recorded together: what a crash may cost."""
_TOO_LARGE = BenchmarkFailed(
    code="too_large", message="The benchmark does not fit the limits of memory and time. Ask fewer items."
)
_SUITE, _PUBLIC = "suite.jsonl", "harness.json"
_MEDIA = {"html": "text/html", "json": "application/json", "jsonl": "application/jsonl", "png": "image/png",
          "svg": "image/svg+xml"}  # fmt: skip

Ask = Mapping[Side, Generate]
Tokenizer = Callable[[], Awaitable[Path]]
Folders = Callable[[Side], Awaitable[Mapping[str, str | None]]]
"""Brings a side's model to this machine: `model`, a folder, and `adapter`, a folder or None."""


@dataclass(frozen=True, slots=True)
class Harness:
    """What lm-eval's tasks need of this machine."""

    folders: Folders
    state: Path
    """Where answers are kept from one attempt to the next."""
    bundle: Path | None = None
    """A benchmark bundle beside the tasks that ship."""
    device: str = "cpu"


def _unusable(code: str, message: str) -> NoResultError:
    return NoResultError(BenchmarkFailed(code=code, message=message))


@dataclass(frozen=True, slots=True)
class Bench(ChildStage):
    """One benchmark at work."""

    emit: Emit
    requested: BenchmarkRequested

    @property
    def prefix(self) -> str:
        """Where the benchmark's blobs lie."""
        return f"{self.control.tenant}/{self.control.subject}"

    @property
    def source(self) -> str:
        """Where the blobs lie of the benchmark whose answers these are: another one's when they are scored anew."""
        return f"{self.control.tenant}/{self.requested.rescores or self.control.subject}"

    async def say(self, data: Payload, *key: str | int) -> None:
        """Publish an event of this benchmark."""
        await self.emit(event_of(self.control, data, self.control.subject, *key))


async def work(
    lease: Lease,
    blobs: Blobs,
    child: Child,
    emit: Emit,
    scratch: Path,
    ask: Ask,
    tokenizer: Tokenizer,
    harness: Harness,
    now: str,
    judge: Judge | None = None,
) -> list[Event]:
    """Return `benchmark.completed` or `benchmark.failed` for the benchmark that `lease` holds.

    `ask` are the models as they are served, `tokenizer` fetches the base's tokenizer.json, `now` is an ISO 8601 time.
    Blobs: suite.jsonl, answers/{side}-{part}.jsonl, harness.json, judge/{request}.json, and the files of the result.
    Raises UnavailableError when serving or judge is away: what was answered is recorded and not asked again.
    Tasks of lm-eval are run on this machine, by a child that keeps every answered batch.
    """
    control = lease.claim.control
    requested = BenchmarkRequested.model_validate(control.inputs["requested"])

    async def benchmarked(stage: ChildStage) -> Payload:
        bench = Bench(lease, blobs, child, stage.folder, emit, requested)
        return await _benchmarked(bench, ask, tokenizer, harness, now, judge)

    ending = await run_stage(lease, blobs, child, scratch, benchmarked)
    return [event_of(control, ending, control.subject, "end")]


async def _benchmarked(
    bench: Bench, ask: Ask, tokenizer: Tokenizer, harness: Harness, now: str, judge: Judge | None
) -> BenchmarkCompleted:
    requested = bench.requested
    if requested.suite.judge == core.NO_JUDGE or requested.suite.metric not in (None, "judge"):
        judge = None
    elif judge is None and (requested.suite.judge or requested.suite.metric == "judge"):
        raise _unusable("no_judge", "No judge's endpoint is configured: set TEMPER_JUDGE_URL, or ask without.")
    if requested.rescores:
        await _copied(bench)
    questions = await _questions(bench, tokenizer)
    total = len(questions) * len(ask) * (2 if judge else 1)
    await bench.say(BenchmarkStarted(total=total), "benchmark.started")
    answers = await _asked(bench, questions, ask, total)
    verdicts = await _judged(bench, questions, answers, judge, total) if judge else None
    public = await _harnessed(bench, harness) if requested.suite.harness else None
    left_out = sorted(set(requested.suite.tasks) - {question.task for question in questions})
    judging = {"model": judge.generate.model, "scores": verdicts} if judge and verdicts else None
    return await _conclude(bench, answers, public, judging, left_out, await bench.lease.record("created_at", now))


async def _copied(bench: Bench) -> None:
    """Take over another benchmark's questions and answers."""
    for key in await bench.blobs.list(f"{bench.source}/"):
        name = key.removeprefix(f"{bench.source}/")
        if name in (_SUITE, _PUBLIC) or name.startswith("answers/"):
            with suppress(BlobExistsError):
                media = _MEDIA[name.rpartition(".")[2]]
                await bench.blobs.put(f"{bench.prefix}/{name}", await bench.blobs.get(key), media, exclusive=True)


async def _questions(bench: Bench, tokenizer: Tokenizer) -> list[Question]:
    """Return the questions, which are fixed by the first attempt."""
    key, out = f"{bench.prefix}/{_SUITE}", bench.folder / _SUITE
    if await bench.blobs.stat(key) is None:
        inputs = bench.control.inputs
        spec: dict[str, Any] = {
            "suite": bench.requested.suite.model_dump(mode="json"),
            "tokenizer": await tokenizer(),
            "context": inputs["context"],
            "out": out,
            **dict.fromkeys(("rows", "lineage", "held_out", "held_out_lineage", *core.MORE_ROWS)),
        }
        for name, blob in _sources(inputs).items():
            spec[name] = await _fetched(bench, blob, f"{name}.jsonl")
        await bench.run(SUITE, spec, LIMITS, SUITE, _TOO_LARGE)
        await bench.blobs.store(key, out, _MEDIA["jsonl"])
    lines = (await bench.blobs.get(key)).splitlines()
    out.write_bytes(b"".join(line + b"\n" for line in lines))
    questions = await asyncio.to_thread(lambda: [Question.model_validate_json(line) for line in lines])
    if not questions and not bench.requested.suite.harness:
        text = (
            "There is nothing to ask: no rows are held out, and none were asked for. Name other tasks or another file."
        )
        raise _unusable("nothing_to_ask", text)
    return questions


def _sources(inputs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the blobs that questions are made of."""
    found: dict[str, Mapping[str, Any]] = {}
    rows = inputs["rows"]
    if rows:
        found["rows"] = rows["blob"]
        if rows["lineage"]:
            found["lineage"] = rows["lineage"]
        if rows["held_out"]:
            key = rows["held_out"]["key"].removesuffix(".jsonl") + ".lineage.jsonl"
            found |= {"held_out": rows["held_out"], "held_out_lineage": {"key": key}}
    return found | {role: inputs[role]["blob"] for role in core.MORE_ROWS if inputs.get(role)}


async def _asked(bench: Bench, questions: Sequence[Question], ask: Ask, total: int) -> dict[Side, list[Path]]:
    """Return the files of answers of each side; parts that are recorded are not asked again."""
    parts = [questions[start : start + PART] for start in range(0, len(questions), PART)]
    done, switches = 0, await _switches(bench)
    files: dict[Side, list[Path]] = {side: [] for side in ask}
    for number, part in enumerate(parts):
        for side in (each for each in SIDES if each in ask):  # side by side, so that both meet the same outages
            key = f"{bench.prefix}/answers/{side}-{number:05d}.jsonl"
            if await bench.blobs.stat(key) is None:
                lines = await _answers(bench, side, number, ask[side], part, switches)
                data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
                with suppress(BlobExistsError):  # an attempt that lost its lease was faster; what is recorded is used
                    await bench.blobs.put(key, data, _MEDIA["jsonl"], exclusive=True)
                progress = BenchmarkProgressed(done=done + len(part), total=total)
                await bench.say(progress, "benchmark.progressed", side, number)
            done += len(part)
            path = bench.folder / f"{side}-{number:05d}.jsonl"
            path.write_bytes(await bench.blobs.get(key))
            files[side].append(path)
    return files


async def _switches(bench: Bench) -> Mapping[str, Any]:
    """Return the template's switches that the tuned model was trained with: both sides are asked alike."""
    with suppress(BlobNotFoundError):  # serving says so
        return (await read_manifest(bench.blobs, bench.requested.models["tuned"].ref)).chat_template_kwargs
    return {}


async def _answers(
    bench: Bench, side: Side, number: int, model: Generate, part: Sequence[Question], switches: Mapping[str, Any]
) -> list[dict[str, str]]:
    """Return a part's answers; a model that answers wrongly in one attempt after the other ends the benchmark."""
    found = await asyncio.gather(*(_answer(model, question, switches) for question in part), return_exceptions=True)
    errors = sorted((each for each in found if isinstance(each, BaseException)), key=_is_faulty)
    if not errors:
        return [each for each in found if isinstance(each, dict)]
    if _is_faulty(errors[0]) and await spent(bench.lease, f"{side}_{number}_faulty", ATTEMPTS - 1):
        text = f"The {side} model {bench.requested.models[side].name} cannot be asked, {ATTEMPTS} times in a row: "
        raise _unusable("model_faulty", f"{text}{errors[0]}. Mend it, and request the benchmark again.")
    raise errors[0]


def _is_faulty(error: BaseException) -> bool:
    return isinstance(error, FaultyError)


async def _answer(model: Generate, question: Question, switches: Mapping[str, Any]) -> dict[str, str]:
    """Return what a model says, or why it cannot be asked that: then nothing is scored, which is not 0."""
    body: dict[str, Any] = {
        "model": model.model,
        "messages": [dict(message) for message in question.messages],
        "temperature": 0,
        "max_tokens": question.max_tokens,
    }
    if question.tools:
        body["tools"] = [dict(tool) for tool in question.tools]
    if switches:
        body["chat_template_kwargs"] = dict(switches)
    try:
        return {"id": question.id, "said": await model(body)}
    except RefusedError as error:
        return {"id": question.id, "error": str(error)}


async def _judged(
    bench: Bench, questions: Sequence[Question], answers: Mapping[Side, Sequence[Path]], judge: Judge, total: int
) -> Path:
    """Return what the judge says of each answer, a line each; what it was asked before is not asked again."""
    items, out = bench.folder / "judged.jsonl", bench.folder / "judge.jsonl"
    count = await asyncio.to_thread(_judgeable, questions, answers, items)
    replies = Replies(bench.blobs, f"{bench.source}/judge", judge.generate, judge.patience, asyncio.sleep)
    verdicts: dict[tuple[str, str], Mapping[str, Any]] = {}

    async def scored(line: Mapping[str, Any]) -> None:
        verdicts[line["id"], line["side"]] = line
        if not len(verdicts) % PART:
            progress = BenchmarkProgressed(done=total // 2 + len(verdicts), total=total)
            await bench.say(progress, "benchmark.progressed", "judge", len(verdicts))

    model, in_flight = judge.generate.model, judge.patience.in_flight
    if count:
        await wait_out(
            bench.lease, "judge", replies, judge.patience,
            lambda: judged(bench.child, items, replies, model, in_flight, scored),
        )  # fmt: skip
    lines = (json.dumps(verdicts[key], ensure_ascii=False) + "\n" for key in sorted(verdicts))
    out.write_text("".join(lines), encoding="utf-8")
    return out


def _judgeable(questions: Sequence[Question], answers: Mapping[Side, Sequence[Path]], items: Path) -> int:
    """Write what can be judged, a line each; whether a model rightly declines is told without a judge."""
    asked, count = {each.id: each for each in questions if each.answer != REFUSAL}, 0
    with items.open("w", encoding="utf-8") as out:
        for side, paths in answers.items():
            for line in (json.loads(line) for path in paths for line in path.read_bytes().splitlines()):
                question = asked.get(line["id"])
                if question is not None and "said" in line:
                    item = {"id": question.id, "side": side, "question": question.question, "answer": question.answer}
                    out.write(json.dumps({**item, "said": line["said"]}, ensure_ascii=False) + "\n")
                    count += 1
    return count


async def _harnessed(bench: Bench, harness: Harness) -> Path:
    """Return what lm-eval found on its tasks; batches that an earlier attempt on this machine answered are kept."""
    key, kept = f"{bench.prefix}/{_PUBLIC}", bench.folder / _PUBLIC
    if await bench.blobs.stat(key) is not None:
        kept.write_bytes(await bench.blobs.get(key))
        return kept
    folder = harness.state / bench.control.subject
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    sides = {
        side: {"identity": model.ref.sha256, **await harness.folders(side)}
        for side, model in bench.requested.models.items()
    }
    spec = {
        "bundle": str(harness.bundle) if harness.bundle else None,
        "tasks": bench.requested.suite.harness,
        "sides": sides,
        "folder": str(folder),
        "limit": bench.requested.suite.items,
        "device": harness.device,
    }
    path = folder / "spec.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    result = await bench.child.run(HARNESS, path, seconds=HARNESS_SECONDS)
    if result.code:
        said = [json.loads(line) for line in result.stdout.splitlines()[-1:]]
        if said and "error" in said[0]:
            raise _unusable("invalid_bundle", said[0]["error"])
        raise result.failed(HARNESS)
    await asyncio.to_thread(shutil.copyfile, folder / _PUBLIC, kept)
    await bench.blobs.store(key, kept, _MEDIA["json"])
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return kept


def _head(bench: Bench, questions_sha256: str, left_out: Sequence[str], created_at: str) -> dict[str, Any]:
    """Return what stands above a result: what was asked of which models, on which data."""
    requested, rows = bench.requested, bench.control.inputs["rows"] or {}
    return {
        "benchmark": bench.control.subject,
        "job": requested.job,
        "models": {side: model.name for side, model in requested.models.items()},
        "created_at": created_at,
        "config": {
            "seed": requested.suite.seed,
            "temperature": 0,
            "tasks": ", ".join(requested.suite.tasks),
            **({"left_out": f"{', '.join(left_out)}: there are too few rows for them"} if left_out else {}),
            "questions_sha256": questions_sha256,
            **({"answers_of": requested.rescores} if requested.rescores else {}),
            **{f"{side}_manifest": model.ref.sha256 for side, model in requested.models.items()},
        },
        "dataset": {name: rows.get(name) for name in ("file", "rows", "held_out_rows", "coverage", "generator")},
    }


async def _conclude(
    bench: Bench,
    answers: Mapping[Side, Sequence[Path]],
    public: Path | None,
    judging: Mapping[str, Any] | None,
    left_out: Sequence[str],
    created_at: str,
) -> BenchmarkCompleted:
    """Score, report, store, and return the result."""
    inputs, requested = bench.control.inputs, bench.requested
    metrics = await _fetched(bench, inputs["metrics"], "metrics.csv") if inputs["metrics"] else None
    out = bench.folder / "result"
    out.mkdir()
    suite = await bench.blobs.get(f"{bench.prefix}/{_SUITE}")
    spec = {
        "questions": bench.folder / _SUITE,
        "answers": answers,
        "harness": public,
        "judge": judging,
        "metric": requested.suite.metric,
        "metrics": metrics,
        "folder": out,
        "head": _head(bench, sha256(suite), left_out, created_at),
    }
    found = await bench.run(CONCLUDE, spec, LIMITS, CONCLUDE, _TOO_LARGE)
    stored = {
        path.name: await bench.blobs.store(f"{bench.prefix}/{path.name}", path, _MEDIA[path.suffix[1:]])
        for path in sorted(out.iterdir())
    }
    return BenchmarkCompleted(
        result=stored["result.json"],
        items=stored["items.jsonl"],
        report=stored["report.html"],
        verdict=found["verdict"],
        sentence=found["sentence"],
        scores=found["scores"],
    )


async def _fetched(bench: Bench, blob: Mapping[str, Any], name: str) -> Path:
    if "sha256" in blob:
        return await bench.fetch(BlobRef.model_validate(blob), name)
    path = bench.folder / name
    path.write_bytes(await bench.blobs.get(blob["key"]))
    return path


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a benchmark that failed too often."""
    text = f"The benchmark could not be made, for a reason of the platform's own: {why}. Request it again."
    fail = BenchmarkFailed(code="benchmark_failed", message=text)
    return [core.failed(claim.subject, claim.control.tenant, None, fail)]
