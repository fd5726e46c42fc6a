"""Secrets in MongoDB are sealed: the database alone does not open them."""

from __future__ import annotations

import pytest

from infra.adapters.mongo.documents import Database
from infra.adapters.mongo.secrets import MongoSecrets

pytestmark = pytest.mark.connected


async def test_a_secret_opens_with_its_deployments_key_and_under_its_own_name_alone(db: Database) -> None:
    mine = MongoSecrets(db, b"a" * 32)
    await mine.put("acme", "wandb", "canary-key")
    assert await mine.get("acme", "wandb") == "canary-key"
    stored = [each async for each in db.secrets.find()]
    assert "canary" not in repr(stored)
    assert await MongoSecrets(db, b"b" * 32).get("acme", "wandb") is None
    await db.secrets.insert_one({**stored[0], "_id": "evil/wandb"})
    assert await mine.get("evil", "wandb") is None, "a sealed secret cannot be moved to another tenant"
