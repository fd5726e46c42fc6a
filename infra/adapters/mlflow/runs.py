"""The `Track` port on an MLflow server, through its own client, one call at a time."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from contracts.ports import UnavailableError
from contracts.tracking import Ending, Point, Run, Tracked, Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

Result = TypeVar("Result")
KEY = "temper.run"
"""The tag by which a run is found again."""
AWAY_SECONDS = 5.0
"""After a failure nobody asks for so long, so that a server that hangs costs its timeout once."""
MOST_METRICS, MOST_PARAMS, PARAM_LENGTH = 1000, 100, 6000
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_ENVIRONMENT = {
    # with its own numbers the client waits four minutes for a server that is away
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowTrack:
    """Runs on one MLflow server; credentials are MLflow's own (`MLFLOW_TRACKING_TOKEN`, …)."""

    name: Tracker = "mlflow"

    def __init__(self, url: str, bucket: str) -> None:
        self._url, self._bucket = url.rstrip("/"), bucket
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._client: MlflowClient | None = None
        self._runs: dict[str, Tracked] = {}
        self._away_until = 0.0

    async def run(self, run: Run) -> Tracked:
        """Return the run with this key, which is begun where there is none."""
        if run.key not in self._runs:
            self._runs[run.key] = await self._do(lambda client: self._run(client, run))
        return self._runs[run.key]

    async def log(self, run: str, points: Sequence[Point]) -> None:
        """Add points to a run's metrics; the server keeps the same point once."""
        from mlflow.entities import Metric

        metrics = [Metric(each.name, each.value, each.at, each.step) for each in points]
        for start in range(0, len(metrics), MOST_METRICS):
            part = metrics[start : start + MOST_METRICS]
            await self._do(methodcaller("log_batch", run, metrics=part))

    async def keep(self, run: str, files: Mapping[str, bytes]) -> None:
        """Put artefacts beside a run, by their paths."""

        def put(client: MlflowClient) -> None:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    path = Path(folder) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                client.log_artifacts(run, folder)

        await self._do(put)

    async def erase(self, run: Run, files: Sequence[str] = ()) -> None:
        """Delete a run's artefacts of these paths, or all of them; metrics, parameters and tags stay."""

        def delete(client: MlflowClient) -> None:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            experiment = client.get_experiment_by_name(run.experiment)
            for made in self._found(client, experiment.experiment_id, run) if experiment else ():
                there = [each.path for each in client.list_artifacts(made.info.run_id)]
                store = get_artifact_repository(made.info.artifact_uri, self._url)
                for path in (each for each in there if not files or each in files):
                    store.delete_artifacts(path)  # type: ignore[no-untyped-call]

        await self._do(delete)

    async def register(self, run: str, base: str, model: str, key: str) -> None:
        """List a tuned model as a version of its base; `key` is its manifest's."""
        name = base.replace("/", "-").replace(":", "-")  # which MLflow does not take in names

        def add(client: MlflowClient) -> None:
            if any(each.tags.get("temper.model") == model for each in client.search_model_versions(f"name='{name}'")):
                return
            if not client.search_registered_models(f"name='{name}'"):
                client.create_registered_model(name, tags={"temper.base": base})
            tags = {"temper.model": model, "temper.base": base}
            client.create_model_version(name, f"s3://{self._bucket}/{key}", run, tags=tags, description=model)

        await self._do(add)

    async def end(self, run: str, ending: Ending, at: int) -> None:
        """Close a run."""
        await self._do(lambda client: client.set_terminated(run, _STATUS[ending], at))

    def _run(self, client: MlflowClient, run: Run) -> Tracked:
        experiment = client.get_experiment_by_name(run.experiment)
        id = experiment.experiment_id if experiment else self._experiment(client, run.experiment)
        if found := self._found(client, id, run):
            made = found[0]
        else:
            from mlflow.entities import Param

            tags = {**run.tags, KEY: run.key, "temper.kind": run.kind}
            made = client.create_run(id, start_time=run.started_at, tags=tags, run_name=run.name)
            params = [Param(name, value[:PARAM_LENGTH]) for name, value in run.params.items()]
            for start in range(0, len(params), MOST_PARAMS):
                client.log_batch(made.info.run_id, params=params[start : start + MOST_PARAMS])
        return Tracked(made.info.run_id, f"{self._url}/#/experiments/{id}/runs/{made.info.run_id}")

    @staticmethod
    def _found(client: MlflowClient, experiment: str, run: Run) -> Sequence[Any]:
        """Return the runs of this key, the first first."""
        return client.search_runs([experiment], f"tags.`{KEY}` = '{run.key}'", order_by=["attributes.start_time"])

    @staticmethod
    def _experiment(client: MlflowClient, name: str) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another worker was faster, or it was deleted by hand: then this says so
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    async def _do(self, call: Callable[[MlflowClient], Result]) -> Result:
        if time.monotonic() < self._away_until:
            raise UnavailableError("mlflow", f"MLflow at {self._url} does not answer")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, call)

    def _call(self, call: Callable[[MlflowClient], Result]) -> Result:
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        try:
            return call(self._connected())
        except (MlflowException, RequestException) as error:
            if isinstance(error, MlflowException) and 400 <= error.get_http_status_code() < 500:  # type: ignore[no-untyped-call]
                raise
            self._away_until = time.monotonic() + AWAY_SECONDS
            raise UnavailableError(
                "mlflow", f"MLflow at {self._url} does not answer ({type(error).__name__})"
            ) from error

    def _connected(self) -> MlflowClient:
        if self._client is None:
            for name, value in _ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            from mlflow import MlflowClient  # a second, and a hundred megabytes: only where runs are tracked

            self._client = MlflowClient(self._url, self._url)
        return self._client
