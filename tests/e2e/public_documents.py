"""Public documents that are wherever Temper is: licences and descriptions of the packages that it installs."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from email import message_from_string
from importlib.metadata import Distribution, distributions
from xml.sax.saxutils import escape

import markdown
from docx import Document
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate

from tests.sizes import sized

LICENCES, DESCRIPTIONS, AS_HTML, AS_DOCX, AS_PDF = sized(30, 90), 7, 2, 2, sized(4, 8)
"""How many of what; of half of the PDFs the text is in the archive, too."""
_LICENCE = re.compile(r"licen[cs]e|copying|notice", re.I)
_BLANK = re.compile(r"\n\s*\n")


def documents() -> dict[str, bytes]:
    """Return name → bytes; the same ones wherever the same packages are installed."""
    found = {each.name.lower(): each for each in distributions() if each.name.lower() != "temper"}
    packages = [found[name] for name in sorted(found)]
    licences = dict(_spread([each for package in packages for each in _licences(package)], LICENCES))
    described = [each for package in packages for each in _description(package)]
    descriptions = dict(_spread(described, DESCRIPTIONS + AS_HTML + AS_DOCX))
    made = [*licences.items()]
    for place, (name, text) in enumerate(descriptions.items()):
        if place % 4 == 1 and place < 4 * AS_HTML:
            page = f"<!doctype html>\n<title>{escape(name)}</title>\n{markdown.markdown(text)}"
            made.append((f"{name}.html", page))  # a fragment with marks of Markdown in it is that
        elif place % 4 == 3 and place < 4 * AS_DOCX:
            made.append((f"{name}.docx", docx(text)))
        else:
            made.append((name, text))
    others = [each for each in described if each[0] not in descriptions]
    for texts in (licences.items(), others):
        long = [each for each in texts if len(each[1]) > 7000 and each[1].isascii()]  # as its font has no more letters
        made += [(f"{name}.pdf", pdf(text)) for name, text in _spread(long, AS_PDF // 2)]
    return {name: content if isinstance(content, bytes) else content.encode() for name, content in made}


def pdf(text: str) -> bytes:
    """Return a text as a PDF of as many pages as it takes; the same text gives the same bytes."""
    out, style = io.BytesIO(), getSampleStyleSheet()["BodyText"]
    story = [Paragraph(escape(block), style) for block in _BLANK.split(text) if block.strip()]
    SimpleDocTemplate(out, invariant=1).build(story)
    return out.getvalue()


def docx(text: str) -> bytes:
    """Return a text as a Word document; the same text gives the same bytes."""
    document, saved, out = Document(), io.BytesIO(), io.BytesIO()
    for block in _BLANK.split(text):
        document.add_paragraph(" ".join(block.split()))
    document.save(saved)
    with zipfile.ZipFile(saved) as dated, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as undated:
        for name in dated.namelist():
            undated.writestr(zipfile.ZipInfo(name), dated.read(name))
    return out.getvalue()


def _licences(package: Distribution) -> Iterator[tuple[str, str]]:
    named = sorted(each for each in package.files or () if ".dist-info" in each.parts[0] and _LICENCE.search(each.name))
    for file in named[:2]:  # some packages carry hundreds
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if 400 < len(text) < 60_000:
            yield f"{package.name}/{file.name}", text


def _description(package: Distribution) -> Iterator[tuple[str, str]]:
    # not `package.metadata`: importlib_metadata, where somebody has imported it, puts its own in the place of Python's
    metadata = message_from_string(package.read_text("METADATA") or "")
    text = metadata.get_payload()
    if isinstance(text, str) and 2000 < len(text) < 30_000:
        suffix = "rst" if "x-rst" in (metadata["Description-Content-Type"] or "") else "md"
        yield f"{package.name}/README.{suffix}", text


def _spread(given: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Return `count` of them, evenly."""
    return [given[place * len(given) // count] for place in range(count)] if len(given) > count else list(given)
