"""A document is cut as in operation: its text from a store, the cutting in a limited process of its own."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer

import infra.demo
from contracts.blobs import BlobRef
from contracts.corpus import Chunks, Element, Page, Span, Text, text_at
from contracts.envelope import Event, derived_id, make
from contracts.events.corpus import DocumentChunked, DocumentExtracted, DocumentRejected
from contracts.ports import BlobNotFoundError, ChildResult
from functions.chunk_text import work as chunking
from functions.chunk_text.handler import on_document_extracted
from infra.adapters.memory import MemoryBlobs
from infra.runtime.leases import HeldLease
from tests.children import ForkedChild
from tests.leases import Opened, held

ARCHIVE = "file-" + "1" * 32
DOCUMENT = "doc-" + "2" * 32
TOKENIZER = Path(infra.demo.__file__).parent / "base" / "tokenizer.json"


def lease(text: BlobRef) -> HeldLease:
    """Return a lease on the chunking of DOCUMENT, whose text lies in `text`."""
    inputs = {"event_id": "e1", "archive": ARCHIVE, "path": "a/b.pdf", "text": text.model_dump(mode="json")}
    return held(f"{DOCUMENT}/chunks", "acme", "chunk_text", inputs)


def document(*paragraphs: str) -> Text:
    """Return a document with a page for each paragraph."""
    return Text(
        document=DOCUMENT,
        path="a/b.pdf",
        format="pdf",
        sha256="0" * 64,
        paged=True,
        pages=tuple(Page(number=number, text=words) for number, words in enumerate(paragraphs, 1)),
        elements=tuple(
            Element(kind="text", span=Span(page=number, start=0, end=len(words)))
            for number, words in enumerate(paragraphs, 1)
        ),
    )


async def stored(blobs: MemoryBlobs, text: Text) -> BlobRef:
    return await blobs.put(f"acme/{ARCHIVE}/documents/{DOCUMENT}/text.json", text.model_dump_json().encode())


async def cut(blobs: MemoryBlobs, taken: Any, scratch: Path, size: int = 64, overlap: int = 16) -> Event:
    """Return the one verdict, having checked the envelope around it."""
    events = await chunking.work(taken, blobs, ForkedChild(), scratch, TOKENIZER, size, overlap)
    assert len(events) == 1
    assert (events[0].id, events[0].subject, events[0].tenant, events[0].cause) == (
        derived_id(DOCUMENT, "chunks"),
        DOCUMENT,
        "acme",
        "e1",
    )
    assert not list(scratch.iterdir())
    return events[0]


LONG = " ".join(f"The valve number {n} of pump {n * 7} closes within {n + 3} seconds." for n in range(40))


async def test_a_document_becomes_chunks_of_the_models_tokens_and_twice_the_same_event(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    text = document(LONG, "A short page.")
    taken = lease(await stored(blobs, text))
    event = await cut(blobs, taken, tmp_path)
    found = event.data
    assert isinstance(found, DocumentChunked)
    assert (found.archive, found.chunks.key) == (ARCHIVE, f"acme/{ARCHIVE}/documents/{DOCUMENT}/chunks.json")
    made = Chunks.model_validate_json(await blobs.get(found.chunks.key))
    assert (len(made.chunks), sum(each.tokens for each in made.chunks)) == (found.n_chunks, found.tokens)
    assert found.n_chunks > 10
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    for each in made.chunks:
        assert each.text == text_at(text.pages, each.spans)
        assert each.tokens == len(tokenizer.encode(each.text, add_special_tokens=False).ids) <= 64
    assert await cut(blobs, taken, tmp_path) == event


async def test_a_setting_that_changes_between_attempts_changes_nothing(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    taken = lease(await stored(blobs, document(LONG)))
    assert await cut(blobs, taken, tmp_path, 64, 16) == await cut(blobs, taken, tmp_path, 128, 0)


@pytest.mark.parametrize("paragraphs", [(), ("", " \n ")])
async def test_a_document_without_text_is_rejected(paragraphs: tuple[str, ...], tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    found = (await cut(blobs, lease(await stored(blobs, document(*paragraphs))), tmp_path)).data
    assert isinstance(found, DocumentRejected)
    assert (found.archive, found.path, found.code) == (ARCHIVE, "a/b.pdf", "no_text")
    assert not [key for key in await blobs.list(f"acme/{ARCHIVE}/") if key.endswith("chunks.json")]


async def test_what_needs_too_much_memory_is_too_complex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "LIMITS", replace(chunking.LIMITS, memory_bytes=200 * 2**20))
    blobs = MemoryBlobs()
    small = await cut(blobs, lease(await stored(blobs, document("a b. "))), tmp_path)
    assert isinstance(small.data, DocumentChunked)
    found = (await cut(blobs, lease(await stored(blobs, document("a b. " * 6_000_000))), tmp_path)).data
    assert isinstance(found, DocumentRejected)
    assert found.code == "document_too_complex"


async def test_a_text_that_is_gone_and_a_broken_tokenizer_are_no_verdict_on_the_document(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    missing = BlobRef(key=f"acme/{ARCHIVE}/documents/{DOCUMENT}/text.json", sha256="0" * 64, bytes=1)
    with pytest.raises(BlobNotFoundError):
        await chunking.work(lease(missing), MemoryBlobs(), ForkedChild(), scratch, TOKENIZER, 64, 16)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{")
    blobs = MemoryBlobs()
    taken = lease(await stored(blobs, document("a")))
    with pytest.raises(RuntimeError, match=f"cutting {DOCUMENT} ended with status 1"):
        await chunking.work(taken, blobs, ForkedChild(), scratch, broken, 64, 16)
    assert not list(scratch.iterdir())


async def test_a_child_that_is_killed_is_a_verdict(tmp_path: Path) -> None:
    async def killed(*_: Any, **__: Any) -> ChildResult:
        return ChildResult(code=-9, stdout=b"", stderr="killed after 900 s")

    blobs = MemoryBlobs()
    taken = lease(await stored(blobs, document("a")))
    child: Any = SimpleNamespace(run=killed)
    events = await chunking.work(taken, blobs, child, tmp_path, TOKENIZER, 64, 16)
    assert isinstance(events[0].data, DocumentRejected)
    assert events[0].data.code == "document_too_complex"


def test_what_failed_too_often_says_why() -> None:
    taken = lease(BlobRef(key="a/b", sha256="", bytes=0))
    (event,) = chunking.exhausted(taken.claim, "RuntimeError: disk full")
    assert isinstance(event.data, DocumentRejected)
    assert (event.subject, event.data.code) == (DOCUMENT, "chunking_failed")
    assert "disk full" in event.data.message


async def test_a_documents_text_opens_its_chunking() -> None:
    opened = Opened()
    text = BlobRef(key=f"acme/{ARCHIVE}/documents/{DOCUMENT}/text.json", sha256="0" * 64, bytes=1)
    data = DocumentExtracted(archive=ARCHIVE, path="a/b.pdf", text=text, pages=1, characters=1)
    event = make(data, subject=DOCUMENT, tenant="acme", id="e1")
    await on_document_extracted(event, opened.controls, opened.wake)
    assert opened.inputs == {(f"{DOCUMENT}/chunks", "acme", "chunk_text"): lease(text).control.inputs}
    assert opened.woken == [("chunk_text", [f"{DOCUMENT}/chunks"])]
