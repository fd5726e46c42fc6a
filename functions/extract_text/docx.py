"""Word documents: checked as archives and as XML before a library opens them."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO
from xml.parsers import expat

from functions.extract_text.core import Extracted, UnreadableError, too_complex
from functions.extract_text.draft import composed
from functions.extract_text.partition import partition_docx

MAX_BYTES = 256 * 2**20
"""Of a document, unpacked."""
MAX_PARTS = 10_000
_READ_BYTES = 4096
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_BROKEN = "The document is not a Word document that can be read. Open it in Word, save it as .docx and upload that."


def read_docx(path: Path) -> Extracted:
    """Return the paragraphs, headings, list items and tables of a Word document."""
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            message = (
                "The document is protected by a password, or is of an old kind. Save it as .docx without a password."
            )
            raise UnreadableError("encrypted", message)
    try:
        _check(path)
        return composed(partition_docx(path))
    except (MemoryError, RecursionError, UnreadableError):
        raise
    except Exception as error:  # a library may say anything of a broken document
        raise UnreadableError("broken_document", f"{_BROKEN} ({type(error).__name__})") from error


def _check(path: Path) -> None:
    """Refuse archives that grow beyond limits, and parts that declare a document type, as only attacks do."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_PARTS:
            raise too_complex(f"{MAX_PARTS:,} parts")
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise too_complex(f"{MAX_BYTES // 2**20} MiB, unpacked")
        if any(member.flag_bits & 1 for member in members):
            raise UnreadableError("encrypted", "The document is protected by a password. Save it without one.")
        for member in members:
            with archive.open(member) as part:
                _check_prolog(part)


class _ContentBeginsError(Exception):
    """The first element of an XML part was reached."""


def _check_prolog(part: IO[bytes]) -> None:
    """Refuse a document type; whatever its name, a part may be read as XML, and what is no XML has none."""

    def refuse(*_: object) -> None:
        message = (
            "The document's XML declares a document type, which could read files. Save it in Word and upload that."
        )
        raise UnreadableError("xml_doctype", message)

    def stop(*_: object) -> None:
        raise _ContentBeginsError

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = stop
    with suppress(_ContentBeginsError, expat.ExpatError):
        while data := part.read(_READ_BYTES):
            parser.Parse(data)
