"""What a server of one's own must at least be, and what the one that a setting names is."""

import re
import socket
import struct
from datetime import date
from typing import Any
from urllib.parse import urlsplit

KAFKA_MIN = "3.9"
_FETCH, _FETCH_MIN = 1, 17
"""Kafka does not tell its version; 3.9 was the first that took this version of this request."""
MONGO_MIN = {(6, 0): 27, (7, 0): 28, (8, 0): 17, (8, 2): 3}
"""Series → its first release without CVE-2025-14847, by which anybody who reaches mongod reads its memory."""
MINIO_MIN = date(2025, 10, 15)
PATIENCE = 3.0


def mongo_ok(version: tuple[int, ...]) -> bool:
    """Whether this release of MongoDB may be used."""
    series = version[:2]
    return series > max(MONGO_MIN) or (series in MONGO_MIN and version[2:3] >= (MONGO_MIN[series],))


def mongo_needs() -> str:
    """The releases of MongoDB that may be used, for people."""
    return ", ".join(f"{major}.{minor}.{patch}" for (major, minor), patch in MONGO_MIN.items()) + " or newer"


def kafka_ok(bootstrap: str) -> bool:
    """Whether the first broker of the list that answers is new enough; raises OSError when none answers."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            return _newest(host.strip("[]"), int(port), _FETCH) >= _FETCH_MIN
        except OSError as error:
            silent = error
    raise silent


def _newest(host: str, port: int, asked: int) -> int:
    """Return the newest version of a request that a broker takes (ApiVersions, version 0)."""
    with socket.create_connection((host, port), PATIENCE) as broker, broker.makefile("rwb") as stream:
        stream.write(struct.pack(">ihhih", 10, 18, 0, 1, -1))
        stream.flush()
        size = struct.unpack(">i", _exactly(stream, 4))[0]
        answer = _exactly(stream, min(size, 2**16))
    found = {key: newest for key, _, newest in struct.iter_unpack(">hhh", answer[10:])}
    return int(found.get(asked, -1))


def _exactly(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) < size:
        raise ConnectionError("it ended the connection")
    return data


def mongo_version(url: str) -> str:
    """Return a server's version; raises PyMongoError."""
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=int(PATIENCE * 1000)) as client:
        return str(client.server_info()["version"])


def minio_release(url: str, access_key: str, secret_key: str) -> date | None:
    """Return when a MinIO server was released; None when it is another S3 server, or does not say; raises OSError."""
    from minio.credentials.providers import StaticProvider
    from minio.error import MinioAdminException
    from minio.minioadmin import MinioAdmin
    from urllib3.exceptions import HTTPError

    address = urlsplit(url)
    default = 443 if address.scheme == "https" else 80
    socket.create_connection((address.hostname or "", address.port or default), PATIENCE).close()
    provider = StaticProvider(access_key, secret_key)
    admin = MinioAdmin(endpoint=address.netloc, credentials=provider, secure=address.scheme == "https")
    try:
        said = re.search(r'"version":\s*"(\d{4})-(\d\d)-(\d\d)T', admin.info())
    except (MinioAdminException, HTTPError, ValueError):
        return None
    return date(*map(int, said.groups())) if said else None
