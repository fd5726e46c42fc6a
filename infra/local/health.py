"""Whether a process answers: one small question in its own protocol."""

import asyncio
import logging
from urllib.parse import urlsplit

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

TIMEOUT = 3.0
HEALTH = {"minio": "/minio/health/ready", "mlflow": "/health"}
"""Part → the path at which it says that it is well; Temper's own processes do at `/healthz`."""


async def port_open(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def http_ok(name: str, address: str) -> bool:
    """Whether a part of the stack answers 200 where it is asked for its health."""
    url = urlsplit(address)
    asked = f"GET {HEALTH.get(name, '/healthz')} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            writer.write(asked.encode())
            status = await reader.readline()
    except OSError:
        return False
    writer.close()
    return status.split(b" ")[1:2] == [b"200"]


async def kafka_ok(bootstrap: str) -> bool:
    """Whether any broker of the list answers and names a live one (only then can topics be created)."""
    logger = logging.getLogger("aiokafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # the client logs each refusal
    asked = [asyncio.ensure_future(_broker_ok(address.strip())) for address in bootstrap.split(",")]
    try:
        for answer in asyncio.as_completed(asked):
            if await answer:
                return True
        return False
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        logger.setLevel(level)


async def _broker_ok(address: str) -> bool:
    from aiokafka.client import AIOKafkaClient  # loaded only where Kafka is asked
    from aiokafka.errors import KafkaError

    client = AIOKafkaClient(bootstrap_servers=address)
    try:
        async with asyncio.timeout(TIMEOUT):
            await client.bootstrap()
            return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()


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
