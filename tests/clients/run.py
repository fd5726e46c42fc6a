"""`make clients`: programs that people have, each in its own environment, against a stack; writes CLIENTS.md.

`python -m tests.clients.run CLIENT [CELL]` runs those alone whose names are found so, and then writes no table.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from openai import OpenAI

from infra.runtime.bootstrap import DEMO_FOLDER, register_base, register_embeddings
from infra.settings import default_cache
from tests.clients.rows import rows
from tests.e2e.support import BASE, User, in_world
from tests.environments import environment
from tests.functional.embedders import embedder
from tests.stack import Stack, running_stack
from tests.unit.prepare_job import tiny

HERE = Path(__file__).parent
TABLE = HERE / "CLIENTS.md"
OFFICIAL = HERE.parent / "e2e" / "clients"
LIMIT = 600.0
"""Seconds that a client may take for all its cells."""
EMBEDDER = "clients-embedder"
EPOCHS = 14
QUIET = {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "1",
    "RAGAS_DO_NOT_TRACK": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONWARNINGS": "ignore",
}
"""Clients tell nobody of a test, and download nothing."""


def go_program(source: Path) -> Path:
    """Return the program of a folder, built once into the cache."""
    program = default_cache() / "clients" / f"go-{digest(sorted(source.iterdir()))}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "build", "-o", program, "."], cwd=source, check=True)
    return program


def java_program(source: Path) -> list[str | Path]:
    """Return what runs the program of a folder, built once into the cache."""
    files = [source / "Main.java", source / "pom.xml"]
    folder = default_cache() / "clients" / f"java-{digest(files)}"
    if not (folder / "whole").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for each in files:
            shutil.copy(each, folder)
        subprocess.run(["mvn", "-q", "-B", "compile", "dependency:copy-dependencies"], cwd=folder, check=True)
        (folder / "whole").touch()
    return ["java", "-cp", f"{folder}/target/classes:{folder}/target/dependency/*", "Main"]


def digest(files: Iterable[Path]) -> str:
    """Return what tells files from any others."""
    return hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:12]


@dataclass(frozen=True)
class Client:
    """A program that people have."""

    name: str
    """With its version."""
    script: Path
    pins: Path
    """The packages of its environment."""

    def command(self) -> list[str | Path]:
        """What runs its script, in an environment that is made first."""
        if self.pins.suffix == ".txt":
            return [environment(self.pins, "clients"), self.script]
        if self.pins.suffix == ".mod":
            return [go_program(self.pins.parent)]
        if self.pins.suffix == ".xml":
            return java_program(self.pins.parent)
        folder = node_environment(self.pins.parent)
        for script in self.pins.parent.glob("*.mjs"):  # modules are looked for beside the script
            shutil.copy(script, folder)
        return ["node", folder / self.script.name]


def clients() -> list[Client]:
    """All that can run here: those of node, Go and Java only where these are installed."""
    official = [*OFFICIAL.glob("openai-*.txt"), *HERE.glob("openai-*.*.*.txt")]
    found = [
        Client(each.stem.replace("-", " "), HERE / "use_openai.py", each)
        for each in sorted(official, key=lambda each: each.stem)
    ]
    for pins in sorted(each for each in HERE.glob("*.txt") if each not in official):
        version = re.search(rf"^{pins.stem}(?:-[a-z-]+)?==(\S+)", pins.read_text(), re.M)
        script = HERE / f"use_{pins.stem.replace('-', '_')}.py"
        found.append(Client(f"{pins.stem} {version.group(1)}" if version else pins.stem, script, pins))
    if shutil.which("npm"):
        pins = HERE / "node" / "package.json"
        versions = json.loads(pins.read_text())["dependencies"]
        for script, package in {"openai_node": "openai", "ai_sdk": "ai", "agents_js": "@openai/agents"}.items():
            name = f"{package} {versions[package]} (node)"
            found.append(Client(name, pins.parent / f"use_{script}.mjs", pins))
    if shutil.which("go"):
        pins = HERE / "go" / "go.mod"
        version = re.search(r"openai-go/v3 v(\S+)", pins.read_text())
        assert version
        found.append(Client(f"openai-go {version.group(1)}", pins.parent / "main.go", pins))
    if shutil.which("mvn") and shutil.which("java"):
        pins = HERE / "java" / "pom.xml"
        version = re.search(r"<artifactId>openai-java</artifactId>\s*<version>(\S+)</version>", pins.read_text())
        assert version
        found.append(Client(f"openai-java {version.group(1)}", pins.parent / "Main.java", pins))
    return found


def node_environment(source: Path) -> Path:
    """Return a folder with exactly the packages that a folder's lock names, which lies in the cache."""
    locked = [source / "package.json", source / "package-lock.json"]
    folder = default_cache() / "clients" / f"node-{digest(locked)}"
    if not (folder / "whole").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for each in locked:
            shutil.copy(each, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, check=True)
        (folder / "whole").touch()
    return folder


def prepare(stack: Stack) -> str:
    """Give the stack a model of embeddings and one that calls and writes JSON; returns its name."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        shutil.copytree(DEMO_FOLDER, base)
        (base / "chat_template.jinja").write_text(tiny.TOOLS)
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
        in_world(stack, partial(register_base, name="knows-tools", source=base))
        vectors = embedder(Path(folder) / "embedder")
        in_world(stack, partial(register_embeddings, name=EMBEDDER, source=vectors))
    client = OpenAI(base_url=stack.base_url, api_key=stack.api_key)
    user = User(stack, client, client)
    file = user.upload("\n".join(map(json.dumps, rows())).encode())
    job = user.job(file, n_epochs=EPOCHS, model="knows-tools", suffix="clients")
    return str(user.wait(job, "succeeded", within=900).fine_tuned_model)


def cells(client: Client, stack: Stack, model: str, wanted: str) -> Iterator[dict[str, Any]]:
    """Yield what a client says of each use: `what` and `why` not."""
    with tempfile.TemporaryDirectory() as home:
        env = {
            **QUIET,
            "PATH": os.environ["PATH"],
            "HOME": home,
            "OPENAI_BASE_URL": stack.base_url,
            "OPENAI_API_KEY": stack.api_key,
            "CLIENTS_MODEL": model,
            "CLIENTS_EMBEDDER": EMBEDDER,
            "CLIENTS_BASE": BASE,
        }
        command = [*client.command(), wanted]
        log = Path(home) / "stderr"
        with log.open("w") as errors:
            run = subprocess.Popen(command, env=env, cwd=home, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                said, _ = run.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                run.kill()
                said = f"{run.communicate()[0]}\n" + json.dumps({"what": "all cells", "why": f"not within {LIMIT} s"})
        told = [json.loads(line) for line in said.splitlines() if line.startswith('{"what"')]
        print(log.read_text(), file=sys.stderr)
        if run.returncode:
            told.append({"what": "the script", "why": log.read_text().strip().rpartition("\n")[2]})
        yield from told


def shown(text: str) -> str:
    """Return a reason as a cell of a table holds it, without where things lie on this machine."""
    bare = re.sub(r"/\S*/(?=[^/\s]+)", "", text)
    return re.sub(r"\s+", " ", bare).replace("|", "\\|")[:240]


def table(found: Mapping[Client, list[dict[str, Any]]]) -> str:
    """Return the whole page."""
    every = [each for told in found.values() for each in told]
    works = sum(each["why"] is None for each in every)
    lines = [
        "# Clients",
        "",
        "Made by `make clients`: each client runs in an environment of its own, against a whole stack, on a model of a",
        "million parameters that was tuned on [rows.py](rows.py) and on the demo base. A cell works when its user gets",
        f"what they asked for: the parsed object, the tool called. {works} of {len(every)} do.",
        "",
        "| Client | Use | Works |",
        "| --- | --- | --- |",
    ]
    for client, told in found.items():
        for each in told:
            works = "yes" if each["why"] is None else shown(each["why"])
            lines.append(f"| {client.name} | {shown(each['what']).rstrip('.')} | {works} |")
    if missing := [each.name for each in clients() if each not in found]:
        lines += ["", f"Not run when this page was made: {', '.join(missing)}."]
    return "\n".join([*lines, ""])


def main(wanted: str = "", cell: str = "") -> None:
    """Run the clients and, where that were all, write the table."""
    chosen = [each for each in clients() if re.search(wanted, each.name)]
    found: dict[Client, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as home, running_stack(Path(home), env={"TEMPER_BENCHMARKS": "none"}) as stack:
        model = prepare(stack)
        for client in chosen:
            found[client] = []
            for each in cells(client, stack, model, cell):
                print(client.name, "|", each["what"], "|", each["why"] or "works", flush=True)
                found[client].append(each)
    if not wanted:
        TABLE.write_text(table(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
