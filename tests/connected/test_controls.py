"""Control documents of MongoDB while read models are rebuilt."""

import pytest

from contracts.ports import RebuildingError
from infra.adapters.mongo.controls import MongoControls
from infra.adapters.mongo.documents import Database

pytestmark = [pytest.mark.connected, pytest.mark.usefixtures("whole")]


async def test_nothing_is_created_or_claimed_while_the_read_models_are_not_whole(db: Database) -> None:
    controls = MongoControls(db)
    await controls.open("ftjob-1", "local", "train", {})
    await db.meta.delete_many({})
    with pytest.raises(RebuildingError):
        await controls.open("ftjob-2", "local", "train", {})
    assert await controls.claim("train", "h") is None
