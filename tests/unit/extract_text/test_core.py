"""How a document ends: limits, refusals, keys."""

from __future__ import annotations

import pytest

from contracts.blobs import BlobRef
from contracts.corpus import Element, Member, Page, Span
from contracts.events.corpus import Problem
from functions.extract_text import core
from functions.extract_text.core import Extracted, RefusedError

ELEMENT = Element(kind="text", span=Span(page=1, start=0, end=1))


def test_a_document_without_text_is_refused() -> None:
    with pytest.raises(RefusedError, match="has no text") as refused:
        core.settled(Extracted((Page(number=1, text=" "),), (), False))
    assert (refused.value.code, refused.value.page) == ("no_text", None)


def test_a_scan_is_refused_with_the_first_page_and_what_to_do() -> None:
    problems = tuple(Problem(page=page, code="scanned_page", message=f"Page {page}: install it.") for page in (2, 3))
    pages = tuple(Page(number=number, text="") for number in (1, 2, 3))
    with pytest.raises(RefusedError, match=r"2 problems. The first: Page 2: install it.") as refused:
        core.settled(Extracted(pages, (), True, problems))
    assert (refused.value.code, refused.value.page) == ("no_text", 2)


def test_an_event_carries_the_first_hundred_problems() -> None:
    problems = tuple(Problem(page=page, code="scanned_page", message="x") for page in range(1, 300))
    found = core.settled(Extracted((Page(number=1, text="a"),), (ELEMENT,), True, problems))
    assert found.problems == problems[:100]


@pytest.mark.parametrize(
    "key", ["other/ingest/x", "other/file-1/x", "acme/file-2/x", "acme/ingest/../x", "acme/ingest//x"]
)
def test_a_foreign_blob_is_refused(key: str) -> None:
    refusal = core.blob_refusal("acme", "file-1", BlobRef(key=key, sha256="0" * 64, bytes=1))
    assert refusal is not None
    assert refusal.code == "foreign_blob"


@pytest.mark.parametrize(
    "key", ["acme/file-1/documents/doc-1/content", "acme/file-1/content", "acme/ingest/mine/a.pdf"]
)
def test_a_blob_of_ones_own_is_not(key: str) -> None:
    assert core.blob_refusal("acme", "file-1", BlobRef(key=key, sha256="0" * 64, bytes=1)) is None


def test_a_member_that_was_skipped_has_no_inputs() -> None:
    with pytest.raises(ValueError, match="was not taken"):
        core.member_inputs("acme", "file-1", Member(path="a", bytes=0, sha256="", code="empty", message="x"), "e")
