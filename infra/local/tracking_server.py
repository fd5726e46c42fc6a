"""MLflow's server in one process: `python -m infra.local.tracking_server PORT FOLDER`.

`mlflow server` starts a child, which would outlive a `temper up` that is killed; so what it does before that is done
here, with its own names for its settings. Runs are in FOLDER/runs.db (SQLite), artefacts in FOLDER/artifacts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

NICENESS = 10
"""Whoever trains or answers goes first."""


def main(port: int, folder: Path) -> None:
    """Serve on loopback until stopped."""
    os.nice(NICENESS)
    store, artifacts = f"sqlite:///{folder / 'runs.db'}", folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",  # nothing is run for whoever reaches the port
        DO_NOT_TRACK="1",
    )
    import uvicorn  # after the environment, which MLflow reads when it is imported
    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(artifacts)
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    initialize_backend_stores(store, store, "mlflow-artifacts:/")
    uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
