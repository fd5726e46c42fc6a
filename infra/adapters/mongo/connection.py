"""MongoDB: the connection, and what counts as an outage of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.int64 import Int64
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect, PyMongoError, WTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from contracts.ports import UnavailableError

Database = AsyncDatabase[dict[str, Any]]


class _Integer(TypeDecoder):
    """From 2**31 on BSON has integers of 64 bits, which pymongo gives a class that JSON encoders refuse."""

    bson_type = Int64

    def transform_bson(self, value: Any) -> int:
        return int(value)


PLAIN: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=TypeRegistry([_Integer()]))
"""What is read holds JSON's own types only."""
DATABASE = "temper"


@contextmanager
def transient_errors() -> Iterator[None]:
    """Turn an outage of MongoDB into UnavailableError; everything else stays a bug."""
    try:
        yield
    except (AutoReconnect, WTimeoutError) as error:
        raise UnavailableError("mongo", f"MongoDB does not answer: {str(error)[:200]}") from error
    except PyMongoError as error:
        if getattr(error, "timeout", False):
            raise UnavailableError("mongo", f"MongoDB does not answer: {str(error)[:200]}") from error
        raise


def connect(url: str, database: str = DATABASE, seconds: float = 4.0) -> Database:
    """Return the database; writes wait for the majority's journal, reads go to the primary, outages show in `seconds`.

    So long may one request take: reading a cursor is many, `to_list` counts as one.
    """
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        url,
        serverSelectionTimeoutMS=3000,
        connectTimeoutMS=2000,
        timeoutMS=int(seconds * 1000),
        appname="temper",
    )
    return client.get_database(
        database,
        codec_options=PLAIN,
        write_concern=WriteConcern(w="majority", j=True),
        read_concern=ReadConcern("majority"),
    )
