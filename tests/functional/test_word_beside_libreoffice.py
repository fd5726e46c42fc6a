"""Made Word documents have the text that LibreOffice shows of them, where that is what Word shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from functions.extract_text.office import read_office
from tests.unit.extract_text.word_cases import CASES, word

OFFICE = shutil.which("soffice")
UNLIKE = {
    "its text export keeps what is deleted, moved away or hidden": (
        "deletion",
        "moved away",
        "hidden",
        "hidden by style",
        "deletion in an insertion",
        "hidden in a control in a link",
        "deleted row",
    ),
    "its text export has no text boxes, notes and formulas": (
        "text box",
        "control in a text box",
        "text box in an insertion",
        "footnote",
        "endnote in a control",
        "footnote in a cell",
        "formula",
    ),
    "it drops or changes what Word shows": (
        "link in insertion",
        "field in the result of a field",
        "field that never ends",
        "marks in a run",
        "symbols",
    ),
    "a table of contents repeats the headings and is left out here": ("contents",),
}
"""Why LibreOffice is no judge of a case."""


@pytest.mark.slow
@pytest.mark.skipif(OFFICE is None, reason="LibreOffice is not on PATH")
@pytest.mark.timeout(300)
def test_made_documents_have_the_words_that_libreoffice_shows(tmp_path: Path) -> None:
    judged = [name for name in CASES if not any(name in names for names in UNLIKE.values())]
    paths = [tmp_path / f"{number:02}.docx" for number in range(len(judged))]
    for name, path in zip(judged, paths, strict=True):
        path.write_bytes(word(CASES[name][0]))
    profile, text = f"-env:UserInstallation=file://{tmp_path}/profile", "txt:Text (encoded):UTF8"
    command = [OFFICE or "", "--headless", profile, "--convert-to", text, "--outdir", str(tmp_path), *map(str, paths)]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    assert len(judged) >= 45
    for name, path in zip(judged, paths, strict=True):
        found = read_office(path, "docx")
        ours = found.pages[0].text.replace(" | ", " ").replace("| ", "").split()
        assert ours == path.with_suffix(".txt").read_text(encoding="utf-8-sig").split(), name
