"""Looks whether this machine has what Temper needs; each finding says what to do."""

import ctypes.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr
from pymongo.errors import PyMongoError

from infra.local.errors import UserError
from infra.local.find import JDK_MIN, dotted, find_java, java_major, kafka_version, output, version_in
from infra.local.obtain import KAFKA, RECIPES
from infra.local.ports import is_free
from infra.local.record import read_stack
from infra.local.versions import (
    KAFKA_MIN,
    MINIO_MIN,
    kafka_ok,
    minio_release,
    mongo_needs,
    mongo_ok,
    mongo_version,
)
from infra.settings import Settings

PYTHON_MIN = (3, 11)
GO_MIN = (1, 24)
DISK_GB = 5
"""A model, its checkpoints, and the event log of many small jobs."""
MEMORY_GB = 4
"""Kafka 0.4, mongod 0.3, MinIO 0.2, four Python processes 0.3 to 1 each."""
USUAL_PORTS = {"kafka": 19092, "mongo": 27117, "minio": 19000, "edge": 8000, "serving": 8001}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    name: str
    ok: bool
    found: str
    do: str = ""
    """What to do; empty when all is well or nothing needs to be done."""


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Every finding, one after the other."""
    yield system(platform.system(), platform.machine())
    yield python(sys.version_info[:3])
    servers = settings.cache / "servers"
    obtained = {name: (servers / recipe.name).is_dir() for name, recipe in RECIPES.items()}
    if settings.kafka_bootstrap:
        yield foreign_kafka(settings.kafka_bootstrap)
    else:
        yield java()
        yield server("kafka", obtained["kafka"] or own_kafka(), f"Kafka {KAFKA}")
        yield tool("maven", "mvn", output("mvn", "-version"), (3, 6), needed=not (obtained["kafka"] or own_kafka()))
    if settings.mongo_url:
        yield foreign_mongo(settings.mongo_url)
    else:
        own = mongo_ok(version_in(output("mongod", "--version")))
        yield server("mongo", obtained["mongo"] or own, "mongod")
        yield libraries({name: ctypes.util.find_library(name) for name in ("lzma", "curl")}, needed=not own)
    if settings.s3_url:
        yield foreign_minio(settings.s3_url, settings.s3_access_key, settings.s3_secret_key)
    else:
        there = obtained["minio"] or shutil.which("minio") is not None
        yield server("minio", there, "MinIO")
        yield tool("go", "go", output("go", "version"), GO_MIN, needed=not there)
    home = settings.home.absolute()
    yield disk("disk of the home", home, free_gb(home), DISK_GB)
    if not all(obtained.values()):
        need = sum(RECIPES[name].needs_mb for name, there in obtained.items() if not there) / 1024
        yield disk("disk of the cache", settings.cache, free_gb(settings.cache), need)
    yield memory(psutil.virtual_memory().available / 2**30)
    stack = read_stack(home)
    if stack is not None and stack.alive():
        yield Finding("stack", True, f"runs, pid {stack.pid}: `temper status` shows it")
    else:
        yield ports({name: port for name, port in USUAL_PORTS.items() if not is_free(port)})


def system(name: str, machine: str) -> Finding:
    """Linux on x86-64 is what everything is tested on; elsewhere servers must be given."""
    ok = name == "Linux" and machine in ("x86_64", "AMD64")
    do = "" if ok else "mongod is obtained for Linux x86-64 alone: put mongod on PATH, or set TEMPER_MONGO_URL."
    return Finding("system", ok, f"{name} {machine}", do)


def python(version: tuple[int, ...]) -> Finding:
    """Python must be new enough."""
    ok = version >= PYTHON_MIN
    return Finding("python", ok, dotted(version), "" if ok else f"Install Python {dotted(PYTHON_MIN)} or newer.")


def java() -> Finding:
    """A Java that runs Kafka."""
    try:
        program, text = find_java()
    except UserError as error:
        return Finding("java", False, "missing or too old", str(error))
    return Finding("java", True, f"{java_major(text)} ({program}), {JDK_MIN} or newer is needed")


def own_kafka() -> bool:
    """Whether KAFKA_HOME or PATH has a broker."""
    home = os.environ.get("KAFKA_HOME")
    return bool(home and kafka_version(Path(home) / "libs")) or shutil.which("kafka-server-start.sh") is not None


def foreign_kafka(bootstrap: str) -> Finding:
    """The Kafka that the setting names must be new enough."""
    try:
        ok = kafka_ok(bootstrap)
    except (OSError, ValueError) as error:
        return silent("kafka", "TEMPER_KAFKA_BOOTSTRAP", error)
    do = "" if ok else f"Update it to Kafka {KAFKA_MIN} or newer."
    return Finding("kafka", ok, f"elsewhere, {KAFKA_MIN} or newer" if ok else f"older than {KAFKA_MIN}", do)


def foreign_mongo(url: str) -> Finding:
    """The MongoDB that the setting names must be a release without known holes."""
    try:
        version = mongo_version(url)
    except PyMongoError as error:
        return silent("mongo", "TEMPER_MONGO_URL", error)
    ok = mongo_ok(version_in(version))
    do = "" if ok else f"Update it to {mongo_needs()}: by CVE-2025-14847 whoever reaches it reads its memory."
    return Finding("mongo", ok, f"elsewhere, {version}", do)


def foreign_minio(url: str, access_key: SecretStr | None, secret_key: SecretStr | None) -> Finding:
    """The S3 server that the setting names must be new enough, if it is MinIO."""
    keys = (key.get_secret_value() if key else "" for key in (access_key, secret_key))
    try:
        released = minio_release(url, *keys)
    except (OSError, ValueError) as error:
        return silent("minio", "TEMPER_S3_URL", error)
    if released is None:
        return Finding("minio", True, f"elsewhere; these keys are not told its version (MinIO: {MINIO_MIN} or newer)")
    ok = released >= MINIO_MIN
    do = "" if ok else f"Update it to a MinIO of {MINIO_MIN} or newer, and let only Temper reach it."
    return Finding("minio", ok, f"elsewhere, MinIO of {released}", do)


def silent(name: str, setting: str, error: Exception) -> Finding:
    """A server that a setting names and that does not answer."""
    found = f"elsewhere, and does not answer: {str(error)[:120]}"
    return Finding(name, False, found, f"Start it, or unset {setting} to get a local one.")


def server(name: str, there: bool, what: str) -> Finding:
    """A server is there, or `temper up` will obtain it."""
    return Finding(name, True, f"{what} is ready" if there else f"{what} will be obtained at the first `temper up`")


def tool(name: str, program: str, said: str, minimum: tuple[int, ...], *, needed: bool) -> Finding:
    """A program that obtains a server; not needed once the server is there."""
    version = version_in(said)
    if not version:
        return Finding(
            name,
            not needed,
            "missing" if needed else "missing, and not needed any more",
            install(program, minimum, needed),
        )
    if version < minimum and needed:
        return Finding(
            name, False, f"{dotted(version)}, older than {dotted(minimum)}", install(program, minimum, needed)
        )
    return Finding(name, True, dotted(version))


def install(program: str, minimum: tuple[int, ...], needed: bool) -> str:
    """What to do about a missing program."""
    return f"Install `{program}` {dotted(minimum)} or newer." if needed else ""


def libraries(found: dict[str, str | None], *, needed: bool) -> Finding:
    """The system libraries that the obtained mongod is linked with."""
    ok = (found.get("lzma") or "").endswith(".5") and (found.get("curl") or "").endswith(".4")
    shown = ", ".join(f"{name}: {file or 'missing'}" for name, file in found.items())
    do = "" if ok or not needed else "mongod needs libcurl4 and liblzma5: install both."
    return Finding("libraries", ok or not needed, shown, do)


def disk(name: str, folder: Path, free: float, need: float) -> Finding:
    """Enough room, in GB."""
    ok = free >= need
    do = "" if ok else f"Free {need - free:.1f} GB there, or point TEMPER_HOME and TEMPER_CACHE at a larger disk."
    return Finding(name, ok, f"{free:.0f} GB free in {folder}, {need:.0f} GB are advised", do)


def free_gb(folder: Path) -> float:
    """Free space where a folder is or will be, in GB."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 2**30


def memory(available: float) -> Finding:
    """Enough memory for all processes, in GB."""
    ok = available >= MEMORY_GB
    do = "" if ok else "Close other programs, or let some servers run elsewhere (TEMPER_KAFKA_BOOTSTRAP …)."
    return Finding("memory", ok, f"{available:.1f} GB available, {MEMORY_GB} GB are advised", do)


def ports(taken: dict[str, int]) -> Finding:
    """The usual ports; a taken one is no obstacle."""
    if not taken:
        return Finding("ports", True, "the usual ones are free")
    shown = ", ".join(f"{port} ({name})" for name, port in taken.items())
    return Finding("ports", True, f"taken: {shown}; `temper up` takes free ones instead")
