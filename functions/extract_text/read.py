"""Read one document: `python -m functions.extract_text.read spec.json`.

The spec names `input` and `output` (paths; contracts.corpus.Text is written there), the document's `document` (id),
`path`, `format` and `sha256`, and `ocr` (whether scanned pages are read). The result is printed as one JSON object. It
has no network, and the kernel ends it when its time is over.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from contracts.corpus import Text
from functions._shared.child import answer
from functions.extract_text.core import MAX_CHARACTERS, Extracted, UnreadableError, settled, too_complex
from functions.extract_text.no_network import give_up_network
from functions.extract_text.office import FORMATS, read_office

SECONDS = 120
OCR_SECONDS = 1800
"""Where pages are scanned."""
_TEXT_FORMATS = ("rtf", "html", "md", "txt", "csv", "json", "jsonl")
_MAX_TEXT_BYTES = 4 * MAX_CHARACTERS


def read(path: Path, format: str, ocr: bool = True, depth: int = 0) -> Extracted:
    """Return what is in the document at `path`; UnreadableError when that is nothing.

    Libraries are imported by format: unstructured takes seconds. `depth`: in how many mails the document lies.
    """
    if format == "pdf":
        from functions.extract_text.pdf import read_pdf

        return read_pdf(path, _patiently if ocr else None)
    if format in FORMATS:
        return read_office(path, format)
    if format in ("eml", "msg"):
        return _read_mail(path, format, ocr, depth)
    if format not in _TEXT_FORMATS:  # an outside publisher may say anything
        known = ", ".join(("pdf", *FORMATS, "eml", "msg", *_TEXT_FORMATS))
        raise UnreadableError("unsupported_format", f"Documents are of {known}. Convert it.")
    if path.stat().st_size > _MAX_TEXT_BYTES:
        raise too_complex(f"{_MAX_TEXT_BYTES // 10**6} MB of {format}")
    data = path.read_bytes()
    if format in ("html", "md"):
        return _read_page(data, format)
    if format == "txt":
        from functions.extract_text.plain import read_plain

        return read_plain(data)
    if format == "rtf":
        from functions.extract_text.rtf import read_rtf

        return read_rtf(data)
    from functions.extract_text import rows

    return {"csv": rows.read_csv, "json": rows.read_json, "jsonl": rows.read_jsonl}[format](data)


def _read_mail(path: Path, format: str, ocr: bool, depth: int) -> Extracted:
    from functions.extract_text.mail import read_eml, read_msg

    def attached(inner: Path, kind: str, deeper: int) -> Extracted:
        return read(inner, kind, ocr, deeper)

    try:
        return (read_eml if format == "eml" else read_msg)(path, attached, depth)
    except (MemoryError, RecursionError, UnreadableError):
        raise
    except Exception as error:  # a library may say anything of a broken mail
        message = f"The mail cannot be read. Save it again as EML and upload that. ({type(error).__name__})"
        raise UnreadableError("broken_document", message) from error


def _patiently(width: int, height: int, grey: bytes) -> str:
    from functions.extract_text.ocr import recognised

    signal.alarm(OCR_SECONDS)
    return recognised(width, height, grey)


def _read_page(data: bytes, format: str) -> Extracted:
    from functions.extract_text.decode import decoded
    from functions.extract_text.draft import composed
    from functions.extract_text.partition import partition_text

    text, problems = decoded(data)
    return composed(partition_text(format, text) if text.strip() else (), problems)


def _result(spec: dict[str, Any]) -> dict[str, Any]:
    try:
        found = settled(read(Path(spec["input"]), spec["format"], spec["ocr"]))
    except UnreadableError as error:
        return {"ok": False, "code": error.code, "message": str(error), "page": error.page}
    except RecursionError:
        message = "The document is nested too deeply to be read. Save it in a simpler form."
        return {"ok": False, "code": "document_too_complex", "message": message, "page": None}
    text = Text(
        document=spec["document"],
        path=spec["path"],
        format=spec["format"],
        sha256=spec["sha256"],
        paged=found.paged,
        pages=found.pages,
        elements=found.elements,
    )
    Path(spec["output"]).write_text(text.model_dump_json(), encoding="utf-8")
    return {
        "ok": True,
        "pages": len(found.pages),
        "characters": sum(len(page.text) for page in found.pages),
        "problems": [problem.model_dump() for problem in found.problems],
    }


def main() -> int:
    """Read the document that the spec names and print the result."""
    signal.alarm(SECONDS)
    give_up_network()
    return answer(_result)


if __name__ == "__main__":
    sys.exit(main())
