"""mongod (a replica set of one), MinIO and MLflow as child processes."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from infra.local.child import Program
from infra.local.health import http_ok
from infra.local.ports import LOOPBACK, LocalPorts, http_address

REPLICA_SET = "temper"
NOT_YET_INITIALIZED = 94
OPLOG_MB = 512


def mongo_program(home: Path, mongod: Path, ports: LocalPorts, env: dict[str, str]) -> Program:
    """mongod on a home's data; loopback only, no unix socket (its path may be too long)."""
    port = ports.choose("mongo", 27117)
    data = home / "mongo"
    data.mkdir(parents=True, exist_ok=True)
    options = ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", str(OPLOG_MB), "--quiet"]
    return Program(
        name="mongo",
        argv=[
            str(mongod),
            "--dbpath",
            str(data),
            "--port",
            str(port),
            "--bind_ip",
            LOOPBACK,
            "--replSet",
            REPLICA_SET,
            *options,
        ],
        env=env,
        address=mongo_url(port),
        port=port,
        healthy=partial(mongo_ready, port),
    )


def mongo_url(port: int) -> str:
    """The replica set's address."""
    return f"mongodb://{LOOPBACK}:{port}/?replicaSet={REPLICA_SET}"


async def mongo_ready(port: int) -> bool:
    """Whether the one member is primary under this port; initiates the set, and follows a port that has changed."""
    member = f"{LOOPBACK}:{port}"
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=1000, socketTimeoutMS=5000
    )
    try:
        hello = await client.admin.command("hello")
        if hello.get("isWritablePrimary") and hello.get("me") == member:
            return True
        await claim_membership(client, member)
    except PyMongoError:
        return False
    finally:
        await client.close()
    return False


async def claim_membership(client: AsyncMongoClient[dict[str, Any]], member: str) -> None:
    """Initiate the set, or tell a set that knows its member under another port the new one."""
    try:
        config = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": member}]})
        return
    if config["members"][0]["host"] != member:
        config["members"][0]["host"] = member
        config["version"] += 1
        await client.admin.command("replSetReconfig", config, force=True)


def minio_program(home: Path, minio: Path, ports: LocalPorts, env: dict[str, str], user: str, password: str) -> Program:
    """MinIO on a home's data; loopback only, without its web console and its call home."""
    port = ports.choose("minio", 19000)
    data = home / "minio"
    data.mkdir(parents=True, exist_ok=True)
    address = http_address(LOOPBACK, port)
    return Program(
        name="minio",
        argv=[str(minio), "server", "--quiet", "--address", f"{LOOPBACK}:{port}", str(data)],
        env={
            **env,
            "MINIO_ROOT_USER": user,
            "MINIO_ROOT_PASSWORD": password,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_API_DELETE_CLEANUP_INTERVAL": "10s",  # from its sixth minute on; five minutes otherwise
        },
        address=address,
        port=port,
        healthy=partial(http_ok, "minio", address),
    )


def mlflow_program(home: Path, ports: LocalPorts, env: dict[str, str]) -> Program:
    """MLflow's server on a home's data; it takes half a minute, which nobody waits for."""
    port = ports.choose("mlflow", 5000)
    data = home / "mlflow"
    data.mkdir(parents=True, exist_ok=True)
    address = http_address(LOOPBACK, port)
    return Program(
        name="mlflow",
        argv=[sys.executable, "-P", "-m", "infra.local.tracking_server", str(port), str(data)],
        env=env,
        address=address,
        port=port,
        healthy=partial(http_ok, "mlflow", address),
        patience=300.0,
    )
