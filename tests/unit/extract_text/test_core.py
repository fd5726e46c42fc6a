"""How a document ends: limits, refusals, keys."""

from __future__ import annotations

import pytest

from contracts.corpus import Element, Member, Page, Span
from contracts.events.corpus import Problem
from functions.extract_text import core
from functions.extract_text.core import Extracted, UnreadableError

ELEMENT = Element(kind="text", span=Span(page=1, start=0, end=1))


def test_a_document_without_text_is_refused() -> None:
    with pytest.raises(UnreadableError, match="has no text") as refused:
        core.settled(Extracted((Page(number=1, text=" "),), (), False))
    assert (refused.value.code, refused.value.page) == ("no_text", None)


def test_a_scan_is_refused_with_the_first_page_and_what_to_do() -> None:
    problems = tuple(Problem(page=page, code="scanned_page", message=f"Page {page}: install it.") for page in (2, 3))
    pages = tuple(Page(number=number, text="") for number in (1, 2, 3))
    with pytest.raises(UnreadableError, match=r"2 problems. The first: Page 2: install it.") as refused:
        core.settled(Extracted(pages, (), True, problems))
    assert (refused.value.code, refused.value.page) == ("no_text", 2)


def test_an_event_carries_the_first_hundred_problems() -> None:
    problems = tuple(Problem(page=page, code="scanned_page", message="x") for page in range(1, 300))
    found = core.settled(Extracted((Page(number=1, text="a"),), (ELEMENT,), True, problems))
    assert found.problems == problems[:100]


@pytest.mark.parametrize("code", ["foreign_blob", "blob_not_found", "blob_mismatch"])
def test_a_document_whose_bytes_cannot_be_used_is_refused_in_words_without_a_key(code: str) -> None:
    refusal = core.blob_refusal("acme", code)
    assert refusal.code == code
    assert str(refusal).startswith("The document's ")


def test_a_member_that_was_skipped_has_no_inputs() -> None:
    with pytest.raises(ValueError, match="was not taken"):
        core.member_inputs("acme", "file-1", Member(path="a", bytes=0, sha256="", code="empty", message="x"), "e")
