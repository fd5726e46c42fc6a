"""What `AsyncTemper` has beside OpenAI's client; `temper/_sync.py` is made of this file by `python -m infra.docs`.

Whatever is left None is not sent. What the server refuses is raised as OpenAI's own exceptions.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from openai import AsyncOpenAI, OpenAIError
from openai._base_client import AsyncPaginator
from openai._response import AsyncStreamedBinaryAPIResponse, async_to_custom_streamed_response_wrapper
from openai.pagination import AsyncCursorPage, AsyncPage

from temper._helpers import ENDED, Bar, Grid, Metric, Score, Split, Task, broken, given, inside, late, part
from temper.types import (
    Benchmark,
    BenchmarkItem,
    BenchmarkResult,
    DatasetReport,
    DatasetRow,
    File,
    Job,
    JobDeleted,
    JobMetrics,
    JobPlan,
    Lineage,
    ModelFile,
    Notification,
    RowPreview,
    Status,
    StepResult,
    StorageUsage,
)

Shown = TypeVar("Shown")


class AsyncResource:
    """Calls of one noun."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def _get(self, path: str, cast_to: type[Shown], query: Mapping[str, object] | None = None) -> Shown:
        return await self._client.get(path, cast_to=cast_to, options={"params": given(query)})

    async def _post(self, path: str, cast_to: type[Shown], body: Mapping[str, object] | None = None) -> Shown:
        return await self._client.post(path, cast_to=cast_to, body=given(body))

    def _list(
        self, path: str, page: type[AsyncCursorPage[Shown]], model: type[Shown], query: Mapping[str, object]
    ) -> AsyncPaginator[Shown, AsyncCursorPage[Shown]]:
        return self._client.get_api_list(path, page=page, model=model, options={"params": given(query)})


class AsyncDatasets(AsyncResource):
    """What is made of documents, and where each row comes from; ids are those of files."""

    async def retrieve(self, file: str) -> File:
        """Return a file with what Temper says of it: `validation`, and of documents `dataset`, how far they are."""
        return await self._get(f"/files/{part(file)}", File)

    async def wait(
        self,
        file: str,
        *,
        until: Collection[str] = ("processed", "error"),
        timeout: float | None = None,
        interval: float = 1.0,
    ) -> File:
        """Return the file once its `status` or its data set's `stage` is one of `until`, or it is done.

        Raises TimeoutError after `timeout` seconds.
        """
        began = time.monotonic()
        while True:
            found = await self.retrieve(file)
            stage = found.dataset.stage if found.dataset else None
            if found.status in ("processed", "error") or found.status in until or stage in until:
                return found
            late(began, timeout, f"The file {file} is {stage or found.status}")
            await asyncio.sleep(interval)

    def rows(
        self, file: str, *, split: Split | None = None, after: str | None = None, limit: int | None = None
    ) -> AsyncPaginator[DatasetRow, AsyncCursorPage[DatasetRow]]:
        """List the rows of a data set, each with its way back to a page; iterating follows the pages."""
        query = {"split": split, "after": after, "limit": limit}
        return self._list(f"/files/{part(file)}/rows", AsyncCursorPage[DatasetRow], DatasetRow, query)

    async def report(self, file: str) -> DatasetReport:
        """Return coverage per document, page and chunk, what was left out and why, and samples."""
        return await self._get(f"/files/{part(file)}/report", DatasetReport)

    async def recurate(
        self,
        file: str,
        *,
        min_score: Mapping[Score, float] | None = None,
        max_score: Mapping[Score, float] | None = None,
    ) -> File:
        """Make another data set of the same questions, without those of too low or high a score; returns its file."""
        body = {"min_score": min_score, "max_score": max_score}
        return await self._post(f"/files/{part(file)}/recurate", File, body)

    async def preview(self, file: str, *, model: str, row: int) -> RowPreview:
        """Return what a model would be trained on of a row, which is counted from 1."""
        return await self._get(f"/files/{part(file)}/preview", RowPreview, {"model": model, "row": row})

    def lineage(
        self,
        file: str,
        *,
        page: int | None = None,
        document: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncPaginator[Lineage, AsyncCursorPage[Lineage]]:
        """List what became of each document, or of one page: chunks, rows, jobs, models."""
        query = {"file": file, "page": page, "document": document, "after": after, "limit": limit}
        return self._list("/lineage", AsyncCursorPage[Lineage], Lineage, query)


class AsyncJobs(AsyncResource):
    """What OpenAI's `fine_tuning.jobs` has not."""

    async def retrieve(self, job: str) -> Job:
        """Return a job with what Temper says of it under `temper`: its plan, what it waits for, who tracks it."""
        return await self._get(f"/fine_tuning/jobs/{part(job)}", Job)

    async def estimate(self, job: str) -> JobPlan | None:
        """Return the plan with the estimates of `seconds` and `memory_bytes`; None while the files are checked."""
        return (await self.retrieve(job)).temper.plan

    async def wait(
        self, job: str, *, until: Collection[str] = ENDED, timeout: float | None = None, interval: float = 2.0
    ) -> Job:
        """Return the job once its status is one of `until`, or it has ended; raises TimeoutError after `timeout` s."""
        began = time.monotonic()
        while True:
            found = await self.retrieve(job)
            if found.status in until or found.status in ENDED:
                return found
            late(began, timeout, f"The job {job} is {found.status}")
            await asyncio.sleep(interval)

    async def delete(self, job: str) -> JobDeleted:
        """Delete a job that has ended, its models and its result files."""
        return await self._client.delete(f"/fine_tuning/jobs/{part(job)}", cast_to=JobDeleted)

    def metrics(
        self, job: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncPaginator[JobMetrics, AsyncCursorPage[JobMetrics]]:
        """List what was measured at each step, the first step first."""
        path = f"/fine_tuning/jobs/{part(job)}/metrics"
        return self._list(path, AsyncCursorPage[JobMetrics], JobMetrics, {"after": after, "limit": limit})

    async def results(self, job: str) -> list[StepResult]:
        """Return an object for each step, as far as the job is: losses, perplexity, tokens, time."""
        text = await self._get(f"/fine_tuning/jobs/{part(job)}/results", str)
        return [StepResult.construct(**json.loads(line)) for line in text.splitlines()]


class AsyncBenchmarks(AsyncResource):
    """How good a model is, beside its base."""

    async def create(
        self,
        *,
        model: str,
        file: str | None = None,
        tasks: Sequence[Task] | None = None,
        harness: Sequence[str] | None = None,
        items: int | None = None,
        grid: Grid | None = None,
        seed: int | None = None,
        judge: str | None = None,
        metric: Metric | None = None,
        generalization_file: str | None = None,
        forgetting_file: str | None = None,
    ) -> Benchmark:
        """Ask a model, and its base where it has one, the rows of a file; without one, of its training file."""
        body = {"model": model, "file": file, "tasks": tasks, "harness": harness, "items": items, "grid": grid}
        body |= {"seed": seed, "judge": judge, "metric": metric, "generalization_file": generalization_file}
        return await self._post("/benchmarks", Benchmark, {**body, "forgetting_file": forgetting_file})

    async def create_for_job(
        self,
        job: str,
        *,
        tasks: Sequence[Task] | None = None,
        harness: Sequence[str] | None = None,
        items: int | None = None,
        grid: Grid | None = None,
        seed: int | None = None,
        judge: str | None = None,
        metric: Metric | None = None,
        generalization_file: str | None = None,
        forgetting_file: str | None = None,
    ) -> Benchmark:
        """Ask a job's model and its base about what it was trained on."""
        body = {"tasks": tasks, "harness": harness, "items": items, "grid": grid, "seed": seed, "judge": judge}
        body |= {"metric": metric, "generalization_file": generalization_file, "forgetting_file": forgetting_file}
        return await self._post(f"/fine_tuning/jobs/{part(job)}/benchmarks", Benchmark, body)

    async def evaluate(
        self,
        *,
        file: str,
        model: str | None = None,
        models: Sequence[str] | None = None,
        harness: Sequence[str] | None = None,
        items: int | None = None,
        grid: Grid | None = None,
        seed: int | None = None,
        judge: str | None = None,
        metric: Metric | None = None,
        generalization_file: str | None = None,
        forgetting_file: str | None = None,
    ) -> Sequence[Benchmark]:
        """Ask one model or several about a file's documents; returns a benchmark for each."""
        body = {"file": file, "model": model, "models": models, "harness": harness, "items": items, "grid": grid}
        body |= {"seed": seed, "judge": judge, "metric": metric, "generalization_file": generalization_file}
        body |= {"forgetting_file": forgetting_file}
        return (await self._post("/evaluate", AsyncPage[Benchmark], body)).data

    def list(
        self, *, after: str | None = None, limit: int | None = None, order: Literal["asc", "desc"] | None = None
    ) -> AsyncPaginator[Benchmark, AsyncCursorPage[Benchmark]]:
        """List all benchmarks, newest first."""
        query = {"after": after, "limit": limit, "order": order}
        return self._list("/benchmarks", AsyncCursorPage[Benchmark], Benchmark, query)

    def list_for_job(
        self,
        job: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        order: Literal["asc", "desc"] | None = None,
    ) -> AsyncPaginator[Benchmark, AsyncCursorPage[Benchmark]]:
        """List a job's benchmarks, newest first."""
        path, query = f"/fine_tuning/jobs/{part(job)}/benchmarks", {"after": after, "limit": limit, "order": order}
        return self._list(path, AsyncCursorPage[Benchmark], Benchmark, query)

    async def retrieve(self, benchmark: str) -> Benchmark:
        """Return a benchmark: how far it is, and its verdict once it has one."""
        return await self._get(f"/benchmarks/{part(benchmark)}", Benchmark)

    async def wait(
        self,
        benchmark: str,
        *,
        until: Collection[str] = ("completed", "failed", "cancelled"),
        timeout: float | None = None,
        interval: float = 2.0,
    ) -> Benchmark:
        """Return it once its status is one of `until`, or it has ended; raises TimeoutError after `timeout` s."""
        began = time.monotonic()
        while True:
            found = await self.retrieve(benchmark)
            if found.status in until or found.status in ("completed", "failed", "cancelled"):
                return found
            late(began, timeout, f"The benchmark {benchmark} is {found.status}")
            await asyncio.sleep(interval)

    async def cancel(self, benchmark: str) -> Benchmark:
        """End a benchmark."""
        return await self._post(f"/benchmarks/{part(benchmark)}/cancel", Benchmark)

    async def rescore(self, benchmark: str, *, judge: str | None = None, metric: Metric | None = None) -> Benchmark:
        """Score the same answers anew; returns another benchmark."""
        body = {"judge": judge, "metric": metric}
        return await self._post(f"/benchmarks/{part(benchmark)}/rescore", Benchmark, body)

    async def report(self, benchmark: str) -> str:
        """Return the report, an HTML page that needs nothing beside it."""
        return await self._get(f"/benchmarks/{part(benchmark)}/report", str)

    async def result(self, benchmark: str) -> BenchmarkResult:
        """Return everything that was found."""
        return await self._get(f"/benchmarks/{part(benchmark)}/result", BenchmarkResult)

    async def items(self, benchmark: str) -> Sequence[BenchmarkItem]:
        """Return every question with what was said and its scores."""
        text = await self._get(f"/benchmarks/{part(benchmark)}/items", str)
        return [BenchmarkItem.construct(**json.loads(line)) for line in text.splitlines()]


class AsyncModelFiles(AsyncResource):
    """A model as the folder that other software reads: PEFT's for an adapter, with its base's tokenizer."""

    async def list(self, model: str) -> Sequence[ModelFile]:
        """Return name, bytes and SHA-256 of each file."""
        return (await self._get(f"/models/{part(model)}/files", AsyncPage[ModelFile])).data

    async def content(self, model: str, name: str) -> bytes:
        """Return one file's bytes."""
        return await self._get(f"/models/{part(model)}/files/{part(name)}", bytes)

    async def download(self, model: str, folder: str | Path, *, progress: bool = True) -> Sequence[Path]:
        """Store a model's files in a folder, each checked by its SHA-256, and return their paths.

        A file that is there already and whole stays. `progress`: show a bar where standard error is a terminal.
        Raises OpenAIError where the bytes are not what was announced, and then leaves none of them.
        """
        files = await self.list(model)
        bar = Bar(sum(file.bytes for file in files), progress)
        paths = [inside(folder, file.name) for file in files]
        for file, path in zip(files, paths, strict=True):
            bar.begin(file.name)
            if bar.has(path, file.sha256):
                continue
            await self._store(f"/models/{part(model)}/files/{part(file.name)}", path, file, bar)
        bar.end()
        return paths

    async def _store(self, path: str, target: Path, file: ModelFile, bar: Bar) -> None:
        async def get(path: str, extra_headers: dict[str, str]) -> Any:
            return await self._client.get(path, cast_to=bytes, options={"headers": extra_headers})

        stream = async_to_custom_streamed_response_wrapper(get, AsyncStreamedBinaryAPIResponse)
        unfinished, digest = target.with_name(target.name + ".part"), hashlib.sha256()
        try:
            async with stream(path, extra_headers={}) as response:
                with unfinished.open("wb") as out, broken(file.name, response.http_request):
                    async for chunk in response.iter_bytes():
                        out.write(chunk)
                        digest.update(chunk)
                        bar.add(len(chunk))
            if digest.hexdigest() != file.sha256:
                raise OpenAIError(f"The bytes of {file.name} are not those that were announced. Download it again.")
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


class AsyncNotifications(AsyncResource):
    """Who was told of the ends of jobs."""

    def list(
        self, *, after: str | None = None, limit: int | None = None, order: Literal["asc", "desc"] | None = None
    ) -> AsyncPaginator[Notification, AsyncCursorPage[Notification]]:
        """List who was told, newest first."""
        query = {"after": after, "limit": limit, "order": order}
        return self._list("/notifications", AsyncCursorPage[Notification], Notification, query)

    async def retrieve(self, notification: str) -> Notification:
        """Return one, with what it waits for."""
        return await self._get(f"/notifications/{part(notification)}", Notification)


class AsyncUsage(AsyncResource):
    """What is used."""

    async def storage(self) -> StorageUsage:
        """Return what is stored for the caller, by kind and together, in bytes."""
        return await self._get("/usage/storage", StorageUsage)

    async def status(self) -> Status:
        """Return how all of Temper is: `ok`, `degraded` or `unready`, and why."""
        return await self._get(str(self._client.base_url.join("../status")), Status)
