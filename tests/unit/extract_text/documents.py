"""Documents made for tests: PDFs with everything around the text, Word files, hostile ones."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import docx
from reportlab.lib import pdfencrypt
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas
from reportlab.platypus import (
    ListFlowable,
    ListItem,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

ROWS = (("Model", "Weight in kg", "Price"), ("A1", "3", "100 EUR"), ("A2", "14", "2,000 EUR"))


def sentences(page: int, count: int) -> str:
    """Return `count` sentences that no other page has."""
    return " ".join(
        f"Device {page}-{number} keeps a record of every reading and sends it when the network returns."
        for number in range(count)
    )


def expected(page: int) -> list[tuple[str, int | None, str]]:
    """Return kind, level and text of what a page of `handbook` holds."""
    return [
        ("title", 1, f"Operating mode {page}"),
        ("text", None, sentences(page, 4)),
        ("text", None, sentences(page + 1000, 3)),
        ("title", 2, "Settings of the device"),
        ("list", None, sentences(page + 2000, 2)),
        ("list", None, sentences(page + 3000, 1)),
        *(("table", None, " | ".join(row)) for row in ROWS),
        ("text", None, sentences(page + 4000, 2)),
    ]


def handbook(pages: int) -> bytes:
    """Return a PDF of `pages` pages, each as `expected` says, with running headers and page numbers."""
    styles = getSampleStyleSheet()
    story: list[Any] = []
    for page in range(1, pages + 1):
        title, first, second, subtitle, *items, last = (
            text for kind, _, text in expected(page) if kind in ("title", "text", "list")
        )
        story += [Paragraph(title, styles["Heading1"]), Paragraph(first, styles["BodyText"])]
        story += [Paragraph(second, styles["BodyText"]), Paragraph(subtitle, styles["Heading2"])]
        story.append(
            ListFlowable([ListItem(Paragraph(item, styles["BodyText"])) for item in items], bulletType="bullet")
        )
        story += [Spacer(1, 12), Table(ROWS, colWidths=[120, 150, 100]), Spacer(1, 12)]
        story += [Paragraph(last, styles["BodyText"]), PageBreak()]

    def decorate(page: Any, document: Any) -> None:
        page.setFont("Helvetica", 9)
        page.drawString(72, A4[1] - 40, "Acme Handbook 2026")
        page.drawCentredString(A4[0] / 2, 30, f"Page {document.page} of {pages}")

    out = io.BytesIO()
    SimpleDocTemplate(out, pagesize=A4).build(story, onFirstPage=decorate, onLaterPages=decorate)
    return out.getvalue()


def lines_pdf(*pages: Sequence[str], password: str | None = None) -> bytes:
    """Return a PDF with a page for each list of lines, which make one paragraph."""
    out = io.BytesIO()
    encrypt = pdfencrypt.StandardEncryption(password) if password else None
    page = canvas.Canvas(out, pagesize=A4, encrypt=encrypt)
    for lines in pages:
        text = page.beginText(72, 700)
        for line in lines:
            text.textLine(line)
        page.drawText(text)
        page.showPage()
    page.save()
    return out.getvalue()


def scanned_pdf(words: str, *lines: str) -> bytes:
    """Return a PDF whose first page is an image of `words`, and whose second page has text."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (800, 200), 255)
    ImageDraw.Draw(image).text((40, 60), words, fill=0, font_size=48)
    out = io.BytesIO()
    page = canvas.Canvas(out, pagesize=A4)
    page.drawImage(ImageReader(image), 72, 500, width=400, height=100)
    page.showPage()
    for number, line in enumerate(lines):
        page.drawString(72, 700 - 14 * number, line)
    if lines:
        page.showPage()
    page.save()
    return out.getvalue()


def raw_pdf(*objects: str) -> bytes:
    """Return a PDF of these objects, numbered from 1; the first is the catalog."""
    out = b"%PDF-1.7\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    return out + f"trailer <</Size {len(objects) + 1} /Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n".encode()


def stream(content: str, entries: str = "") -> str:
    """Return a stream object."""
    return f"<<{entries} /Length {len(content)}>>\nstream\n{content}\nendstream"


LOOPS: Mapping[str, bytes] = {
    "pages": raw_pdf("<</Type /Catalog /Pages 2 0 R>>", "<</Type /Pages /Kids [2 0 R 2 0 R] /Count 2>>"),
    "catalog": raw_pdf("<</Type /Catalog /Pages 1 0 R>>"),
    "contents": raw_pdf(
        "<</Type /Catalog /Pages 2 0 R>>",
        "<</Type /Pages /Kids [3 0 R] /Count 1>>",
        "<</Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R>>",
        "[4 0 R 4 0 R]",
    ),
    "forms": raw_pdf(
        "<</Type /Catalog /Pages 2 0 R>>",
        "<</Type /Pages /Kids [3 0 R] /Count 1>>",
        "<</Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources <</XObject <</F 5 0 R>>>>>>",
        stream("/F Do /F Do"),
        stream(
            "/F Do /F Do /F Do",
            "/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources <</XObject <</F 5 0 R>>>>",
        ),
    ),
}
"""PDFs whose objects lead back to themselves."""


def word() -> bytes:
    """Return a Word document with headings, lists, a table, a header and a footer."""
    document = docx.Document()
    document.add_heading("Handbook", 1)
    document.add_paragraph("The device keeps a record of every reading.")
    document.add_heading("Safety", 2)
    document.add_paragraph("Disconnect the power", style="List Bullet")
    document.add_paragraph("Wait for a minute", style="List Number")
    table = document.add_table(2, 2)
    for place, text in enumerate(("Model", "Price", "A1", "100 EUR")):
        table.cell(place // 2, place % 2).text = text
    document.sections[0].header.paragraphs[0].text = "Acme confidential"
    document.sections[0].footer.paragraphs[0].text = "Printed on paper"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word_with(part: str, change: Any) -> bytes:
    """Return `word()` with the bytes of one part changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word())) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for member in before.infolist():
            data = before.read(member)
            after.writestr(member.filename, change(data) if member.filename == part else data)
    return out.getvalue()


def entity_bomb(encoding: str = "utf-8", target: str = "file:///etc/hostname") -> bytes:
    """Return a Word document whose text is another file of the machine, if entities were resolved."""

    def change(data: bytes) -> bytes:
        head, _, rest = data.decode().partition("?>")
        doctype = f'<!DOCTYPE w:document [<!ENTITY x SYSTEM "{target}">]>'
        text = rest.replace("The device", "&x; The device")
        return f"{head.replace('UTF-8', encoding.upper())}?>{doctype}{text}".encode(encoding)

    return word_with("word/document.xml", change)


def word_bomb() -> bytes:
    """Return a Word document of half a megabyte that unpacks to 400 MB."""
    return word_with("word/document.xml", lambda data: data.replace(b"<w:body>", b"<w:body>" + b" " * 400_000_000))


def ole() -> bytes:
    """Return the beginning of what Word writes when a document has a password."""
    return bytes.fromhex("d0cf11e0a1b11ae1") + struct.pack("<I", 0) * 200 + "EncryptedPackage\0".encode("utf-16-le")
