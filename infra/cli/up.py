"""`temper up`."""

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from infra.local.errors import UserError
from infra.local.files import keep_private
from infra.local.record import read_stack
from infra.local.roles import PARTS, read_settings
from infra.local.stack import UpLog, check_disk, run_stack
from infra.settings import AskedSettings

POLL = 0.1


@click.command()
@click.option(
    "--detach", is_flag=True, help="Return when everything is ready, and leave it running (`temper down` stops it)."
)
@click.option("--only", metavar="PART[,PART…]", default="", help=f"Start these parts alone: {', '.join(PARTS)}.")
@click.option("--free-ports", is_flag=True, help="Take random free ports instead of the usual ones.")
def up(detach: bool, only: str, free_ports: bool) -> None:
    """Start the local stack, and keep it running until Ctrl-C.

    Starts Kafka, MongoDB and MinIO (obtained once into a cache that all checkouts share), then Temper's own processes:
    serving, worker, trainer, edge. Waits until each answers, and starts again what dies. MLflow comes up behind them.
    Everything ends with this command, even when it is killed.

    \b
    State lives in .temper/ (or TEMPER_HOME): data, logs/, stack.json (pids and ports), api_key. A second `temper up`
    on it continues with its data. The usual ports are 19092 (Kafka), 27117 (MongoDB), 19000 (MinIO), 8000 (edge) and
    8001 (serving); a free one is taken where the usual one is not free.

    \b
    Use servers that run already:
      TEMPER_KAFKA_BOOTSTRAP=host:port
      TEMPER_MONGO_URL=mongodb://…            (a replica set)
      TEMPER_S3_URL=http://host:port          with TEMPER_S3_ACCESS_KEY and TEMPER_S3_SECRET_KEY
      TEMPER_INFERENCE_URL=http://host:port
      TEMPER_MLFLOW_URL=http://host:port
    """
    settings = AskedSettings()
    read_settings()
    keep_private(settings.home.absolute())
    parts = [part.strip() for part in only.split(",") if part.strip()]
    if detach:
        up_detached(settings.home.absolute(), parts, free_ports)
        return
    run_stack(settings, parts, UpLog(settings.home.absolute() / "logs" / "up.log"), usual_ports=not free_ports)


def up_detached(home: Path, parts: list[str], free_ports: bool) -> None:
    """Start `temper up` in a session of its own, show what it says until it is ready or has given up."""
    check_disk(home)
    log = home / "logs" / "up.out"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "infra.cli.main", "up", *(["--free-ports"] if free_ports else [])]
    command += ["--only", ",".join(parts)] if parts else []
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ, start_new_session=True
        )
    with log.open() as said:
        while True:
            ended = process.poll() is not None
            click.echo(said.read(), nl=False)
            if ended:
                raise UserError(f"The stack did not start (exit status {process.returncode}): see above, or {log}")
            stack = read_stack(home)
            if stack is not None and stack.pid == process.pid and stack.state == "ready":
                click.echo(said.read(), nl=False)
                click.echo(f"left running, pid {process.pid}; `temper status` shows it, `temper down` stops it")
                return
            time.sleep(POLL)
