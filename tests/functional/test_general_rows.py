"""Rows against forgetting come from a file that was uploaded and found valid; until then a data set waits."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.blobs import BlobRef
from contracts.events.files import FileDeleted, FileUploaded, FileValidated
from contracts.ports import UnavailableError
from functions.assemble_dataset.function import general_rows
from tests.functional.edge import World

FILE = "file-" + "1" * 32
BLOB = BlobRef(key=f"local/{FILE}/rows.jsonl", sha256="2" * 64, bytes=9)


async def test_nothing_is_mixed_in_where_no_file_is_named() -> None:
    here: Any = World()
    assert await general_rows(here.documents, None) is None


async def test_the_rows_of_a_valid_file_are_mixed_in_and_those_of_any_other_are_waited_for() -> None:
    here: Any = World()
    with pytest.raises(UnavailableError, match="TEMPER_GENERAL_FILE"):
        await general_rows(here.documents, FILE)
    await here.say(FileUploaded(blob=BLOB, filename="general.jsonl", purpose="fine-tune"), FILE, "local")
    with pytest.raises(UnavailableError):
        await general_rows(here.documents, FILE)
    await here.say(FileValidated(format="jsonl", shape="chat", rows=9, blob=BLOB), FILE, "local")
    assert await general_rows(here.documents, FILE) == BLOB
    await here.say(FileDeleted(), FILE, "local")
    with pytest.raises(UnavailableError):
        await general_rows(here.documents, FILE)
