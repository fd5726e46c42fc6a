"""An ingest key's S3 credentials put bytes under the tenant's own ingest prefix, and nowhere else."""

import io

import pytest
from minio import Minio
from minio.error import S3Error
from pydantic import SecretStr

from infra.runtime.world import blob_store, minio_access
from infra.settings import Settings

pytestmark = pytest.mark.connected


def client(settings: Settings, access_key: str, secret_key: str) -> Minio:
    return Minio(
        str(settings.s3_url).removeprefix("http://"), access_key=access_key, secret_key=secret_key, secure=False
    )


async def test_credentials_reach_the_ingest_prefix_only_until_they_are_withdrawn(servers: Settings) -> None:
    settings = servers.model_copy(update={"signing_key": SecretStr("a test's key")})
    await blob_store(settings).ensure_bucket()
    grants = minio_access(settings)
    access = grants.grant("acme", "key-1")
    theirs = client(settings, access.access_key, access.secret_key)
    theirs.put_object(access.bucket, f"{access.prefix}a.jsonl", io.BytesIO(b"rows"), 4)
    for foreign in ("acme/file-1/content", "other/ingest/a.jsonl"):
        with pytest.raises(S3Error, match="AccessDenied"):
            theirs.put_object(access.bucket, foreign, io.BytesIO(b"rows"), 4)
    assert await blob_store(settings).get("acme/ingest/a.jsonl") == b"rows"
    with pytest.raises(S3Error, match="AccessDenied"):
        theirs.get_object(access.bucket, f"{access.prefix}a.jsonl")
    with pytest.raises(S3Error, match="AccessDenied"):
        theirs.stat_object(access.bucket, f"{access.prefix}a.jsonl")
    with pytest.raises(S3Error, match="AccessDenied"):
        list(theirs.list_objects(access.bucket, access.prefix))
    parts = io.BytesIO(bytes(6 * 2**20))
    theirs.put_object(access.bucket, f"{access.prefix}large.bin", parts, -1, part_size=5 * 2**20)  # by parts too
    grants.withdraw("acme", "key-1")
    grants.withdraw("acme", "key-1")  # a second time is no error
    with pytest.raises(S3Error):
        theirs.put_object(access.bucket, f"{access.prefix}b.jsonl", io.BytesIO(b"rows"), 4)
