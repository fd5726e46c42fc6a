"""Rows and lineage of a data set, as the API shows them."""

import pytest

from contracts.corpus import Chunks, RowOrigin
from contracts.wire import dataset
from tests.unit.assemble_dataset.archive import chunk, name

DOCUMENT = name("doc", 1)
PARTS = tuple(chunk(DOCUMENT, at, f"Fact {at}.") for at in range(6))  # four on page 1, two on page 2
CHUNKS = Chunks(document=DOCUMENT, path="a.pdf", sha256="f" * 64, chunks=PARTS)
MESSAGES = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def origin(line: int, own: int, distractors: tuple[int, ...], absent: bool = False) -> RowOrigin:
    return RowOrigin(
        line=line,
        example=name("row", line),
        document=DOCUMENT,
        path="a.pdf",
        sha256="f" * 64,
        chunk=PARTS[own].id,
        quote="" if absent else PARTS[own].text,
        span=None if absent else PARTS[own].spans[0],
        distractors=tuple(PARTS[at].id for at in distractors),
        position=None if absent else 1,
        variant=0,
        generator="extractive",
        scores={"overlap": 0.5},
    )


def test_a_row_says_page_span_hash_generator_and_scores() -> None:
    row = dataset.row(origin(3, 5, (0, 1)), MESSAGES)
    assert (row["id"], row["object"], row["line"], row["kind"]) == ("train-3", "dataset.row", 3, "answered")
    assert row["messages"] == MESSAGES
    assert row["source"] == {
        "document": DOCUMENT,
        "path": "a.pdf",
        "sha256": "f" * 64,
        "chunk": PARTS[5].id,
        "page": 2,
        "span": {"page": 2, "start": 5000, "end": 5007},
        "quote": "Fact 5.",
    }
    assert (row["generator"], row["scores"], row["position"]) == ("extractive", {"overlap": 0.5}, 1)
    assert row["distractors"] == [PARTS[0].id, PARTS[1].id]


def test_a_refusal_has_a_chunk_and_no_span_and_a_general_row_has_no_source() -> None:
    absent = dataset.row(origin(1, 0, (2,), absent=True), MESSAGES, "held_out")
    assert (absent["id"], absent["kind"], absent["source"]["chunk"]) == ("held_out-1", "absent", PARTS[0].id)
    assert (absent["source"]["page"], absent["source"]["span"], absent["source"]["quote"]) == (None, None, None)
    general = origin(1, 0, ()).model_copy(update={"document": "", "chunk": "", "span": None, "generator": None})
    assert (dataset.row(general, MESSAGES)["kind"], dataset.row(general, MESSAGES)["source"]) == ("general", None)


def test_a_rows_id_leads_to_its_line() -> None:
    assert dataset.line_of(dataset.row_id(origin(12, 0, ()), "held_out"), "held_out") == 12
    for wrong in ("train-12", "held_out-", "held_out--1", "held_out-²", "12", ""):
        with pytest.raises(ValueError, match="is no row of this data set"):
            dataset.line_of(wrong, "held_out")


def test_a_page_leads_to_its_chunks_their_rows_and_the_jobs() -> None:
    train = [origin(1, 4, (0, 1)), origin(2, 0, (5, 1)), origin(3, 5, (2,), absent=True)]
    held_out = [origin(1, 5, (4,))]
    found = dataset.lineage(CHUNKS, 2, {"train": iter(train), "held_out": iter(held_out)}, [{"id": "ftjob-1"}])
    assert (found["document"], found["page"], found["jobs"]) == (DOCUMENT, 2, [{"id": "ftjob-1"}])
    assert [part["id"] for part in found["chunks"]] == [PARTS[4].id, PARTS[5].id]
    assert [(row["id"], row["role"]) for row in found["chunks"][0]["rows"]] == [
        ("train-1", "answered"),
        ("held_out-1", "distractor"),
    ]
    assert [(row["id"], row["role"], row["span"]) for row in found["chunks"][1]["rows"]] == [
        ("train-2", "distractor", None),
        ("train-3", "absent", None),
        ("held_out-1", "answered", {"page": 2, "start": 5000, "end": 5007}),
    ]


def test_all_pages_are_shown_where_none_is_named() -> None:
    found = dataset.lineage(CHUNKS, None, {"train": [origin(1, 4, (0, 1))]})
    assert [len(part["rows"]) for part in found["chunks"]] == [1, 1, 0, 0, 1, 0]
    assert dataset.lineage(CHUNKS, 9, {})["chunks"] == []
