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


Format = Literal[
    "pdf", "docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "rtf", "eml", "msg",
    "html", "md", "txt", "csv", "json", "jsonl", "zip",
]  # fmt: skip

HEAD = 2**18
"""Bytes that `sniff` wants to see."""
_LOCAL = struct.Struct("<6xH10xL4x2H")
"""A ZIP member's header: flags, packed bytes, lengths of its name and of what stands behind that."""
_LOOK = 2**14  # letters that tables and marks are looked for in: thousands of members must not take minutes

_IMAGE = ("an image", "Save it as PDF with its text")
_UNPACK = "Unpack it, and upload rows as they are or documents as a ZIP"
_ROWS = "Save its rows as JSON lines or CSV"
_MEDIA = ("a sound or a film", "Write down what is said")
_KNOWN: tuple[tuple[int, bytes, str, str], ...] = (  # where it stands, what, what the document is, what to do
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (0, b"BZh", "compressed by bzip2", _UNPACK),
    (0, b"\xfd7zXZ\0", "compressed by xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (0, b"\x89PNG\r\n", *_IMAGE),
    (0, b"\xff\xd8\xff", *_IMAGE),
    (0, b"GIF8", *_IMAGE),
    (0, b"II*\0", *_IMAGE),
    (0, b"MM\0*", *_IMAGE),
    (8, b"WEBP", *_IMAGE),
    (4, b"ftyphei", *_IMAGE),
    (0, b"<svg", *_IMAGE),
    (4, b"ftyp", *_MEDIA),
    (0, b"ID3", *_MEDIA),
    (0, b"OggS", *_MEDIA),
    (0, b"fLaC", *_MEDIA),
    (8, b"WAVE", *_MEDIA),
    (0, b"\x1aE\xdf\xa3", *_MEDIA),
    (0, b"%!PS", "a PostScript document", "Save it as PDF"),
    (0, b"AT&TFORM", "a DjVu document", "Save it as PDF with its text"),
    (0, b"ITSF", "a compiled help file (.chm)", "Save it as HTML or PDF"),
    (60, b"BOOKMOBI", "a Kindle book", "Save it as EPUB"),
    (0, b"\xffWPC", "a WordPerfect document", "Save it as DOCX"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4", _UNPACK),
    (0, b"PAR1", "a Parquet table", _ROWS),
    (0, b"ARROW1\0\0", "an Arrow table", _ROWS),
    (0, b"Obj\1", "an Avro table", _ROWS),
    (0, b"SQLite format 3\0", "a database of SQLite", _ROWS),
    (0, b"\x93NUMPY", "an array of NumPy", _ROWS),
    (0, b"\x80\4\x95", "a pickle of Python", _ROWS),
    (0, b"\x7fELF", "a program", "Upload the documents themselves"),
    (0, b"MZ\x90\0", "a program", "Upload the documents themselves"),
)
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STREAMS = (  # a mail may hold documents, and a document a workbook: the first that is found counts
    ("__properties_version1.0", "msg", "", ""),
    ("EncryptedPackage", "encrypted", "an Office document with a password", "Save it without one"),
    ("WordDocument", "unsupported", "a Word document of the old kind (.doc)", "Save it as DOCX"),
    ("PowerPoint Document", "unsupported", "a PowerPoint presentation of the old kind (.ppt)", "Save it as PPTX"),
    ("Workbook", "unsupported", "an Excel workbook of the old kind (.xls)", "Save it as XLSX, or its rows as CSV"),
    ("Book", "unsupported", "an Excel workbook of the old kind (.xls)", "Save it as XLSX, or its rows as CSV"),
    ("VisioDocument", "unsupported", "a Visio drawing", "Save it as PDF"),
)
_OFFICE = re.compile(r"\[Content_Types\]\.xml|_rels/\.rels|docProps/.+|(?:word|xl|ppt)/.+\.(?:xml|rels|bin)")
_ODF = b"application/vnd.oasis.opendocument."
_OF_ODF: dict[bytes, Format] = {b"text": "odt", b"spreadsheet": "ods", b"presentation": "odp"}
_MAIL = re.compile(r"(?:[A-Za-z][\w-]{1,60}:[^\n]{0,1000}\n(?:[ \t][^\n]{0,1000}\n){0,100}){2,200}")
_MAIL_NAMES = re.compile(r"(?im)^(from|date|subject|message-id|mime-version|received|return-path):")
_MANUAL = re.compile(r"(?:(?:[.']\\\"[^\n]*)?\n){0,200}\.(?:TH|Dd)[ \t]")
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
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes, size: int) -> Format | Skip:
    """Return what a document of `size` bytes is by its first HEAD bytes, or why nothing can be made of it.

    Whether a ZIP is a document or an archive, `container` says.
    """
    whole = size <= len(head)
    found = magic(head)
    if found is not None:
        return found
    text = _text(head, whole)
    if text is None and b"%PDF-" in head[:1024]:
        return "pdf"
    if text is None:
        return Skip("unsupported", "It is of no known kind. Save it as PDF, DOCX, XLSX, PPTX, HTML, text or CSV.")
    start = text.lstrip("\ufeff \t\r\n\f")
    if not start:
        return Skip("empty", "It has nothing but white space.") if whole else "txt"
    found = _json(start, whole) or _markup(start) or _marked_lines(start)
    if found is not None:
        return found
    look = text.removeprefix("\ufeff")[:_LOOK].replace("\r\n", "\n")
    if _is_table(look, whole and len(text) <= _LOOK):
        return "csv"
    is_html = _FRAGMENT.match(start) is not None
    if _MARKDOWN.search(_outside_html(look) if is_html else look):
        return "md"
    return "html" if is_html else "txt"


def magic(head: bytes) -> Format | Skip | None:
    """Return what a document says of itself by its first bytes; None: it is text, or nothing that is known."""
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head.startswith(b"{\\rtf"):
        return "rtf"
    if head.startswith(_COMPOUND):
        return compound(head)
    for at, mark, what, advice in _KNOWN:
        if head.startswith(mark, at):
            return Skip("unsupported", f"It is {what}. {advice}.")
    return "pdf" if head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-") else None


def foreign(head: bytes) -> Skip | None:
    """Return why neither rows nor a document can begin so, None for anything that may."""
    known = magic(head)
    known = begins(head) if known == "zip" else known
    return known if isinstance(known, Skip) else None


def begins_rows(head: bytes) -> bool:
    """Tell whether JSON lines that begin so are rows for training: chats, or prompts with their completions."""
    try:
        row = json.loads(head.partition(b"\n")[0].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and ("messages" in row or row.keys() >= {"prompt", "completion"})


def compound(data: bytes) -> Format | Skip:
    """Return what a compound file (OLE) is by the names of its streams, which stand anywhere in it."""
    for name, code, what, advice in _STREAMS:
        if f"{name}\0".encode("utf-16-le") in data:
            return "msg" if code == "msg" else Skip(code, f"It is {what}. {advice}.")
    what = "an Office document of the old kind (.doc, .xls, .ppt), or one with a password"
    return Skip("unsupported", f"It is {what}. Save it as DOCX, XLSX or PPTX without a password.")


def container(names: Collection[str], head: bytes = b"") -> Format | Skip:
    """Return what a ZIP with these names in it is, or why nothing can be made of it; `head`: its first bytes."""
    if any(map(_OFFICE.fullmatch, names)):
        if "xl/workbook.bin" in names:
            return Skip("unsupported", "It is a binary Excel workbook (.xlsb). Save it as XLSX.")
        kinds: tuple[tuple[str, Format], ...] = (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx"))
        for folder, kind in kinds:
            if any(name.startswith(folder) for name in names):
                return kind
        if "[Content_Types].xml" in names:
            return Skip("unsupported", "It is an Office document of another kind, such as a drawing. Save it as PDF.")
    if "mimetype" in names and "META-INF/container.xml" in names:
        return "epub"
    if "mimetype" in names and "content.xml" in names:
        return _open_document(head) or "odt"
    if any(name.endswith((".iwa", "index.apxl")) for name in names):
        return Skip("unsupported", "It is of Apple's Pages, Numbers or Keynote. Export it as DOCX, XLSX or PPTX.")
    if "META-INF/MANIFEST.MF" in names:
        return Skip("unsupported", "It is a program. Pack the documents themselves.")
    return "zip"


def begins(head: bytes) -> Format | Skip:
    """Return what a ZIP that begins so is, as far as the names of its first members tell: `zip` where they do not."""
    names = set(leading_names(head))
    if "mimetype" in names and b"application/epub+zip" in head[:100]:
        return "epub"
    found = container(names, head)
    if not isinstance(found, Skip):
        opened = _open_document(head)
        if found == "zip" and opened is not None:
            return opened
        return "docx" if found == "zip" and any(map(_OFFICE.fullmatch, names)) else found
    # The folder that tells may come later: whoever reads it sees the whole.
    return "docx" if "[Content_Types].xml" in names and ".xlsb" not in found.message else found


def _open_document(head: bytes) -> Format | None:
    """Return what an OpenDocument file says of itself in its first member, which is not packed."""
    at = head.find(_ODF, 0, 100)
    if at < 0:
        return None
    kind = re.match(rb"[a-z]*", head[at + len(_ODF) : at + len(_ODF) + 32])
    return _OF_ODF.get(kind[0], "odt") if kind else "odt"


def leading_names(head: bytes) -> Iterator[str]:
    """Yield the names of a ZIP's first members, as far as its first bytes tell; not of what lies inside of them."""
    at = 0
    while at >= 0 and head.startswith(b"PK\3\4", at) and len(head) >= at + _LOCAL.size:
        flags, packed, name, extra = _LOCAL.unpack_from(head, at)
        at += _LOCAL.size
        yield head[at : at + name].decode("latin-1")
        if flags & 8 and not packed:  # its length stands behind it: the next one is looked for
            at = head.find(b"PK\3\4", at + name + extra)
        else:
            at += name + extra + packed


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


def _marked_lines(start: str) -> Literal["eml"] | Skip | None:
    """Return `eml` for a mail, a refusal of mailboxes and of sources of manual pages, None for anything else."""
    text = start[:_LOOK].replace("\r\n", "\n")
    if _MANUAL.match(text):
        return Skip("unsupported", "It is the source of a manual page (troff). Save what `man` shows as text or PDF.")
    mailbox = text.startswith("From ")
    headers = _MAIL.match(text.partition("\n")[2] if mailbox else text)
    if headers is None or len({name.lower() for name in _MAIL_NAMES.findall(headers[0])}) < 3:
        return None
    return Skip("unsupported", "It is a mailbox (mbox). Save its mails as EML files.") if mailbox else "eml"


def _outside_html(text: str) -> str:
    """Return what stands between blocks of HTML, as Markdown sees them: each goes on to the next empty line."""
    kept, at = [], 0
    while at < len(text):  # what code shows counts for nothing
        opened = re.compile(r"<(pre|script|style|!--)", re.I).search(text, at)
        kept.append(text[at : opened.start() if opened else len(text)])
        if opened is None:
            break
        closing = "-->" if opened[1] == "!--" else f"</{opened[1].lower()}"
        closed = text.lower().find(closing, opened.end())
        at = len(text) if closed < 0 else closed
    blocks = re.split(r"\n[ \t]*\n", "".join(kept))
    return "\n\n".join(block for block in blocks if not block.lstrip().startswith("<"))


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
