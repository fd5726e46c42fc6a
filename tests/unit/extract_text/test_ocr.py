"""The program that reads images, as it is spoken to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from functions.extract_text import ocr
from functions.extract_text.ocr import OcrError, recognised

IMAGE = (4, 2, bytes(8))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where a script under the program's name is looked for."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ocr._languages.cache_clear()
    yield tmp_path / ocr.PROGRAM
    ocr._languages.cache_clear()


def write(path: Path, script: str) -> None:
    """Put a shell script there."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


LISTS = 'if [ "$1" = --list-langs ]; then printf "List of languages (3):\\ndeu\\neng\\nosd\\n"; exit; fi'


def test_the_image_goes_in_and_text_comes_out_in_every_language_installed(program: Path) -> None:
    write(program, f'{LISTS}\necho "$@"\nhead -n 1\nwc -c')
    said = recognised(*IMAGE).split("\n")
    assert said[:2] == ["stdin stdout -l deu+eng", "P5 4 2 255"]


def test_no_language_and_a_failing_program_say_so(program: Path) -> None:
    write(program, 'echo "List of languages (1):"; echo osd')
    with pytest.raises(OcrError, match="no language"):
        recognised(*IMAGE)
    write(program, f"{LISTS}\nexit 3")
    with pytest.raises(OcrError, match="status 3"):
        recognised(*IMAGE)


def test_the_program_of_this_machine_reads_what_is_written_or_is_said_to_be_missing() -> None:
    image = Image.new("L", (900, 160), 255)
    ImageDraw.Draw(image).text((40, 40), "Disconnect the power", fill=0, font_size=64)
    if shutil.which(ocr.PROGRAM):
        assert recognised(image.width, image.height, image.tobytes()).strip() == "Disconnect the power"
    else:
        with pytest.raises(FileNotFoundError, match=ocr.PROGRAM):
            recognised(image.width, image.height, image.tobytes())
