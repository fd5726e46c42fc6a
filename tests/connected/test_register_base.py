"""P2: what a base's name stands for is its newest registration; the same one again says nothing."""

import json
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.documents.models import MODELS, PUBLIC, model_id
from contracts.envelope import Event
from infra.adapters.kafka import ensure_topics
from infra.adapters.mongo.documents import Database, MongoDocuments
from infra.runtime.bootstrap import DEMO_FOLDER, register_base
from infra.runtime.folding import Folded, fold_into
from infra.runtime.world import world
from infra.settings import Settings
from tests.connected.log import Tap

pytestmark = pytest.mark.connected


async def test_a_version_that_comes_back_is_served_again(servers: Settings, tmp_path: Path) -> None:
    bootstrap, name = str(servers.kafka_bootstrap), f"base-{uuid.uuid4().hex[:8]}"
    await ensure_topics(bootstrap)
    tap = await Tap.open(bootstrap, "model.registered")
    versions = {}
    for version in ("A", "B"):
        versions[version] = shutil.copytree(DEMO_FOLDER, tmp_path / version)
        (versions[version] / "generation_config.json").write_text(json.dumps({"version": version}))
    async with world(servers) as here:
        await here.blobs.ensure_bucket()

        async def said() -> list[Event]:
            read = [here.belief.believe(record) for record in await tap.records() if record.key == name.encode()]
            return sorted(read, key=lambda event: event.at)

        for count, version in enumerate("ABA", 1):
            manifest, event = await register_base(here, name, versions[version])
            assert event is not None
            assert (await register_base(here, name, versions[version])) == (manifest, None)
            assert len(await said()) == count
            folded: Folded = {}
            for event in await said():
                fold_into(folded, event)
            model = folded[MODELS.name][model_id(PUBLIC, name)].view
            assert model is not None
            assert model["manifest"] == manifest.model_dump(mode="json")


@pytest.mark.usefixtures("whole")
async def test_a_base_can_be_named_as_soon_as_it_is_registered(servers: Settings, db: Database) -> None:
    await ensure_topics(str(servers.kafka_bootstrap))
    name = f"base-{uuid.uuid4().hex[:8]}"
    async with world(servers) as here:
        await here.blobs.ensure_bucket()
        nobody_follows = replace(here, documents=MongoDocuments(db))
        manifest, _ = await register_base(nobody_follows, name, DEMO_FOLDER)
        found = await nobody_follows.documents.get("models", model_id(PUBLIC, name))
    assert found is not None
    assert found["manifest"] == manifest.model_dump(mode="json")
