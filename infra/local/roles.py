"""Temper's own processes: what each is called, what it is given, how it is asked whether it works."""

import os
import sys
from dataclasses import dataclass, replace
from functools import partial

from contracts.function import Role
from infra.children.quiet import QUIET
from infra.local.child import Program
from infra.local.errors import UserError
from infra.local.health import http_ok
from infra.local.ports import LocalPorts, http_address
from infra.runtime.functions import declared, of_role
from infra.settings import Settings, of_function

SERVERS = ("kafka", "mongo", "minio")
TRACKER = "mlflow"
"""A server that nobody waits for."""
ADDRESSES = {
    "kafka": "kafka_bootstrap",
    "mongo": "mongo_url",
    "minio": "s3_url",
    "serving": "inference_url",
    TRACKER: "mlflow_url",
}
"""The setting that says where a part runs."""
STORES = ("kafka_bootstrap", "mongo_url", "s3_url", "s3_access_key", "s3_secret_key", "s3_bucket")


@dataclass(frozen=True)
class LocalRole:
    """One of Temper's processes: `python -m infra.roles.app NAME`, which answers `GET /healthz` on its port."""

    name: Role
    port_setting: str
    """The setting that tells it its port."""
    usual_port: int
    needs: tuple[str, ...]
    """The platform's settings that it is given, beside those of its functions; a secret that it does not need is not
    among them."""
    process: str = ""
    """Where several processes have the role: what this one is called."""
    functions: tuple[str, ...] = ()
    """Those that it runs; none: all of its role."""

    @property
    def called(self) -> str:
        """The name of the process."""
        return self.process or self.name


_EVENTS = (*STORES, "signing_key", "unsigned_tenant", "inference_url")
_TRACKING = ("tracking", "mlflow_url", "wandb")
ROLES = {
    role.name: role
    for role in (
        LocalRole("serving", "serving_port", 8001, ("s3_url", "s3_access_key", "s3_secret_key", "s3_bucket", "device")),
        LocalRole("worker", "health_port", 8002, (*_EVENTS, *_TRACKING, "device", "train_threads")),
        LocalRole("trainer", "health_port", 8003, (*_EVENTS, "device", "train_threads")),
        LocalRole("edge", "edge_port", 8000, (*_EVENTS, *_TRACKING)),
    )
}


def processes(role: LocalRole, workers: str) -> tuple[LocalRole, ...]:
    """Return a role as often as it is run: workers by their functions (the setting `workers`).

    Raises UserError where a function is in no group, or is none.
    """
    groups = [tuple(filter(None, map(str.strip, group.split(",")))) for group in workers.split(";")]
    if role.name != "worker" or not any(groups):
        return (role,)
    there, named = {each.name for each in of_role(role.name)}, {name for group in groups for name in group}
    if there != named:
        wrong = [f"{name} is in no group" for name in sorted(there - named)]
        wrong += [f"{name} is no function of the worker" for name in sorted(named - there)]
        raise UserError(f"TEMPER_WORKERS has to name each function of the worker: {', '.join(wrong)}.")
    names = [role.name, *(f"{role.name}-{number}" for number in range(2, len(groups) + 1))]
    return tuple(
        replace(role, process=name, functions=group, usual_port=role.usual_port + 10 * number)
        for number, (name, group) in enumerate(zip(names, groups, strict=True))
        if group
    )


PARTS = (*SERVERS, *ROLES, TRACKER)

KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "JAVA_HOME",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


def read_settings() -> None:
    """Read every function's settings, so that a mistake is said before anything starts; raises ValidationError."""
    for function in declared().values():
        of_function(function.settings)


def plain_env() -> dict[str, str]:
    """The environment of a server: where programs are and the language, none of the caller's secrets."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def role_env(role: LocalRole, settings: Settings, port: int) -> dict[str, str]:
    """The environment of a role: the caller's without its `TEMPER_` settings, then those that the role needs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TEMPER_")} | QUIET
    given = {name: getattr(settings, name) for name in (*role.needs, "cache", "bind")}
    for function in of_role(role.name, role.functions):
        given |= dict(of_function(function.settings))
    given["home"] = settings.home.absolute()
    given[role.port_setting] = port
    for name, value in given.items():
        if value is not None:
            env[f"TEMPER_{name.upper()}"] = setting_text(value)
    if settings.unsigned_tenant is None:
        env["TEMPER_UNSIGNED_TENANT"] = "none"
    return env


def setting_text(value: object) -> str:
    """A setting as an environment variable says it."""
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal() if reveal else value)


def role_program(role: LocalRole, settings: Settings, port: int) -> Program:
    """How a role is run."""
    address = http_address(str(settings.bind), port)
    return Program(
        name=role.called,
        # -P: an `infra` in the folder of whoever starts it is not ours
        argv=[sys.executable, "-P", "-m", "infra.roles.app", role.name, "--functions", ",".join(role.functions)],
        env=role_env(role, settings, port),
        address=address,
        port=port,
        healthy=partial(http_ok, role.called, address),
        patience=300.0,
    )


def role_port(role: LocalRole, asked: Settings, ports: LocalPorts) -> int:
    """A role's port: the asked one for the edge and the serving process, else the usual or a free one."""
    wanted = getattr(asked, role.port_setting) if role.port_setting != "health_port" else None
    return ports.choose(role.called, role.usual_port, wanted)
