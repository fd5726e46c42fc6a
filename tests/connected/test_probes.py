"""P5: the edge's probes tell the truth, and answer whatever else the process is at."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from infra.adapters.mongo.connection import connect
from infra.local.doctor import foreign_kafka, foreign_minio, foreign_mongo
from infra.local.ports import LOOPBACK
from infra.runtime import heartbeats
from infra.runtime.functions import of_role
from infra.runtime.probes import NotWellError, probing
from infra.runtime.world import blob_store
from infra.settings import Settings

pytestmark = pytest.mark.connected
ALL = [each.name for each in of_role("worker")]
NOBODY = f"{LOOPBACK}:1"


def asked(servers: Settings) -> Settings:
    """Settings of an edge for which one broker of three answers, and nobody serves."""
    brokers = f"{NOBODY},{servers.kafka_bootstrap},{LOOPBACK}:2"
    return servers.model_copy(
        update={
            "kafka_bootstrap": brokers,
            "inference_url": f"http://{NOBODY}",
            "mlflow_url": f"http://{NOBODY}",
            "signing_key": SecretStr("k"),
        }
    )


async def test_any_broker_of_the_list_is_kafka(servers: Settings) -> None:
    await blob_store(servers).ensure_bucket()
    async with probing(asked(servers)) as (own, others):
        assert [await own[name]() for name in ("kafka", "mongo", "minio")] == ["answers"] * 3
        for name in ("serving", "mlflow", "worker"):
            with pytest.raises(Exception, match=r"answer|attempts|worker"):
                await others[name]()
    silent = asked(servers).model_copy(update={"kafka_bootstrap": f"{NOBODY},{LOOPBACK}:2"})
    async with probing(silent) as (own, _):
        with pytest.raises(NotWellError, match="does not answer"):
            await own["kafka"]()


def test_the_doctor_tells_the_versions_of_servers_elsewhere(servers: Settings) -> None:
    kafka = foreign_kafka(f"{NOBODY},{servers.kafka_bootstrap}")
    mongo = foreign_mongo(str(servers.mongo_url))
    minio = foreign_minio(str(servers.s3_url), servers.s3_access_key, servers.s3_secret_key)
    assert all(found.ok for found in (kafka, mongo, minio)), (kafka, mongo, minio)
    assert "6.0.27" in mongo.found
    assert "MinIO of 20" in minio.found or "not told its version" in minio.found


async def test_a_group_that_waits_is_named_with_what_it_waits_for(servers: Settings) -> None:
    db = connect(str(servers.mongo_url))
    progress = {"state": "waiting", "lag": 3, "idle_s": 1.0, "waiting": {"job.created/0": "MinIO does not answer"}}
    well = {"state": "ok", "lag": 0, "idle_s": 1.0, "waiting": {}}
    saying = asyncio.create_task(
        heartbeats.say(db, "worker", ALL, "a/1", lambda: None, lambda: {"prepare_job": progress, "track_runs": well})
    )
    try:
        async with asyncio.timeout(10):
            while await heartbeats.look(db, "worker", ALL) is not None:
                await asyncio.sleep(0.02)
        async with probing(asked(servers)) as (_, others):
            assert await others["worker"]() == "at work"
            with pytest.raises(NotWellError, match="prepare_job is waiting with 3 to do: MinIO does not answer"):
                await others["groups"]()
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
    assert await heartbeats.slow_groups(db) == []
    await db.client.close()
