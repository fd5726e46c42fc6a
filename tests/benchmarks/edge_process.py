"""The edge of a benchmark: the real process on real stores, with a key and without the rest of the stack."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import urlopen

from contracts.documents import READ_MODELS
from contracts.envelope import Event, derived_id, make
from contracts.events.keys import KeyCreated
from functions.edge.auth import encode_key, key_hash
from infra.adapters.mongo.controls import ensure_indexes
from infra.adapters.mongo.documents import Builds, MongoDocuments, connect
from infra.settings import Settings

KEY = encode_key(b"a benchmark's own key")
UNUSED = "127.0.0.1:9"
"""An address that is asked for and never contacted."""


@dataclass(frozen=True)
class Served:
    """A process that serves HTTP."""

    port: int
    pid: int


async def prepare(mongo_url: str, *events: Event) -> None:
    """Make the read models whole, with a key and whatever `events` say."""
    db = connect(mongo_url)
    builds = Builds(db)
    if await builds.begin("benchmark"):
        await builds.prepare("benchmark")
        await builds.complete("benchmark", {})
    await ensure_indexes(db)
    key = KeyCreated(sha256=key_hash(KEY), hint=KEY[-4:])
    born = make(key, subject="key-benchmark", tenant="local", id=derived_id("benchmark"))
    documents = MongoDocuments(db)
    for event in (born, *events):
        await documents.apply(event, *READ_MODELS)
    await db.client.close()


def settings_env(settings: Settings, **others: str) -> dict[str, str]:
    """Return the environment of a process on these stores."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TEMPER_")}
    secret, access = settings.s3_secret_key, settings.s3_access_key
    given = {
        "mongo_url": settings.mongo_url,
        "kafka_bootstrap": settings.kafka_bootstrap or UNUSED,
        "s3_url": settings.s3_url or f"http://{UNUSED}",
        "s3_access_key": access.get_secret_value() if access else "none",
        "s3_secret_key": secret.get_secret_value() if secret else "none",
        "signing_key": "a benchmark's own",
        "inference_url": f"http://{UNUSED}",
        **others,
    }
    return env | {f"TEMPER_{name.upper()}": value for name, value in given.items() if value}


@contextmanager
def serving(command: list[str], env: dict[str, str], path: str) -> Iterator[Served]:
    """Run a server on a free port, named by TEMPER_EDGE_PORT, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, *command], env={**env, "TEMPER_EDGE_PORT": str(port)})
    try:
        until = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{port}{path}"):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.05)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, TimeoutError):
        return False
