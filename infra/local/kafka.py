"""Apache Kafka as a child process: one node, broker and controller in one JVM (KRaft)."""

import asyncio
import base64
import hashlib
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path

from infra.children.launch import launching
from infra.local.child import Program, tail
from infra.local.errors import UserError
from infra.local.files import locked
from infra.local.health import kafka_ok
from infra.local.obtain import Say
from infra.local.ports import LOOPBACK, LocalPorts

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    # the log is the truth: nothing expires, nothing appears by a typing mistake
    "auto.create.topics.enable": "false",
    "log.retention.ms": "-1",
    "log.message.timestamp.type": "LogAppendTime",
    "offsets.retention.minutes": "5256000",
    # one node
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "min.insync.replicas": "1",
    # small and quick on a laptop
    "num.partitions": "3",
    "offsets.topic.num.partitions": "6",
    "transaction.state.log.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "group.initial.rebalance.delay.ms": "0",
    "group.coordinator.append.linger.ms": "0",
    "broker.session.timeout.ms": "3000",  # a start after kill -9 waits for the old session: 4.6 s instead of 14
    "broker.heartbeat.interval.ms": "500",
    "metadata.max.idle.interval.ms": "10000",  # a record that says nothing, written through twice a second else
}
LOGGING = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""
ARCHIVE_WITHIN = 90.0


def server_properties(port: int, controller_port: int, data: Path, *, flush: bool) -> str:
    """The broker's settings file; `flush` writes every message through to the disk before it is acknowledged."""
    settings = {
        **SETTINGS,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "log.dirs": str(data),
        **({"log.flush.interval.messages": "1"} if flush else {}),
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def java_command(java: str, libs: Path, logging: Path, *options: str) -> list[str]:
    """`java` with the broker's jars; the class path is spelled out, as an archive is valid for that very path only."""
    jars = ":".join(str(jar) for jar in sorted(libs.glob("*.jar")))
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms128m", "-Xmx512m", "-Xshare:auto"]
    return [java, *quick, *options, f"-Dlog4j2.configurationFile={logging}", "-cp", jars]


async def kafka_program(
    home: Path, java: str, libs: Path, archive: Path | None, ports: LocalPorts, env: dict[str, str], *, flush: bool
) -> Program:
    """Kafka on a home's data, formatted at the first time."""
    port, controller_port = ports.choose("kafka", 19092), ports.choose("kafka_controller", 19093)
    folder = home / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    properties, logging = folder / "server.properties", folder / "log4j2.properties"
    properties.write_text(server_properties(port, controller_port, folder / "data", flush=flush))
    logging.write_text(LOGGING)
    options = (f"-XX:SharedArchiveFile={archive}",) if archive else ()
    command = java_command(java, libs, logging, *options)
    if not (folder / "data" / "meta.properties").exists():
        await format_storage(command, properties, env)
    bootstrap = f"{LOOPBACK}:{port}"
    return Program(
        name="kafka",
        argv=[*command, "kafka.Kafka", str(properties)],
        env=env,
        address=bootstrap,
        port=port,
        healthy=partial(kafka_ok, bootstrap),
        stop_within=15.0,
    )


async def format_storage(command: list[str], properties: Path, env: dict[str, str]) -> None:
    """Give an empty data folder its cluster id; a folder that has one is left as it is."""
    process = await asyncio.create_subprocess_exec(
        *format_command(command, properties), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise UserError(
            f"Kafka could not format its data folder {properties.parent / 'data'}, and said: "
            f"{said.decode(errors='replace')[-500:].strip()}. Move that folder away to start with an empty log."
        )


def format_command(command: list[str], properties: Path) -> list[str]:
    """The command that formats a data folder."""
    id = cluster_id()
    return [*command, "kafka.tools.StorageTool", "format", "-t", id, "-c", str(properties), "--ignore-formatted"]


def cluster_id() -> str:
    """A random id as Kafka makes them: never with a dash in front, which its own tools would take for an option."""
    while (id := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return id


def class_archive(java: str, java_version: str, libs: Path, cache: Path, say: Say) -> Path | None:
    """The file of preloaded classes (AppCDS) for this Java and these jars, made once; halves the broker's start.

    None when Java could not make one: the broker then starts without it.
    """
    of = hashlib.sha256(f"{java}\n{java_version}\n{sorted(libs.glob('*.jar'))}".encode()).hexdigest()[:12]
    target = cache / "archives" / f"kafka-{of}.jsa"
    if target.exists():
        return target
    with locked(target.with_suffix(".lock"), wait=True):
        if target.exists():
            return target
        say("kafka: loading its classes into an archive for quick starts (once, usually 10 s)")
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as folder:
            made = Path(folder) / target.name
            record_classes(java, libs, Path(folder), made)
            if not made.exists():
                say(f"kafka: Java made no archive; it starts without one\n{tail(Path(folder) / 'log')}")
                return None
            made.replace(target)
    return target


def record_classes(java: str, libs: Path, folder: Path, made: Path) -> None:
    """Run a broker on an empty folder until it listens, then end it, so that Java writes down what it loaded."""
    ports = LocalPorts({}, usual=False)
    port = ports.choose("kafka", 0)
    properties, logging = folder / "server.properties", folder / "log4j2.properties"
    properties.write_text(server_properties(port, ports.choose("kafka_controller", 0), folder / "data", flush=False))
    logging.write_text(LOGGING)
    plain = java_command(java, libs, logging)
    subprocess.run(format_command(plain, properties), capture_output=True, check=False)
    command = [*java_command(java, libs, logging, f"-XX:ArchiveClassesAtExit={made}"), "kafka.Kafka", str(properties)]
    launch = [*launching(), *command]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(launch, stdout=log, stderr=log, start_new_session=True) as broker,
    ):
        until = time.monotonic() + ARCHIVE_WITHIN
        while broker.poll() is None and not listens(port) and time.monotonic() < until:
            time.sleep(0.2)
        broker.send_signal(signal.SIGTERM)
        try:
            broker.wait(ARCHIVE_WITHIN)
        except subprocess.TimeoutExpired:
            broker.kill()


def listens(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
