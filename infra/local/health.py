"""Whether a process answers: one small question in its own protocol."""

import asyncio
import logging

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from infra.local.ports import LOOPBACK

TIMEOUT = 3.0


async def port_open(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def http_ok(port: int, path: str, host: str = LOOPBACK) -> bool:
    """Whether GET of a path answers 200."""
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            status = await reader.readline()
    except OSError:
        return False
    writer.close()
    return status.split(b" ")[1:2] == [b"200"]


async def kafka_ok(bootstrap: str) -> bool:
    """Whether a broker answers and names at least one live broker (only then can topics be created)."""
    from aiokafka.client import AIOKafkaClient  # loaded only where Kafka is asked
    from aiokafka.errors import KafkaError

    first = bootstrap.split(",")[0]
    host, _, port = first.rpartition(":")
    if not await port_open(host, int(port)):
        return False  # asked first because the client logs each refusal
    logger = logging.getLogger("aiokafka")
    level, client = logger.level, AIOKafkaClient(bootstrap_servers=bootstrap)
    logger.setLevel(logging.CRITICAL)
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.bootstrap()
            return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
        logger.setLevel(level)


async def mongo_ok(url: str) -> bool:
    """Whether a replica set's primary answers."""
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(url, serverSelectionTimeoutMS=int(TIMEOUT * 1000))
    try:
        hello = await client.admin.command("hello")
        return bool(hello.get("isWritablePrimary"))
    except PyMongoError:
        return False
    finally:
        await client.close()
