"""What may be read of a document and how it ends: limits, refusals, keys, events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.blobs import BlobRef
from contracts.corpus import Element, Member, Page
from contracts.events.corpus import DocumentExtracted, DocumentRejected, Problem

MAX_PAGES = 10_000
MAX_CHARACTERS = 20_000_000
MAX_ELEMENTS = 250_000
MAX_COLUMNS = 1_000
MAX_PROBLEMS = 100
"""What an event carries."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_ENDS = re.compile(r"\r\n?|\x0c")
_UNSEEN = re.compile("[\u00ad\u200b\ufeff\ufffe]")  # soft hyphens and the like: they would break words


class UnreadableError(Exception):
    """Nothing can be made of the document."""

    def __init__(self, code: str, message: str, page: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.page = page


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was read of a document."""

    pages: tuple[Page, ...]
    elements: tuple[Element, ...]
    paged: bool
    problems: tuple[Problem, ...] = ()


def cleaned(text: str) -> str:
    """Return `text` with line feeds as its line ends, U+FFFD for what is no character, nothing for what is not seen.

    A hyphen that does not break is a hyphen: nobody asks for it by another letter.
    """
    return _CONTROL.sub("\ufffd", _LINE_ENDS.sub("\n", _UNSEEN.sub("", text))).replace("\u2011", "-")


def too_complex(limit: str) -> UnreadableError:
    """Return the refusal of a document that goes beyond `limit`."""
    return UnreadableError("document_too_complex", f"The document has more than {limit}. Split it.")


def settled(extracted: Extracted) -> Extracted:
    """Return `extracted` with what an event has room for; RefusedError when it is too much or has no text."""
    if len(extracted.pages) > MAX_PAGES:
        raise too_complex(f"{MAX_PAGES:,} pages")
    if sum(len(page.text) for page in extracted.pages) > MAX_CHARACTERS:
        raise too_complex(f"{MAX_CHARACTERS:,} characters")
    if len(extracted.elements) > MAX_ELEMENTS:
        raise too_complex(f"{MAX_ELEMENTS:,} paragraphs and rows")
    if not extracted.elements:
        raise _no_text(extracted)
    return Extracted(extracted.pages, extracted.elements, extracted.paged, extracted.problems[:MAX_PROBLEMS])


def _no_text(extracted: Extracted) -> UnreadableError:
    if not extracted.problems:
        return UnreadableError("no_text", "The document has no text. Remove it, or put one with text in its place.")
    first, count = extracted.problems[0], len(extracted.problems)
    message = f"The document has no text that can be read, and {count} problems. The first: {first.message}"
    return UnreadableError("no_text", message, first.page)


def content_key(tenant: str, archive: str, document: str) -> str:
    """Return where a document's bytes lie."""
    return f"{tenant}/{archive}/documents/{document}/content"


def text_key(tenant: str, archive: str, document: str) -> str:
    """Return where a document's text lies."""
    return f"{tenant}/{archive}/documents/{document}/text.json"


def member_inputs(tenant: str, archive: str, member: Member, event_id: str) -> dict[str, Any]:
    """Return the inputs of work on a member that was taken."""
    if member.document is None or member.format is None:
        raise ValueError(f"a member of {archive} without a document was not taken")
    blob = BlobRef(key=content_key(tenant, archive, member.document), sha256=member.sha256, bytes=member.bytes)
    return document_inputs(archive, member.path, member.format, blob, event_id)


def document_inputs(archive: str, path: str, format: str, blob: BlobRef, event_id: str) -> dict[str, Any]:
    """Return the inputs of work on a document whose bytes are `blob`."""
    return {
        "archive": archive,
        "path": path,
        "format": format,
        "sha256": blob.sha256,
        "blob": blob.model_dump(mode="json"),
        "event_id": event_id,
    }


def blob_refusal(tenant: str, code: str) -> UnreadableError:
    """Return the refusal of a document whose blob cannot be used; most come out of an archive, so no key is named."""
    ingest = f"put it under {tenant}/ingest/ and publish the event again"
    message = {
        "foreign_blob": f"The document's blob is not yours to use: {ingest}.",
        "blob_not_found": "The document's bytes are not in the store: they were deleted, or never uploaded.",
        "blob_mismatch": "The document's stored bytes do not have the stated length and SHA-256. Upload it again.",
    }[code]
    return UnreadableError(code, message)


def rejected(inputs: Mapping[str, Any], refusal: UnreadableError) -> DocumentRejected:
    """Return the ending of a document that nothing can be made of."""
    return DocumentRejected(
        archive=inputs["archive"], path=inputs["path"], code=refusal.code, message=str(refusal), page=refusal.page
    )


def extracted(inputs: Mapping[str, Any], found: Mapping[str, Any], text: BlobRef) -> DocumentExtracted:
    """Return the ending of a document whose text is `text`; `found` is what its reader says."""
    return DocumentExtracted(
        archive=inputs["archive"],
        path=inputs["path"],
        text=text,
        pages=found["pages"],
        characters=found["characters"],
        problems=tuple(Problem(**problem) for problem in found["problems"]),
    )
