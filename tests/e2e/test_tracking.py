"""Runs in MLflow, seen through its own client: while it is away no job waits, and afterwards everything is there."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from random import Random
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from infra.demo.data import MACHINES, TOPICS
from tests.e2e import support
from tests.e2e.scan import said_at
from tests.e2e.support import UNMEASURED, User
from tests.stack import Stack

if TYPE_CHECKING:  # it takes a second, and every worker collects every test
    from mlflow import MlflowClient
    from mlflow.entities import Run

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
EPOCHS = 10
CANARY = "5ca1ab1e" * 5
STEPS = {"train_loss", "train_mean_token_accuracy", "learning_rate", "grad_norm"}


@pytest.fixture(scope="module")
def mlflow(tracked: User) -> MlflowClient:
    """MLflow's own client, once its server answers."""
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    from mlflow import MlflowClient

    stack = tracked.stack
    support.until(lambda: "mlflow" in _parts(stack) and stack.process("mlflow").state == "up", "MLflow's server")
    return MlflowClient(stack.process("mlflow").address)


def _parts(stack: Stack) -> set[str]:
    return set(json.loads((stack.home / "stack.json").read_text())["processes"])


def runs(mlflow: MlflowClient, job: str) -> dict[str, Run]:
    """The runs of a job by their kind."""
    experiments = [each.experiment_id for each in mlflow.search_experiments()]
    found = mlflow.search_runs(experiments, f"tags.`temper.job` = '{job}'")
    kinds = [run.data.tags["temper.kind"] for run in found]
    assert len(kinds) == len(set(kinds)), f"{job} has a run twice: {kinds}"
    return dict(zip(kinds, found, strict=True))


def ended(mlflow: MlflowClient, job: str) -> dict[str, Run] | None:
    """Both runs of a job, once they have ended."""
    found = runs(mlflow, job)
    return found if len(found) == 2 and all(run.info.status == "FINISHED" for run in found.values()) else None


def files(mlflow: MlflowClient, run: Run, path: str | None = None) -> set[str]:
    """Every artefact of a run."""
    listed = mlflow.list_artifacts(run.info.run_id, path)
    within = [files(mlflow, run, each.path) for each in listed if each.is_dir]
    return {each.path for each in listed if not each.is_dir}.union(*within)


def test_a_job_has_two_runs_with_all_that_is_known_of_it(tracked: User, mlflow: MlflowClient) -> None:
    file = tracked.upload(support.rows(24))
    job = tracked.job(file, n_epochs=4, suffix="tracked", validation_file=tracked.upload(support.rows(8, first=100)))
    done = tracked.wait(job, "succeeded")
    found = support.until(lambda: ended(mlflow, job), f"the runs of {job}")
    training, benchmark = found["training"], found["benchmark"]
    assert training.info.experiment_id == benchmark.info.experiment_id
    experiment = mlflow.get_experiment(training.info.experiment_id)
    assert support.BASE in experiment.name
    assert file in experiment.name
    assert training.info.run_name.startswith("training 20")
    assert benchmark.info.run_name.startswith("benchmark 20")
    assert training.data.params["n_epochs"] == "4"
    assert training.data.params["tuning.kind"] == "lora"
    assert set(training.data.metrics) >= STEPS
    table = [row.split(",") for row in _results(tracked, done.result_files[0]).splitlines()]
    losses = {int(row[0]): float(row[1]) for row in table[1:]}
    history = support.until(lambda: _history(mlflow, training, len(losses)), "every step")
    assert {point.step: pytest.approx(point.value, abs=1e-5) for point in history} == losses
    assert len(history) == len(losses), "no step is there twice"
    assert files(mlflow, training) >= {"plan.json", "card.md", "step_metrics.csv", "step_metrics.jsonl"}
    assert {"report.html", "result.json"} <= files(mlflow, benchmark)
    assert any(name.endswith(".png") for name in files(mlflow, benchmark))
    assert any(".tuned" in name for name in benchmark.data.metrics)
    versions = mlflow.search_model_versions(f"name='{support.BASE}'")
    (version,) = (each for each in versions if each.tags["temper.model"] == done.fine_tuned_model)
    assert version.run_id == training.info.run_id
    shown = support.until(lambda: _links(tracked, job), "the job's links to its runs")
    assert {(each["kind"], each["run_id"]) for each in shown} == {
        (kind, run.info.run_id) for kind, run in found.items()
    }


def _history(mlflow: MlflowClient, run: Run, steps: int) -> list[Any] | None:
    """The losses of a run, once it has all of its steps: topics have no order among each other."""
    found = mlflow.get_metric_history(run.info.run_id, "train_loss")
    return found if len({point.step for point in found}) == steps else None


def _results(user: User, file: str) -> str:
    return user.get(f"/files/{file}/content", params={"format": "raw"}).text


def _links(user: User, job: str) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = user.get(f"/fine_tuning/jobs/{job}").json()["temper"]["tracked"]
    return found if len(found) == 2 else None


def test_while_the_server_hangs_no_job_waits_and_then_everything_is_there(tracked: User, mlflow: MlflowClient) -> None:
    stack = tracked.stack
    server = psutil.Process(stack.process("mlflow").pid)
    server.send_signal(signal.SIGSTOP)
    try:
        job = tracked.job(tracked.upload(support.rows(24, first=500)), n_epochs=EPOCHS)
        tracked.wait(job, "running")
        child = support.until(lambda: support.child_of(stack), "the training process")
        assert child.net_connections() == [], "the training process tracks nothing, and asks nobody anything"
        tracked.wait(job, "succeeded")
        edge = stack.base_url.removesuffix("/v1")
        assert support.HTTP.get(f"{edge}/readyz").status_code == 200, "a tracker that hangs is nobody's trouble"
        status = support.HTTP.get(f"{edge}/status").json()
        assert (status["status"], status["checks"]["mlflow"]["ok"]) == ("degraded", False)
    finally:
        server.send_signal(signal.SIGCONT)
    found = support.until(lambda: ended(mlflow, job), f"the runs of {job}")
    steps = 24 // 4 * EPOCHS
    history = support.until(lambda: _history(mlflow, found["training"], steps), "every step")
    assert sorted(point.step for point in history) == list(range(1, steps + 1))


def test_a_run_for_wandb_is_written_offline_and_its_key_is_nowhere_else(tracked: User) -> None:
    stack = tracked.stack
    wandb: Any = {"project": "pumps", "name": "canary", "api_key": CANARY}
    file = tracked.upload(support.rows(12, first=900))
    job = tracked.job(file, integrations=[{"type": "wandb", "wandb": wandb}], **UNMEASURED)
    tracked.wait(job, "succeeded")

    def shown() -> str | None:
        found = tracked.get(f"/fine_tuning/jobs/{job}").json()["integrations"][0]["wandb"]
        assert found["project"] == "pumps"
        return found.get("run_id")

    run = support.until(shown, "the run's id on the job")
    (written,) = (stack.home / "wandb").rglob(f"run-{run}.wandb")
    assert b"train_loss" in written.read_bytes()

    assert said_at(stack, CANARY) == [], "neither a log nor a store's file"
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if CANARY in line]


SENTENCE = "Zyxoquint"
"""A name that nothing else has, in a document."""


def handbook() -> bytes:
    """A ZIP of one Markdown file whose every section speaks of the canary."""
    rng, out = Random(5), io.BytesIO()
    parts = []
    for number in range(8):
        machine = f"{SENTENCE} {rng.choice(MACHINES)} {number}"
        said = [rng.choice(each.statements).format(M=machine, V=each.value(rng)) for each in TOPICS.values()]
        parts.append(f"# The {machine}\n\n{' '.join(said)}")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("handbook.md", "\n\n".join(parts))
    return out.getvalue()


def test_what_a_deleted_document_said_is_nowhere(tracked: User, mlflow: MlflowClient) -> None:
    """P7: through data set, job, benchmark, report and tracking; then the file is deleted."""
    stack = tracked.stack
    file = tracked.client.files.create(file=("handbook.zip", handbook()), purpose="fine-tune").id
    job = tracked.client.fine_tuning.jobs.create(
        model=support.BASE, training_file=file, hyperparameters={"n_epochs": 1}
    ).id
    made = tracked.wait(job, "succeeded")
    found = support.until(lambda: ended(mlflow, job), f"the runs of {job}")
    (benchmark,) = tracked.get(f"/fine_tuning/jobs/{job}/benchmarks").json()["data"]
    assert SENTENCE in tracked.get(f"/benchmarks/{benchmark['id']}/items").text
    places = said_at(stack, SENTENCE)
    for part in (f"/{file}/", f"/{job}/", f"/{benchmark['id']}/", "/mlflow/"):
        assert any(part in place for place in places), f"{part} never held what is to be erased: {places}"
    tracked.client.files.delete(file)
    support.until(lambda: not said_at(stack, SENTENCE), "the erasure of what the document said")
    kept = files(mlflow, found["training"])
    assert kept >= {"plan.json", "card.md", "step_metrics.csv"}
    assert "dataset_report.json" not in kept
    assert mlflow.get_run(found["benchmark"].info.run_id).data.metrics == found["benchmark"].data.metrics
    assert support.in_world(stack, lambda here: here.blobs.list(f"local/{job}/tokens/")) == []
    assert tracked.get(f"/benchmarks/{benchmark['id']}/report").json()["error"]["code"] == "content_not_found"
    assert tracked.get(f"/benchmarks/{benchmark['id']}").json()["verdict"] == benchmark["verdict"]
    ask: Any = [{"role": "user", "content": "What opens gate 7?"}]
    assert tracked.client.chat.completions.create(model=str(made.fine_tuned_model), messages=ask, max_tokens=4).choices
