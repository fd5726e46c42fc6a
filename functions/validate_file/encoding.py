"""Which encoding text is in that is not UTF-8: to read a spreadsheet's, and to name any other."""

from __future__ import annotations

import codecs

from charset_normalizer import from_bytes

WINDOWS = "windows-1252"
_KNOWN = {
    "cp1252": WINDOWS,
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1257": "windows-1257",
    "cp437": "cp437 (DOS)",
    "mac_roman": "Mac Roman",
    "koi8_r": "KOI8-R",
    "gb18030": "GB 18030",
    "cp932": "Shift JIS",
    "euc_kr": "EUC-KR",
}
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257")
_MESSIEST, _WORSE = 0.6, 0.2
"""The mess, as charset-normalizer measures it, that text may be, and what Windows-1252 may have more of than the best:
it is what most files of the kind are in, and text with many accents counts as a mess."""
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # it begins with that of UTF-16
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_ZEROS: dict[tuple[int, ...], str] = {
    (0, 1, 1, 1): "UTF-32",
    (1, 1, 1, 0): "UTF-32",
    (0, 1, 0, 1): "UTF-16",
    (1, 0, 1, 0): "UTF-16",
}


def wide(head: bytes) -> str | None:
    """Return UTF-16 or UTF-32 where text begins so, by its mark or by where its first letters have zeros."""
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    return marked or _ZEROS.get(tuple(int(not byte) for byte in head[:4]))


def guess(sample: bytes) -> str | None:
    """Return the likeliest encoding of text that is not UTF-8, by its usual name; None: there is no telling."""
    found = from_bytes(sample, cp_isolation=list(_KNOWN), threshold=_MESSIEST)
    best = found.best()
    if best is None:
        return None
    western = (each for each in found if "cp1252" in (each.encoding, *each.could_be_from_charset))
    return WINDOWS if any(each.chaos <= best.chaos + _WORSE for each in western) else _KNOWN.get(best.encoding)


def is_certain(line: bytes) -> bool:
    """Return whether Windows-1252 is the same text in every encoding of Windows for Latin letters, as German is."""
    try:
        return len({line.decode(name) for name in _LATIN}) == 1
    except UnicodeDecodeError:
        return False
