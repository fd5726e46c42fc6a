"""P6: no secret of a whole run stands in an event, log, document, blob or answer, nor where nobody needs it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from minio import Minio
from minio.error import S3Error
from openai import OpenAI

from contracts.canonical import sha256
from functions.edge.app import ROUTES
from functions.edge.auth import RANDOM_BYTES, encode_key
from tests.e2e import support
from tests.e2e.scan import Processes, places, spellings
from tests.e2e.support import UNMEASURED, User
from tests.quoting import REFUSED, Quoting
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

ALLOWED = {"api_key": {"first key"}, "secrets.json": {"S3 secret", "signing key"}}
"""File of the home → the secrets that it is there for; nobody but its owner reads it."""
NEEDED = {
    "infra.roles.app edge": {"S3 secret", "signing key"},
    "infra.roles.app worker": {"S3 secret", "signing key", "judge's key"},
    "infra.roles.app trainer": {"S3 secret", "signing key"},
    "infra.roles.app serving": {"S3 secret"},
    "minio server": {"S3 secret"},
    "wandb-core": {"W&B key of the job", "W&B key of a refused run", "W&B key of the tenant"},
}
"""Process → the secrets that it is started with."""

NO_SECRET = "6e6f20736563726574"
"""The name of an uploaded file, which the same look finds wherever it looks."""


@dataclass
class Run:
    """What was used and what was answered."""

    stack: Stack
    secrets: dict[str, str]
    answers: list[tuple[str, str]] = field(default_factory=list)
    """(what was asked, head and body of the answer) of every answer."""

    def heard(self, response: httpx.Response) -> None:
        """Keep an answer of the API."""
        response.read()
        head = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
        self.answers.append((f"{response.request.method} {response.request.url.path}", f"{head}\n{response.text}"))

    def temper(self, *arguments: str, say: str = "", own: bool = False, **env: str) -> str:
        """Run a command as an operator does; what it prints is an answer, unless it is there to show a secret."""
        command = [sys.executable, "-P", "-m", "infra.cli.main", *arguments]
        told = {**os.environ, **env, "TEMPER_HOME": str(self.stack.home)}
        made = subprocess.run(command, env=told, input=say, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        if not own:
            self.answers.append((" ".join(arguments), made.stdout + made.stderr))
        return made.stdout

    def raw(self, request: bytes) -> None:
        """Send bytes to the edge; what it answers is an answer."""
        edge = urlsplit(self.stack.base_url)
        with socket.create_connection((str(edge.hostname), int(edge.port or 0)), timeout=30) as connection:
            connection.sendall(request)
            self.answers.append(("raw", connection.makefile("rb").read().decode(errors="replace")))


@contextmanager
def heard_by(run: Run, key: str) -> Iterator[User]:
    """Somebody with this key, all of whose answers are kept."""
    hooks: Any = {"response": [run.heard]}
    http: Any
    with (
        httpx.Client(event_hooks=hooks, timeout=60, trust_env=False) as http,
        OpenAI(base_url=run.stack.base_url, api_key=key, max_retries=6, http_client=http) as client,
    ):
        yield User(run.stack, client, client)


@pytest.fixture(scope="module")
def run(tracked: User, quoting: Quoting) -> Run:
    """A stack's own secrets, and those of its users."""
    settings = tracked.stack.settings
    assert settings.s3_secret_key
    assert settings.signing_key
    made = Run(tracked.stack, {})
    own = json.loads(made.temper("keys", "create", "--json", own=True))
    refused = json.loads(made.temper("keys", "create", "--tenant", REFUSED, "--json", own=True))
    ingest = json.loads(made.temper("keys", "create", "--ingest", "--json", own=True))
    made.secrets = {
        "first key": tracked.stack.api_key,
        "key": own["secret"],
        "key of another tenant": refused["secret"],
        "unknown key": encode_key(secrets.token_bytes(RANDOM_BYTES)),
        "ingest secret": ingest["secret"],
        "ingest S3 secret": ingest["s3"]["secret_key"],
        "S3 secret": settings.s3_secret_key.get_secret_value(),
        "signing key": settings.signing_key.get_secret_value(),
        "judge's key": quoting.judge_key,
        "generator's key": quoting.generator_key,
        "W&B key of the job": secrets.token_hex(20),
        "W&B key of a refused run": secrets.token_hex(20),
        "W&B key of the tenant": secrets.token_hex(20),
        "W&B key in a bad request": secrets.token_hex(20),
    }
    publish(made, ingest)
    return made


def publish(run: Run, ingest: dict[str, Any]) -> None:
    """Store bytes and say so with an ingest key, as another system does, and try more than it may."""
    access, url = ingest["s3"], urlsplit(str(run.stack.settings.s3_url))
    store = Minio(url.netloc, access["access_key"], access["secret_key"], secure=False)
    bucket = run.stack.settings.s3_bucket
    put = store.put_object(bucket, f"{access['prefix']}rows", io.BytesIO(rows := support.rows(12)), len(rows))
    with pytest.raises(S3Error) as refused:
        store.get_object(bucket, f"{access['prefix']}rows")
    run.answers.append(("S3", str(refused.value)))
    blob = {"key": put.object_name, "sha256": sha256(rows), "bytes": len(rows)}
    data = json.dumps({"blob": blob, "filename": "outside.jsonl", "purpose": "fine-tune"})
    run.temper("emit", "file.uploaded", "--data", data, "--key", ingest["id"], TEMPER_INGEST_SECRET=ingest["secret"])


def ask_wrongly(run: Run, user: User) -> None:
    """Requests that are refused although, or because, a key is in them."""
    bad, base = run.secrets["W&B key in a bad request"], run.stack.base_url
    file = user.upload(support.rows(12))
    job = {"model": support.BASE, "training_file": file}
    wandb: list[Any] = [
        {"project": "pumps", "api_key": bad, "projct": "x"},
        {"project": "pumps", "api_key": [bad]},
        {"project": "pumps", "api_key": {bad: bad}},
        {"project": "pumps", "api_key": bad * 20},
        {"project": "pumps", "api_key": f"{bad}\0"},
        {"project": 7, "api_key": bad},
        {"api_key": bad},
    ]
    hooks: Any = {"response": [run.heard]}
    with httpx.Client(event_hooks=hooks, timeout=60, trust_env=False) as http:
        known = {"authorization": f"Bearer {run.secrets['key']}"}
        for each in wandb:
            body = {**job, "integrations": [{"type": "wandb", "wandb": each}]}
            answer = http.post(f"{base}/fine_tuning/jobs", json=body, headers=known)
            assert answer.status_code == 400, answer.text
        whole = json.dumps({**job, "integrations": [{"type": "wandb", "wandb": wandb[0]}]})
        for broken in (whole[:-3], f"{whole}{whole}", whole.replace('"projct"', '"api_key"')):
            assert http.post(f"{base}/fine_tuning/jobs", content=broken, headers=known).status_code == 400
        for name in ("unknown key", "ingest secret", "S3 secret", "signing key"):
            wrong = {"authorization": f"Bearer {run.secrets[name]}"}
            assert http.get(f"{base}/models", headers=wrong).status_code == 401
        assert http.get(f"{base}/models", params={"api_key": run.secrets["unknown key"]}).status_code == 401
        assert http.get(f"{base}/files/{run.secrets['key'][:-1]}", headers=known).status_code == 404
    key = run.secrets["key"].encode()
    run.raw(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + key + b"\r\nno header\r\n\r\n")
    run.raw(b"GET /v1/models HTTP/1.1\r\nauthorization: Bearer " + key + b"\nconnection close\r\n\r\n")


def look_everywhere(run: Run, user: User, job: str, benchmark: str, model: str) -> None:
    """GET every route of the API with the ids that there are."""
    file = user.retrieve(job).training_file
    ids = {"files": file, "fine_tuning": job, "finetune-jobs": job, "benchmarks": benchmark}
    routes: Any = ROUTES
    paths = {route.path for route in routes if "GET" in (route.methods or ())}
    assert len(paths) > 20
    with httpx.Client(event_hooks={"response": [run.heard]}, timeout=60, trust_env=False) as http:
        for path in sorted(paths):
            kind = next((ids[part] for part in path.split("/") if part in ids), "")
            asked = path.replace("{id}", kind).replace("{model:path}", model)
            edge = run.stack.base_url.removesuffix("/v1")
            http.get(f"{edge}{asked}", headers={"authorization": f"Bearer {run.secrets['key']}"})


def train(run: Run, user: User) -> tuple[str, str, str]:
    """A job with a key for Weights & Biases, one whose run is refused, one with the tenant's key; returns ids."""

    def wandb(project: str, **key: str) -> Any:
        return [{"type": "wandb", "wandb": {"project": project, **key}}]

    file = user.upload(support.rows(12), f"{NO_SECRET}.jsonl")
    run.temper("secrets", "set", "wandb", say=f"{run.secrets['W&B key of the tenant']}\n")
    job = user.job(file, integrations=wandb("pumps", api_key=run.secrets["W&B key of the job"]))
    refused = wandb("pumps/wells", api_key=run.secrets["W&B key of a refused run"])
    others = [user.job(file, integrations=each, **UNMEASURED) for each in (refused, wandb("pumps"))]
    for other in others:
        # so short a job may be over before anybody looks
        if user.wait(other, "queued", "running", "succeeded").status != "succeeded":
            with contextlib.suppress(openai.BadRequestError):
                user.client.fine_tuning.jobs.cancel(other)
    model = str(user.wait(job, "succeeded").fine_tuned_model)

    def shown() -> str | None:
        benchmarks = user.get(f"/fine_tuning/jobs/{job}/benchmarks").json()["data"]
        tracked = user.get(f"/fine_tuning/jobs/{job}").json()["temper"]["tracked"]
        kinds = {(each["tracker"], each["kind"]) for each in tracked}
        return benchmarks[0]["id"] if len(kinds) == 3 else None

    benchmark = support.until(shown, "both runs in MLflow and the one in Weights & Biases")
    support.until(
        lambda: [each for each in support.log_of(run.stack, "dead.letter") if "wandb_refused" in repr(each.data)],
        "the dead letter of the refused run",
    )
    return job, benchmark, model


def refuse_to_write(run: Run) -> None:
    """A document of the tenant whose generator does not take its key, and quotes it."""
    with heard_by(run, run.secrets["key of another tenant"]) as user:
        content = b"# The pump\n\nThe Kolm pump weighs 412 kg. It opens gate 7. Its oil is changed in May.\n" * 4
        file = user.client.files.create(file=("pump.md", content), purpose="fine-tune").id
        support.until(lambda: user.client.files.retrieve(file).status == "error", "the refusal of the generator")


def test_secrets_stand_where_they_are_needed_and_nowhere_else(run: Run, quoting: Quoting) -> None:
    wanted = {name: spellings(secret) for name, secret in {**run.secrets, NO_SECRET: NO_SECRET}.items()}
    processes = Processes(run.stack, wanted)
    with processes.watched(), heard_by(run, run.secrets["key"]) as user:
        ask_wrongly(run, user)
        refuse_to_write(run)
        job, benchmark, model = train(run, user)
        look_everywhere(run, user, job, benchmark, model)
        for command in (("status",), ("keys", "list"), ("trace", job), ("replay", "print")):
            run.temper(*command)
        with pytest.raises(openai.NotFoundError):
            user.client.models.retrieve(run.secrets["first key"][:-1])
    assert quoting.said[REFUSED, 401]
    assert quoting.said["judge", 500]
    assert quoting.said["judge", 200]

    home = run.stack.home
    users = f"{home}/minio/.minio.sys/config/iam/"  # with no secret a server could check no signature
    found = {(name, at) for name, at in places(run.stack, wanted) if name != "ingest S3 secret" or users not in at}
    known = {(name, at) for name, at in found if name == NO_SECRET}
    for kind in ("kafka file.uploaded", "mongo files", f"{home}/kafka/", f"{home}/mlflow/"):
        assert any(at.startswith(kind) for _, at in known), f"{kind} was not looked at"
    allowed = {(name, str(home / file)) for file, names in ALLOWED.items() for name in names}
    assert found - known == allowed
    for file in ALLOWED:
        assert stat.S_IMODE((home / file).stat().st_mode) == 0o600

    for asked, answer in run.answers:
        assert not [name for name, secret in run.secrets.items() if secret in answer], asked
    assert len(run.answers) > 60

    assert processes.lines == set()
    for needed in NEEDED:
        assert any(needed in line for line in processes.seen), f"{needed} was never seen"
    assert {name for name, _ in processes.environments} >= {"S3 secret", "signing key", "judge's key"}
    strangers = {
        (name, line)
        for name, line in processes.environments
        if not any(needed in line and name in names for needed, names in NEEDED.items())
    }
    assert strangers == set()
