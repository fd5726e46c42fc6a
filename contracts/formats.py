"""What a document is, by its content: its name may say anything."""

from __future__ import annotations

import codecs
import csv
import json
import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Skip:
    """Why nothing is made of a document."""

    code: str
    message: str


Format = Literal["pdf", "docx", "html", "md", "txt", "csv", "json", "jsonl", "zip"]

HEAD = 2**18
"""Bytes that `sniff` wants to see."""
_LOCAL = struct.Struct("<6xH10xL4x2H")
"""A ZIP member's header: flags, packed bytes, lengths of its name and of what stands behind that."""
_LOOK = 2**14  # letters that tables and marks are looked for in: thousands of members must not take minutes

_UNPACK = "Unpack it, and upload rows as they are or documents as a ZIP"
_ROWS = "Save its rows as JSON lines or CSV"
_KNOWN: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document of the old kind or with a password", "Save it as DOCX"),
    (b"{\\rtf", "an RTF document", "Save it as DOCX"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\0", "compressed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (b"\x04\x22\x4d\x18", "compressed by lz4", _UNPACK),
    (b"PAR1", "a Parquet table", _ROWS),
    (b"ARROW1\0\0", "an Arrow table", _ROWS),
    (b"Obj\1", "an Avro table", _ROWS),
    (b"SQLite format 3\0", "a database of SQLite", _ROWS),
    (b"\x93NUMPY", "an array of NumPy", _ROWS),
    (b"\x80\4\x95", "a pickle of Python", _ROWS),
    (b"\x89PNG\r\n", "an image", "Save it as PDF with its text"),
    (b"\xff\xd8\xff", "an image", "Save it as PDF with its text"),
    (b"GIF8", "an image", "Save it as PDF with its text"),
    (b"II*\0", "an image", "Save it as PDF with its text"),
    (b"MM\0*", "an image", "Save it as PDF with its text"),
)
_PAGE = re.compile(r"<!doctype\s+html|<(?:html|head|body)[\s>]", re.IGNORECASE)
_FRAGMENT = re.compile(r"<(?:title|meta|div|p|h[1-6]|table|ul|ol|section|article|main|header|span|b|br)[\s/>]", re.I)
_MARKDOWN = re.compile(
    r"""(?:\A|\n[ \t]*\n)\#{2,6}[ \t]+\S                           # a heading behind an empty line
    | (?:\A|\n[ \t]*\n)\#[ \t]+\S[^\n]*(?:\n[ \t]*\n|\n?\Z)      # between two: else it may be a comment in code
    | ^[ ]{0,3}(?:```|~~~)                                          # a fence
    | ^\S.*\n={3,}[ \t]*$                                           # an underlined heading
    | ^\|?[ \t]*:?-{3,}:?[ \t]*\|                                   # the rule of a table
    | [\w.!?"'`]\]\((?:https?://|mailto:|[#./]|[\w-]{1,100}[./])    # a link
    | (?<!\w)\*\*[^\s*](?:[^*\n]{0,200}[^\s*])?\*\*(?!\w)           # something bold
    """,
    re.MULTILINE | re.VERBOSE,
)
_OF_WORD = re.compile(r"\[Content_Types\]\.xml|_rels/\.rels|(?:word|docProps)/.+\.(?:xml|rels)")
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes, size: int) -> Format | Skip:
    """Return what a document of `size` bytes is by its first HEAD bytes, or why nothing can be made of it.

    Whether a ZIP is a document or an archive, `container` says.
    """
    whole = size <= len(head)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    known = foreign(head)
    if known is not None:
        return known
    if head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-"):
        return "pdf"
    text = _text(head, whole)
    if text is None and b"%PDF-" in head[:1024]:
        return "pdf"
    if text is None:
        return Skip("unsupported", "It is no PDF, DOCX, HTML, Markdown, text, CSV or JSON. Save it as one of these.")
    start = text.lstrip("\ufeff \t\r\n\f")
    if not start:
        return Skip("empty", "It has nothing but white space.") if whole else "txt"
    found = _json(start, whole) or _markup(start)
    if found is not None:
        return found
    look = text.removeprefix("\ufeff")[:_LOOK].replace("\r\n", "\n")
    if _is_table(look, whole and len(text) <= _LOOK):
        return "csv"
    if _MARKDOWN.search(look):
        return "md"
    return "html" if _FRAGMENT.match(start) else "txt"


def foreign(head: bytes) -> Skip | None:
    """Return why neither rows nor a document can begin so, None for anything that may."""
    for magic, what, advice in _KNOWN:
        if head.startswith(magic):
            return Skip("unsupported", f"It is {what}. {advice}.")
    return Skip("unsupported", f"It is a tar archive. {_UNPACK}.") if head[257:262] == b"ustar" else None


def begins_rows(head: bytes) -> bool:
    """Tell whether JSON lines that begin so are rows for training: chats, or prompts with their completions."""
    try:
        row = json.loads(head.partition(b"\n")[0].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and ("messages" in row or row.keys() >= {"prompt", "completion"})


def container(names: Collection[str]) -> Literal["docx", "zip"] | Skip:
    """Return what a ZIP with these names in it is, or why nothing can be made of it."""
    if "word/document.xml" in names:
        return "docx"
    if "[Content_Types].xml" in names:
        return Skip("unsupported", "It is an Office document other than DOCX. Save it as PDF, or a table as CSV.")
    if "mimetype" in names:
        return Skip("unsupported", "It is an OpenDocument file or an EPUB. Save it as PDF or DOCX.")
    if "META-INF/MANIFEST.MF" in names:
        return Skip("unsupported", "It is a program. Pack the documents themselves.")
    return "zip"


def leading_names(head: bytes) -> Iterator[str]:
    """Yield the names of a ZIP's first members, as far as its first bytes tell; not of what lies inside of them."""
    at = 0
    while head.startswith(b"PK\3\4", at) and len(head) >= at + _LOCAL.size:
        flags, packed, name, extra = _LOCAL.unpack_from(head, at)
        at += _LOCAL.size
        yield head[at : at + name].decode("latin-1")
        if flags & 8 and not packed:  # its length stands behind it
            return
        at += name + extra + packed


def begins_word(head: bytes) -> bool:
    """Tell whether a ZIP that begins so is a Word document, by the names of its first members."""
    return any(map(_OF_WORD.fullmatch, leading_names(head)))


def _text(head: bytes, whole: bool) -> str | None:
    """Return the letters of a text, None for what is no text; a letter that is cut off at the end does not count."""
    encoding = "utf-8"
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        encoding = "utf-32"
    elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, whole)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            return None
        text = head.decode("latin-1")  # of an older encoding: no text has control characters
        return None if _CONTROL.search(text) else text
    controls = len(_CONTROL.findall(text))
    return None if "\0" in text or controls * 100 > len(text) else text


def _json(start: str, whole: bool) -> Literal["json", "jsonl"] | None:
    """Return whether a text that begins like JSON is that; a bracket may begin anything."""
    if start[0] not in "{[":
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(start)
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated") or error.pos >= len(start) - 16
        return "json" if cut and not whole else None
    except (RecursionError, ValueError):  # nested too deeply, or a number too long: JSON that a reader will refuse
        return "json"
    rest = start[end:].lstrip(" \t\r")
    if not rest.strip():
        return "json"
    return "jsonl" if start[0] == "{" and rest[0] == "\n" and rest.lstrip().startswith("{") else None


def _markup(start: str) -> Literal["html"] | Skip | None:
    """Return `html` for a whole page, a refusal of other XML, None for anything else."""
    at = 0
    while start.startswith(("<!--", "<?"), at):
        closing = "-->" if start.startswith("<!--", at) else ">"
        closed = start.find(closing, at + 2)
        if closed < 0:
            break
        at = closed + len(closing)
        while start[at : at + 1].isspace():
            at += 1
    if _PAGE.match(start, at):
        return "html"
    if not start.startswith("<?xml"):
        return None
    return Skip("unsupported", "It is XML, but not a page of HTML. Save it as HTML or text.")


def _is_table(text: str, whole: bool) -> bool:
    """Return whether every record has as many cells as the first, two at least; the last may be cut off."""
    for delimiter in ",;\t":
        rows: list[list[str]] = []
        try:
            rows.extend(csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True))
        except csv.Error as error:
            if whole or "unexpected end" not in str(error):
                continue
        if not whole and len(rows) > 1:
            del rows[-1]
        rows = [row for row in rows if row]
        if not rows or len(rows[0]) < 2 or (whole and len(rows) < 2):
            continue
        later = [cell for row in rows for cell in row[1:]]
        prose = sum(cell.startswith(" ") for cell in later) * 2 > len(later)  # a comma and a space: a sentence
        if not prose and all(len(row) == len(rows[0]) for row in rows):
            return True
    return False
