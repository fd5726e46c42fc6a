"""Where runs are compared, as settings say: MLflow's server, the client of Weights & Biases, or nowhere."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from contracts.ports import Track
from infra.runtime.functions import AbsentError
from infra.settings import Settings


def track(settings: Settings) -> Track:
    """Return the tracker; raises AbsentError where there is none."""
    if settings.tracking != "mlflow" or not settings.mlflow_url:
        raise AbsentError("there is no MLflow server (TEMPER_MLFLOW_URL)")
    from infra.adapters.mlflow.runs import MlflowTrack  # its client is a hundred megabytes

    return MlflowTrack(settings.mlflow_url, settings.s3_bucket)


def wandb_mode(settings: Settings) -> Literal["online", "offline"] | None:
    """Return how Weights & Biases is told of jobs; None: its client is not installed."""
    return settings.wandb if find_spec("wandb") else None


def wandb(settings: Settings) -> dict[str, str]:
    """Return how and where its client writes; raises AbsentError where it is not installed."""
    mode = wandb_mode(settings)
    if mode is None:
        raise AbsentError("the client of Weights & Biases is not installed")
    folder = settings.home.absolute() / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    return {"mode": mode, "folder": str(folder)}
