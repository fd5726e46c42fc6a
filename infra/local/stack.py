"""`temper up`: the servers that no address was given for, then Temper's own processes, until it is told to stop."""

import asyncio
import logging
import os
import secrets
import shutil
import signal
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from contracts.ports import UnavailableError
from infra.local.child import Program, kill_group
from infra.local.errors import UserError
from infra.local.files import locked, write_json
from infra.local.find import find_java, find_kafka, find_minio, find_mongod
from infra.local.health import kafka_ok, mongo_ok, port_open
from infra.local.kafka import class_archive, kafka_program
from infra.local.obtain import Say
from infra.local.ports import LocalPorts, http_address
from infra.local.record import RunningProcess, Stack, born, read_stack, write_stack
from infra.local.roles import (
    ADDRESSES,
    PARTS,
    ROLES,
    SERVERS,
    TRACKER,
    plain_env,
    processes,
    role_port,
    role_program,
)
from infra.local.stores import minio_program, mlflow_program, mongo_program
from infra.local.supervisor import Supervisor
from infra.settings import Settings, read_json

DISK_MIN_MB = 1024
LEFTOVERS_WITHIN = 5.0
BOOTSTRAP_WITHIN = 90.0
"""Servers that have only just started may be slow to answer on a machine that is busy."""
WHOLE_WITHIN = 60.0
"""A stack is ready when its read models are; a log that takes longer to read is said, and the start is over."""
ELSEWHERE_WITHIN = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Programs:
    """Where the servers' programs are; None for what runs elsewhere or was not asked for."""

    java: str | None = None
    kafka_libs: Path | None = None
    kafka_archive: Path | None = None
    mongod: Path | None = None
    minio: Path | None = None


def parts_to_start(asked: Settings, only: Iterable[str]) -> tuple[str, ...]:
    """What is started here: of the wanted parts (all, when none is named) those that no address was given for.

    Raises `UserError` for an unknown part, and for a role without the servers that it needs.
    """
    wanted = tuple(only) or tuple(part for part in PARTS if part != TRACKER or asked.tracking == "mlflow")
    for part in wanted:
        if part not in PARTS:
            raise UserError(f"There is no part called {part!r} to start. Known are {', '.join(PARTS)}.")
    start = tuple(part for part in PARTS if part in wanted and not given(asked, part))
    if any(part in ROLES for part in start):
        for server in SERVERS:
            if server not in start and not given(asked, server):
                setting = f"TEMPER_{ADDRESSES[server].upper()}"
                raise UserError(f"Temper's own processes need {server}. Add it to --only, or set {setting}.")
    return start


def given(asked: Settings, part: str) -> bool:
    """Whether a part runs elsewhere: its address was given."""
    return part in ADDRESSES and getattr(asked, ADDRESSES[part]) is not None


def find_programs(start: Iterable[str], cache: Path, say: Say) -> Programs:
    """Find or obtain the programs of the servers to be started; may take minutes at the first time."""
    java = libs = archive = mongod = minio = None
    if "kafka" in start:
        java, version = find_java()
        libs = find_kafka(cache, say)
        archive = class_archive(java, version, libs, cache, say)
    if "mongo" in start:
        mongod = find_mongod(cache, say)
    if "minio" in start:
        minio = find_minio(cache, say)
    return Programs(java, libs, archive, mongod, minio)


class UpLog:
    """Tells people what happens: on the terminal, and with the time in `up.log`."""

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log

    def __call__(self, text: str) -> None:
        """One line, or a few."""
        print(text, flush=True)
        with self.log.open("a") as file:
            file.write(f"{datetime.now().astimezone().isoformat(timespec='milliseconds')} {text}\n")


class LocalStack:
    """One home's stack, from start to end."""

    def __init__(
        self, asked: Settings, start: tuple[str, ...], programs: Programs, say: Say, *, usual_ports: bool
    ) -> None:
        """`asked`: what the environment asks for; `start`: the parts to start, from `parts_to_start`."""
        self.asked = asked
        self.home = asked.home.absolute()
        self.start = start
        self.programs = programs
        self.say = say
        previous = read_stack(self.home)
        self.previous = previous.processes.values() if previous else ()
        self.ports = LocalPorts(previous.ports if previous else {}, usual=usual_ports, bind=str(asked.bind))
        self.background: asyncio.Task[None] | None = None
        self.supervisor = Supervisor(self.home / "logs", say, self.record)
        self.stack = Stack(
            state="starting",
            pid=os.getpid(),
            born=born(os.getpid()),
            started_at=time.time(),
            settings={},
            ports={},
            processes={},
        )

    async def run(self) -> None:
        """Start everything, then watch over it until cancelled; whatever happens, all is stopped at the end."""
        try:
            await self.up()
            await asyncio.Event().wait()
        finally:
            self.note("stopping")
            if self.background:
                self.background.cancel()
            roles = tuple(name for name in self.supervisor.children if name not in SERVERS)
            await self.supervisor.stop(roles, SERVERS)
            self.note("down")
            self.say("everything is stopped; the data stays in " + str(self.home))

    async def up(self) -> None:
        """Servers, then what they must hold before anybody uses them, then Temper's own processes."""
        began = time.monotonic()
        await self.clear_leftovers()
        settings = self.with_secrets()
        servers = await self.server_programs(settings)
        await together(*(self.elsewhere(part) for part in SERVERS if given(self.asked, part)))
        await together(*(self.supervisor.start(program) for program in servers))
        roles = [each for part in self.start if part in ROLES for each in processes(ROLES[part], self.asked.workers)]
        if roles and not self.asked.bind.is_loopback:
            self.say(f"{'bind':<8} {self.asked.bind}: only the edge asks for keys; shut the other ports off (firewall)")
        ports = {role.called: role_port(role, self.asked, self.ports) for role in roles}
        addresses = {ADDRESSES[program.name]: program.address for program in servers}
        if "serving" in ports:
            addresses["inference_url"] = http_address(str(self.asked.bind), ports["serving"])
        tracker = mlflow_program(self.home, self.ports, plain_env()) if TRACKER in self.start else None
        if tracker:
            addresses[ADDRESSES[TRACKER]] = tracker.address
        chosen = {role.port_setting: ports[role.called] for role in roles if role.port_setting != "health_port"}
        settings = settings.model_copy(update={**addresses, **chosen})
        self.stack.settings = {**addresses, **chosen}
        if roles:
            await self.bootstrap(settings)
            await together(*(self.supervisor.start(role_program(role, settings, ports[role.called])) for role in roles))
        if tracker:
            self.background = asyncio.create_task(self.without_waiting(tracker))
        if any(role.name == "worker" for role in roles):
            await self.read_models(settings)
        self.note("ready")
        self.say(f"everything is up after {time.monotonic() - began:.1f} s; logs are in {self.home / 'logs'}")

    async def without_waiting(self, program: Program) -> None:
        """Start what nothing needs; what it says when it fails is said, and that is all."""
        try:
            await self.supervisor.start(program)
        except UserError as error:
            self.say(f"{program.name} is not there, and everything else goes on. {error}")

    async def clear_leftovers(self) -> None:
        """Wait for what a killed `temper up` left behind to end; end it if it does not."""
        leftovers = [process for process in self.previous if process.alive()]
        until = time.monotonic() + LEFTOVERS_WITHIN
        while any(process.alive() for process in leftovers) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        for process in leftovers:
            if process.alive() and process.pid is not None:
                kill_group(process.pid)

    def with_secrets(self) -> Settings:
        """The settings with the home's own secrets, made at the first time, where none were given."""
        file = self.home / "secrets.json"
        kept = read_json(file)
        made = {
            "s3_access_key": kept.get("s3_access_key") or f"temper{secrets.token_hex(7)}",
            "s3_secret_key": kept.get("s3_secret_key") or secrets.token_hex(20),
            "signing_key": kept.get("signing_key") or secrets.token_hex(32),
        }
        if made != kept:
            write_json(file, made)
        if given(self.asked, "minio") and not (self.asked.s3_access_key and self.asked.s3_secret_key):
            raise UserError(
                "TEMPER_S3_URL is set without its keys. Set TEMPER_S3_ACCESS_KEY and TEMPER_S3_SECRET_KEY too."
            )
        update = {name: SecretStr(value) for name, value in made.items() if getattr(self.asked, name) is None}
        return self.asked.model_copy(update={**update, "home": self.home})

    async def server_programs(self, settings: Settings) -> list[Program]:
        """How the servers to be started here are run."""
        env, found, programs = plain_env(), self.programs, []
        if found.java and found.kafka_libs:
            programs.append(
                await kafka_program(
                    self.home,
                    found.java,
                    found.kafka_libs,
                    found.kafka_archive,
                    self.ports,
                    env,
                    flush=settings.kafka_flush,
                )
            )
        if found.mongod:
            programs.append(mongo_program(self.home, found.mongod, self.ports, env))
        if found.minio and settings.s3_access_key and settings.s3_secret_key:
            keys = settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
            programs.append(minio_program(self.home, found.minio, self.ports, env, *keys))
        return programs

    async def elsewhere(self, part: str) -> None:
        """Wait until a server that was given by its address answers."""
        address = str(getattr(self.asked, ADDRESSES[part]))
        setting = f"TEMPER_{ADDRESSES[part].upper()}"
        shown = without_password(address)
        until = time.monotonic() + ELSEWHERE_WITHIN
        while not await answers(part, address):
            if time.monotonic() > until:
                raise UserError(
                    f"{part} at {shown} ({setting}) does not answer. Start it, or unset {setting} to get a local one."
                )
            await asyncio.sleep(0.2)
        self.supervisor.running[part] = RunningProcess(address=shown, state="elsewhere")
        self.record()
        self.say(f"{part:<8} runs elsewhere     {shown}")

    async def bootstrap(self, settings: Settings) -> None:
        """Topics, the bucket, the first API key, the demo base: whatever must exist before the first request."""
        from infra.runtime.bootstrap import (
            bootstrap,  # the composition root knows every driver: loaded only when it is needed
        )

        began = time.monotonic()
        while True:
            try:
                wrong = await bootstrap(settings)
                break
            except UnavailableError as error:  # it has only just started, perhaps on a machine that is busy
                if time.monotonic() - began > BOOTSTRAP_WITHIN:
                    text = f"{error} The logs in {self.home / 'logs'} say why; `temper up` again goes on."
                    raise UserError(text) from error
                self.say(f"{error.dependency:<8} is slow to answer, and is asked again: {error}")
        if wrong is not None:
            self.say(wrong)
        self.say(f"{'topics':<8} ready in {time.monotonic() - began:5.1f} s   and bucket, API key, demo base")

    async def read_models(self, settings: Settings) -> None:
        """Wait until the read models are whole: before that the API answers 503 to everybody."""
        from infra.runtime.bootstrap import read_models  # as for `bootstrap`

        began = time.monotonic()
        try:
            await read_models(settings, WHOLE_WITHIN)
            self.say(f"{'log':<8} read in  {time.monotonic() - began:5.1f} s   the API answers")
        except UnavailableError as error:
            self.say(f"{'log':<8} the API answers 503 for now: {error}. `temper status` says when it is over.")

    def note(self, state: str) -> None:
        """Record the state of the whole."""
        self.stack = self.stack.model_copy(update={"state": state})
        self.record()

    def record(self) -> None:
        """Write the record that other commands read."""
        self.stack.processes = dict(self.supervisor.running)
        self.stack.ports = {**self.ports.remembered, **self.ports.given}
        write_stack(self.home, self.stack)


async def answers(part: str, address: str) -> bool:
    """Whether a server that runs elsewhere answers in its own protocol."""
    match part:
        case "kafka":
            return await kafka_ok(address)
        case "mongo":
            return await mongo_ok(address)
        case _:
            url = urlsplit(address)
            return await port_open(url.hostname or "", url.port or (443 if url.scheme == "https" else 80))


def without_password(address: str) -> str:
    """An address as it may be shown: `mongodb://user:password@host` without what stands before the @."""
    scheme, found, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else address


async def together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs at the same time; the first that a person can put right ends them all and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except ExceptionGroup as failed:
        ours = failed.subgroup(UserError)
        if ours is None:
            raise
        raise first(ours) from None


def first(group: ExceptionGroup[Any]) -> Exception:
    """The first exception in a group of groups."""
    error: Exception = group.exceptions[0]
    return first(error) if isinstance(error, ExceptionGroup) else error


def check_disk(home: Path) -> None:
    """Refuse to start on a disk that is nearly full: a server that cannot write stops in the middle of something."""
    home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home).free // 2**20
    if free < DISK_MIN_MB:
        raise UserError(
            f"The disk of {home} has {free} MB free; the stack needs at least {DISK_MIN_MB} MB. "
            "Free some, or point TEMPER_HOME elsewhere."
        )


def run_stack(asked: Settings, only: Iterable[str], say: Say, *, usual_ports: bool) -> None:
    """Hold the home, find the programs, run the stack until SIGINT, SIGTERM or SIGHUP."""
    home = asked.home.absolute()
    start = parts_to_start(asked, only)
    check_disk(home)
    with locked(home / "lock", wait=False) as got:
        if not got:
            holder = read_stack(home)
            raise UserError(
                f"A stack runs in {home} already{f' (pid {holder.pid})' if holder else ''}. "
                "Use it (`temper status`), stop it (`temper down`), or name another home with TEMPER_HOME."
            )
        programs = find_programs(start, asked.cache, say)
        logging.basicConfig(
            filename=home / "logs" / "up.log", level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
        )
        stack = LocalStack(asked, start, programs, say, usual_ports=usual_ports)
        with suppress(asyncio.CancelledError):
            asyncio.run(until_signal(stack))


async def until_signal(stack: LocalStack) -> None:
    """Run the stack in a task that the first signal cancels; a second signal changes nothing."""
    loop, task = asyncio.get_running_loop(), asyncio.create_task(stack.run())
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, cancel_once, task)
    await task


def cancel_once(task: "asyncio.Task[None]") -> None:
    """Cancel a task that was not told yet, so that the stopping itself is never cut short."""
    if task.cancelling() == 0:
        task.cancel()
