"""How a data set is to be made comes with its documents, or is refused by name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.functional.edge import ROWS, World
from tests.functional.test_edge_files import error, nothing_is_left, world

__all__ = ["world"]

MANUAL = b"# Pumps\n\nThe pump weighs 3 kg.\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset[min_coverage]": "0.2", "dataset[rows_per_chunk]": "5", "dataset[generator]": "extractive"},
        {"dataset": '{"min_coverage": 0.2, "rows_per_chunk": 5, "generator": "extractive"}'},
        {"dataset": '{"min_coverage": 0.2}', "dataset[rows_per_chunk]": "5", "dataset[generator]": "extractive"},
    ],
    ids=["parts", "json", "both"],
)
async def test_how_a_data_set_is_made_comes_with_its_documents(
    world: World, api: httpx.AsyncClient, fields: dict[str, str]
) -> None:
    data = {"purpose": "fine-tune", **fields}
    made = (await api.post("/v1/files", files={"file": ("a.md", MANUAL)}, data=data)).json()
    asked = {"min_coverage": 0.2, "rows_per_chunk": 5, "generator": "extractive"}
    event = world.emit.events[-1]
    assert event.data.model_dump(exclude_none=True)["dataset"] == asked
    assert (await api.get(f"/v1/files/{made['id']}")).json()["dataset"]["asked"] == asked


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset[generator][]": ["tenant_endpoint", "extractive"]},
        {"dataset[generator]": '["tenant_endpoint", "extractive"]'},
    ],
    ids=["as the client writes a list", "json"],
)
async def test_several_generators_may_be_asked_for_in_order(
    world: World, api: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    data = {"purpose": "fine-tune", **fields}
    made = (await api.post("/v1/files", files={"file": ("a.md", MANUAL)}, data=data)).json()
    shown = (await api.get(f"/v1/files/{made['id']}")).json()["dataset"]["asked"]
    assert shown == {"generator": ["tenant_endpoint", "extractive"]}


@pytest.mark.parametrize(
    ("content", "fields", "code", "param"),
    [
        (MANUAL, {"dataset[generator]": "gpt"}, "invalid_value", "dataset.generator"),
        (MANUAL, {"dataset[generator]": "[]"}, "invalid_value", "dataset.generator"),
        (MANUAL, {"dataset[generator]": '["base", "gpt"]'}, "invalid_value", "dataset.generator"),
        (MANUAL, {"dataset[generator]": '[["base"]]'}, "invalid_value", "dataset.generator"),
        (MANUAL, {"dataset[generator]": "7"}, "invalid_value", "dataset.generator"),
        (MANUAL, {"dataset[min_coverag]": "0.2"}, "unknown_parameter", "dataset.min_coverag"),
        (MANUAL, {"dataset[held_out]": "0.95"}, "decimal_above_max_value", "dataset.held_out"),
        (MANUAL, {"dataset[rows_per_chunk]": "many"}, "invalid_type", "dataset.rows_per_chunk"),
        (MANUAL, {"dataset": "[1]"}, "invalid_type", "dataset"),
        (MANUAL, {"dataset[target_model]": "nobody"}, "model_not_found", "dataset.target_model"),
        (MANUAL, {"dataset[embedding_model]": "nobody"}, "model_not_found", "dataset.embedding_model"),
        (
            MANUAL,
            {"dataset[duplicate_similarity]": "0.4"},
            "decimal_below_min_value",
            "dataset.duplicate_similarity",
        ),
        (
            MANUAL,
            {"dataset[chunk_tokens]": "16", "dataset[chunk_overlap]": "16"},
            "invalid_value",
            "dataset.chunk_overlap",
        ),
        (ROWS, {"dataset[held_out]": "0.2"}, "invalid_value", "dataset"),
    ],
    ids=[
        *("word", "none", "words", "nested", "number", "unknown", "bound", "type", "list", "model", "embedder"),
        *("similarity", "overlap", "rows"),
    ],
)
async def test_a_data_set_that_cannot_be_made_so_is_refused_by_name_and_leaves_nothing(
    world: World, api: httpx.AsyncClient, content: bytes, fields: dict[str, str], code: str, param: str
) -> None:
    data = {"purpose": "fine-tune", **fields}
    said = error(await api.post("/v1/files", files={"file": ("a.md", content)}, data=data))
    assert (said["code"], said["param"]) == (code, param)
    nothing_is_left(world)
