"""Letters of the fonts Symbol and Wingdings, which Word writes as numbers without a meaning."""

from __future__ import annotations

_SYMBOL = (  # Adobe's encoding of the font, from 0x20
    " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
)
_SYMBOL_HIGH = (  # from 0xA0
    "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪�〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭"
)
_WINGDINGS = {  # those that documents use: marks of lists, boxes to tick, arrows
    0x28: "☎", 0x2A: "✉", 0x4A: "☺", 0x4C: "☹", 0x6C: "●", 0x6E: "■", 0x6F: "□", 0x71: "❑", 0x72: "❒", 0x75: "◆",
    0x76: "❖", 0x77: "⬥", 0x9F: "•", 0xA1: "○", 0xA7: "▪", 0xA8: "◻", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑",
    0xE2: "↓", 0xE8: "➔", 0xEF: "⇦", 0xF0: "⇨", 0xF3: "⬄", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip
_OF_FONT = {
    "symbol": {
        **{0x20 + at: letter for at, letter in enumerate(_SYMBOL)},
        **{0xA0 + at: letter for at, letter in enumerate(_SYMBOL_HIGH)},
    },
    "wingdings": _WINGDINGS,
}
PRIVATE = range(0xF000, 0xF100)
"""Where Word puts the letters of such fonts."""


def letter(code: int, font: str) -> str | None:
    """Return the letter that `font` shows for `code`, None where that is not known."""
    if code in PRIVATE:
        return _OF_FONT.get(font.lower(), {}).get(code - PRIVATE.start)
    known = _OF_FONT.get(font.lower(), {}).get(code)
    return known or (chr(code) if 0x20 <= code < 0xD800 or 0xFA00 <= code < 0x110000 else None)
