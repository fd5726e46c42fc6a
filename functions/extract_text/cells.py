"""Cells of a workbook as Excel shows them: numbers, dates and texts by their formats."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_DROPPED = re.compile(r"\[\$([^-\]]*)[^\]]*\]|\[[^\]]*\]|_.|\*.|\\(.)|\"([^\"]*)\"")
"""Currency, conditions and colours, room, filling, letters that stand for themselves."""
_NUMBER = re.compile(r"[#0?][#0?,. ]*(?:[eE][+-]?0+)?")
_TOKEN = re.compile(r"(?i)am/pm|a/p|y+|m+|d+|h+|s+(?:\.0+)?")
_AS_DATE = {
    "yy": "%y", "yyyy": "%Y", "mm": "%m", "mmm": "%b", "mmmm": "%B", "dd": "%d", "ddd": "%a", "dddd": "%A",
    "hh": "%H", "ss": "%S",
}  # fmt: skip


def shown(value: Any, form: str) -> str:
    """Return what a cell of this value shows in the number format `form`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return _date(value, form)
    if isinstance(value, dt.timedelta):
        hours, rest = divmod(round(value.total_seconds()), 3600)
        return f"{hours}:{rest // 60:02}:{rest % 60:02}"
    return _number(value, form) if isinstance(value, int | float) else str(value)


def _number(value: float, form: str) -> str:
    sections = re.findall(r"(?:\"[^\"]*\"|\\.|[^;])+", form) or ["General"]
    chosen = sections[1] if value < 0 and len(sections) > 1 else sections[0]
    if value == 0 and len(sections) > 2:
        chosen = sections[2]
    signless = value < 0 and len(sections) > 1
    plain = _DROPPED.sub(lambda found: "".join(f"\0{each}" for each in "".join(filter(None, found.groups()))), chosen)
    at = _NUMBER.search(re.sub(r"\0.", "\0\0", plain))
    if at is None and chosen != "General" and "@" not in plain:  # nothing but words
        return plain.replace("\0", "").strip()
    if "General" in form or at is None or "/" in plain:
        return f"{value:.11g}" if isinstance(value, float) else str(value)
    pattern = at[0].rstrip(" ")
    number = abs(value) if signless else value
    number *= 100 ** plain.count("%")
    whole, _, fraction = pattern.partition(".")
    if "e" in fraction.lower() or "e" in whole.lower():
        text = f"{number:.{len(re.split('[eE]', fraction)[0])}E}"
    else:
        number /= 1000 ** (len(pattern) - len(pattern.rstrip(",")))
        places = sum(each in "0?#" for each in fraction)
        text = f"{number:{',' if ',' in whole.rstrip(',') else ''}.{places}f}"
        text = _without_zeros(text, fraction.count("0") + fraction.count("?"), places)
        digits = whole.replace(",", "").count("0")
        if digits > 1 and "," not in text:
            text = text.zfill(digits + len(text.partition(".")[1]) + places + (number < 0))
    letters = plain[: at.start()] + text + plain[at.start() + len(pattern) :]
    return " ".join(letters.replace("\0", "").split())


def _without_zeros(text: str, least: int, places: int) -> str:
    for _ in range(places - least):
        if not text.endswith("0"):
            break
        text = text[:-1]
    return text.removesuffix(".")


def _date(value: dt.datetime | dt.date | dt.time, form: str) -> str:
    """Return a date in its format; in ISO's where that is the reader's own, which nobody knows."""
    plain = _DROPPED.sub(lambda found: "".join(filter(None, found.groups())), form.partition(";")[0])
    tokens = list(_TOKEN.finditer(plain))
    if not tokens or form in ("General", "mm-dd-yy"):
        if isinstance(value, dt.datetime):
            return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ")
        return value.isoformat()
    half = any("/" in each[0] for each in tokens)
    made, end = [], 0
    for number, token in enumerate(tokens):
        made.append(plain[end : token.start()])
        end = token.end()
        near = [tokens[at][0].lower()[0] for at in (number - 1, number + 1) if 0 <= at < len(tokens)]
        minutes = token[0].lower() in ("m", "mm") and ((number > 0 and near[0] == "h") or near[-1:] == ["s"])
        made.append(_part(value, token[0].lower(), half, minutes))
    return "".join(made) + plain[end:]


def _part(value: Any, token: str, half: bool, minutes: bool) -> str:
    if minutes:
        return f"{value.minute:0{len(token)}}"
    if "/" in token:
        return str(value.strftime("%p"))
    if token[0] == "s" and "." in token:
        return f"{value.second + value.microsecond / 1e6:0{len(token)}.{len(token.partition('.')[2])}f}"
    if half and token[0] == "h":
        return f"{value.hour % 12 or 12:0{len(token)}}"
    if token in ("d", "m", "h", "s"):
        return str(getattr(value, {"d": "day", "m": "month", "h": "hour", "s": "second"}[token]))
    return str(value.strftime(_AS_DATE.get(token, "%Y" if token[0] == "y" else "%B")))
