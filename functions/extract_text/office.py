"""Documents that are archives, whatever their names say: what is in one decides who reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from contracts.formats import HEAD, Skip, compound, container, magic
from functions.extract_text.core import Extracted, UnreadableError
from functions.extract_text.package import Package

FORMATS = ("docx", "xlsx", "pptx", "odt", "ods", "odp", "epub")
_NAMES = {
    "docx": "a Word document",
    "xlsx": "an Excel workbook",
    "pptx": "a PowerPoint presentation",
    "epub": "a book in EPUB",
}


def read_office(path: Path, format: str) -> Extracted:
    """Return the text of a document of one of FORMATS, which the content may say better than `format`."""
    head = _bytes(path, HEAD)
    known = magic(head)
    if known != "zip":
        skip = compound(_bytes(path)) if isinstance(known, Skip) and head.startswith(b"\xd0\xcf") else known
        raise _refusal(skip, format)
    kind = format
    try:
        package = Package(path)
        found = container(package.names, head)
        if isinstance(found, Skip):
            raise _refusal(found, format)
        kind = format if found == "zip" else found
        return _reader(kind)(path, package)
    except (MemoryError, RecursionError, UnreadableError):
        raise
    except Exception as error:  # a library may say anything of a broken document
        raise _broken(kind, type(error).__name__) from error


def _bytes(path: Path, most: int = -1) -> bytes:
    with path.open("rb") as file:
        return file.read(most)


def _reader(kind: str) -> Callable[[Path, Package], Extracted]:
    """Return what reads a kind; its libraries are imported when it is."""
    if kind == "docx":
        from functions.extract_text.docx import read_docx

        return lambda _, package: read_docx(package)
    if kind == "xlsx":
        from functions.extract_text.xlsx import read_xlsx

        return read_xlsx
    if kind == "pptx":
        from functions.extract_text.pptx import read_pptx

        return read_pptx
    if kind == "epub":
        from functions.extract_text.epub import read_epub

        return lambda _, package: read_epub(package)
    from functions.extract_text.odf import read_odf

    return lambda _, package: read_odf(package)


def _refusal(known: object, format: str) -> UnreadableError:
    if isinstance(known, Skip):
        return UnreadableError("encrypted" if known.code == "encrypted" else "unsupported_format", known.message)
    return _broken(format, "no archive" if known is None else f"it is {str(known).upper()}")


def _broken(kind: str, why: str) -> UnreadableError:
    name = _NAMES.get(kind, "an OpenDocument file")
    message = f"The document is not {name} that can be read. Open it, save it as .{kind} again and upload that. ({why})"
    return UnreadableError("broken_document", message)
