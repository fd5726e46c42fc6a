"""Word documents: checked, made plain, then read by unstructured."""

from __future__ import annotations

import io
import zipfile
from collections import Counter

from lxml import etree

from contracts.events.corpus import Problem
from functions.extract_text.core import Extracted
from functions.extract_text.draft import composed
from functions.extract_text.package import Package
from functions.extract_text.partition import partition_docx
from functions.extract_text.word import WordText
from functions.extract_text.word_styles import W

_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGES = "http://schemas.openxmlformats.org/package/2006"
_UNREAD = {
    "picture": "{n} pictures of the document were not read. Write down what they say, if it matters.",
    "chart": "{n} charts or drawings of the document were not read. Put their numbers into tables.",
    "embedded_object": "{n} objects of other programs in the document were not read. Put them in as text or tables.",
    "embedded_document": "{n} other documents within the document were not read. Upload them by themselves.",
    "symbol": "{n} symbols are of a font whose letters are not known; each was read as \ufffd. Type them as letters.",
}


def read_docx(package: Package) -> Extracted:
    """Return the paragraphs, headings, list items, tables and notes of a Word document as Word shows them."""
    main = next(part for kind, part in package.related().values() if kind == "officeDocument")
    shown = WordText(package, main)
    return composed(partition_docx(_plain(shown)), _problems(shown.unread))


def _problems(unread: Counter[str]) -> tuple[Problem, ...]:
    return tuple(
        Problem(code=f"unread_{kind}", message=sentence.format(n=unread[kind]))
        for kind, sentence in _UNREAD.items()
        if unread[kind]
    )


def _plain(shown: WordText) -> io.BytesIO:
    """Return a Word document of the text that is shown, with its styles and its numbering and nothing else."""
    root = etree.Element(W + "document")
    etree.SubElement(root, W + "body").extend(shown.body)
    parts = {"document": root, "styles": shown.styles.part}
    if shown.styles.numbering is not None:
        parts["numbering"] = shown.styles.numbering
    types = "".join(
        f'<Override PartName="/word/{name}.xml" ContentType="{_TYPE}.{"document.main" if name == "document" else name}'
        '+xml"/>'
        for name in parts
    )
    related = "".join(
        f'<Relationship Id="{name}" Type="{_RELATION}/{name}" Target="{name}.xml"/>' for name in list(parts)[1:]
    )
    top = f'<Relationship Id="main" Type="{_RELATION}/officeDocument" Target="word/document.xml"/>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        default = '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{_PACKAGES}/content-types">{default}{types}</Types>')
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{_PACKAGES}/relationships">{top}</Relationships>')
        archive.writestr(
            "word/_rels/document.xml.rels",
            f'<Relationships xmlns="{_PACKAGES}/relationships">{related}</Relationships>',
        )
        for name, part in parts.items():
            archive.writestr(f"word/{name}.xml", etree.tostring(part))
    out.seek(0)
    return out
