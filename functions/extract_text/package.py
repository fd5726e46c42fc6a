"""Office documents are archives of XML: opened within limits, without document types, one part at a time."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote
from xml.parsers import expat

from lxml import etree

from functions.extract_text.core import UnreadableError, too_complex

MAX_BYTES = 256 * 2**20
"""Of a document, unpacked."""
MAX_PARTS = 10_000
_READ_BYTES = 4096
_STRICT = (  # what Word calls "Strict Open XML": the same parts under other names
    (b"http://purl.oclc.org/ooxml/officeDocument/", b"http://schemas.openxmlformats.org/officeDocument/2006/"),
    (b"http://purl.oclc.org/ooxml/wordprocessingml/", b"http://schemas.openxmlformats.org/wordprocessingml/2006/"),
    (b"http://purl.oclc.org/ooxml/spreadsheetml/", b"http://schemas.openxmlformats.org/spreadsheetml/2006/"),
    (b"http://purl.oclc.org/ooxml/presentationml/", b"http://schemas.openxmlformats.org/presentationml/2006/"),
    (b"http://purl.oclc.org/ooxml/drawingml/", b"http://schemas.openxmlformats.org/drawingml/2006/"),
)


class Package:
    """A checked archive of parts, each named by its path."""

    def __init__(self, path: Path) -> None:
        """Refuse archives that grow beyond limits, and parts that declare a document type, as only attacks do."""
        self._archive = zipfile.ZipFile(path)
        members = self._archive.infolist()
        if len(members) > MAX_PARTS:
            raise too_complex(f"{MAX_PARTS:,} parts")
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise too_complex(f"{MAX_BYTES // 2**20} MiB, unpacked")
        if any(member.flag_bits & 1 for member in members):
            raise UnreadableError("encrypted", "The document is protected by a password. Save it without one.")
        for member in members:
            with self._archive.open(member) as part:
                _check_prolog(part, member.filename)
        self.names = frozenset(member.filename for member in members)

    def bytes(self, name: str) -> bytes:
        """Return a part; KeyError when there is none."""
        data = self._archive.read(name)
        if b"purl.oclc.org/ooxml" in data[:_READ_BYTES]:
            for strict, usual in _STRICT:
                data = data.replace(strict, usual)
        return data

    def xml(self, name: str) -> Any:
        """Return a part's root element."""
        return etree.fromstring(self.bytes(name), parser())

    def related(self, name: str = "") -> Mapping[str, tuple[str, str]]:
        """Return what a part (the package itself: "") is related to: id → (last word of the type, name of the part).

        What is not in the package is left out.
        """
        folder, file = posixpath.split(name)
        rels = posixpath.join(folder, "_rels", f"{file}.rels")
        if rels not in self.names:
            return {}
        found = {}
        for each in self.xml(rels):
            if not isinstance(each.tag, str):
                continue
            target = unquote(each.get("Target", ""))
            target = (
                target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
            )
            if target in self.names:
                found[each.get("Id", "")] = (each.get("Type", "").rpartition("/")[2], target)
        return found


def parser() -> Any:
    """Return a parser that resolves no entity and asks nobody."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )


class _ContentBeginsError(Exception):
    """The first element of an XML part was reached."""


def _check_prolog(part: IO[bytes], name: str) -> None:
    """Refuse a document type; whatever its name, a part may be read as XML, and what is no XML has none.

    Pages of an EPUB declare that of XHTML: one without entities of its own harms nobody, for none is ever resolved.
    """
    page = name.lower().endswith((".xhtml", ".html", ".htm", ".opf", ".ncx"))

    def refuse(*declared: Any) -> None:
        if page and not declared[3]:
            return
        message = "The document's XML declares a document type, which could read files. Save it again and upload that."
        raise UnreadableError("xml_doctype", message)

    def stop(*_: object) -> None:
        raise _ContentBeginsError

    reader = expat.ParserCreate()
    reader.StartDoctypeDeclHandler = refuse
    reader.StartElementHandler = stop
    with suppress(_ContentBeginsError, expat.ExpatError):
        while data := part.read(_READ_BYTES):
            reader.Parse(data)
