"""The handbook that ships, as a ZIP."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "handbook"
_DATE = (2024, 1, 1, 0, 0, 0)


def handbook_zip() -> bytes:
    """Return the documents that ship with the project as a ZIP, without the note about them."""
    documents = sorted(path for path in FOLDER.iterdir() if path.name != "README.md")
    return zipped((path.name, path.read_bytes()) for path in documents)


def zipped(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a ZIP of the members, in their order and with a fixed date, so that it is the same every time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members:
            made.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()
