"""Which program a server is started from: one on PATH when it is new enough, else the one in the cache."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from infra.local.errors import UserError
from infra.local.obtain import Say, obtain
from infra.local.versions import mongo_needs, mongo_ok

JDK_MIN = 17
KAFKA_MIN = (4, 1)


def version_in(text: str) -> tuple[int, ...]:
    """The first dotted version in a text, `()` when there is none."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def dotted(version: tuple[int, ...]) -> str:
    """A version as people write it."""
    return ".".join(map(str, version)) or "of an unknown version"


def output(program: str | Path, *arguments: str) -> str:
    """What a program prints, both streams; empty when it does not run."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def java_major(text: str) -> int | None:
    """The feature version in what `java -version` prints (17 for 17.0.15, 8 for 1.8.0); None when there is none."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else None


def find_java() -> tuple[str, str]:
    """The `java` to use and what it says its version is; JAVA_HOME goes before PATH.

    Raises `UserError` when there is none, or it is too old for Kafka.
    """
    home = os.environ.get("JAVA_HOME")
    at_home = Path(home) / "bin" / "java" if home else None
    java = str(at_home) if at_home and at_home.is_file() else shutil.which("java")
    if java is None:
        raise UserError(
            "Kafka needs Java, and no `java` is on PATH. "
            f"Install a JDK {JDK_MIN} or newer, or set TEMPER_KAFKA_BOOTSTRAP."
        )
    text = output(java, "-version")
    major = java_major(text)
    if major is None or major < JDK_MIN:
        raise UserError(
            f"Kafka needs Java {JDK_MIN} or newer, and {java} is {major or 'of an unknown version'}. "
            f"Install a JDK {JDK_MIN} or newer and point JAVA_HOME at it, or set TEMPER_KAFKA_BOOTSTRAP."
        )
    return java, text


def kafka_version(libs: Path) -> tuple[int, ...]:
    """The broker's version among its jars, `()` when it is not there."""
    jars = sorted(libs.glob("kafka_2.*-*.jar"))
    return version_in(jars[0].stem.partition("-")[2]) if jars else ()


def find_kafka(cache: Path, say: Say) -> Path:
    """The folder of the broker's jars: KAFKA_HOME's, that of `kafka-server-start.sh` on PATH, else the cache's."""
    start = shutil.which("kafka-server-start.sh")
    home = os.environ.get("KAFKA_HOME") or (str(Path(start).resolve().parent.parent) if start else None)
    if home:
        libs = Path(home) / "libs"
        version = kafka_version(libs)
        if version >= KAFKA_MIN:
            return libs
        say(f"kafka in {home} is {dotted(version)}, older than {dotted(KAFKA_MIN)}: not used")
    return obtain("kafka", cache, say) / "libs"


def find_mongod(cache: Path, say: Say) -> Path:
    """`mongod` on PATH when its release may be used, else the cache's."""
    program = shutil.which("mongod")
    if program:
        version = version_in(output(program, "--version"))
        if mongo_ok(version):
            return Path(program)
        say(f"{program} is {dotted(version)}, and {mongo_needs()} is needed: not used")
    return obtain("mongo", cache, say) / "mongod"


def find_minio(cache: Path, say: Say) -> Path:
    """`minio` on PATH when it runs, else the cache's."""
    program = shutil.which("minio")
    if program:
        if "minio" in output(program, "--version").lower():
            return Path(program)
        say(f"{program} does not run: not used")
    return obtain("minio", cache, say) / "minio"
