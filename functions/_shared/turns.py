"""Parts of a rendered chat: a prompt, the answer to it, the marks of a thought, and where a turn ends. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from functions._shared.dialect import ANSWER, REASONING, THOUGHT, as_text, reasoning_of, words_missing

_TAG = r"[<\[](?!\|?end)[^<>\[\]\s/]*(?:think|thought|reason)[^<>\[\]\s/]*[>\]]"
_OPENED = re.compile(rf"({_TAG})\s*$", re.IGNORECASE)
_LAST = [
    re.compile(rf"({last})\s*$", re.IGNORECASE)
    for last in (
        _TAG,
        r"<[^<>]*>[^<>\s]*(?:think|thought|reason)[^<>\s]*<[^<>]*>",
        r"<[^<>]*>",
        r"\[[^\[\]]*\]",
        r"[^\n]*\S",
    )
]
NOTHING = re.compile(rf"\s*({_TAG})(\s*)([<\[]/[^<>\[\]\s]*[>\]])(\s*)", re.IGNORECASE)
"""A thought of which nothing was thought."""
_INLINE = re.compile(r"\s*<think>(.*?)</think>\s*(.*)", re.DOTALL)

Switches = Mapping[str, Any]
"""`chat_template_kwargs`: variables of the template."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A prompt, and the answer to it with the end of the turn."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Marks:
    """What a template writes around what is thought before an answer."""

    open: str
    close: str
    between: str
    """What stands between a thought and the answer: `close` with its white space."""
    after: str = ""
    """White space between `open` and a thought, where the template does not write it itself."""


@dataclass(frozen=True, slots=True)
class Join:
    """Where a prompt ends and its answer begins, in a template that writes the one differently without the other."""

    extra: str
    """What a prompt has at its end only while no answer follows."""
    lead: str
    """What stands in its place before an answer."""
    header: str
    """What a prompt has at its end in either case, behind its messages."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a template shows what is thought before an answer."""

    form: str | None = None
    """As `Dialect.reasoning`."""
    marks: Marks | None = None
    switches: Switches | None = None
    """With which a model is asked to think; None: the template knows no thinking."""


@dataclass(frozen=True, slots=True)
class Stops:
    """Where generation ends."""

    ids: frozenset[int]
    texts: tuple[str, ...]
    shown: tuple[str, ...]
    """All of them as text."""


class TemplateRefusalError(Exception):
    """A template cannot show a chat; the text says why, for the one who wrote the chat or chose the model."""

    def __init__(self, code: str, text: str, param: str = "messages") -> None:
        super().__init__(text)
        self.code = code
        self.param = param
        """Which part of the request it is: `messages` or `tools`."""


def alike(text: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))


def opened(prompt: str) -> Marks | None:
    """Return the marks of a thought that a prompt opens with a tag; they close it as it was opened: on its own line."""
    found = _OPENED.search(prompt)
    if not found:
        return None
    tag = found[1]
    close = f"{tag[0]}/{tag[1:]}"
    return Marks(tag, close, f"\n{close}\n\n" if prompt.endswith("\n") else close)


def marks_around(prompt: str, full: str) -> Marks | None:
    """Return what stands around the thought of a probe's answer, of which the prompt may have written the first."""
    same = alike(prompt, full)
    before, found, rest = full[same:].partition(THOUGHT)
    between, answered, _ = rest.partition(ANSWER)
    if not (found and answered and between.strip()):
        return None
    if same < len(prompt):
        begin = "" if before.strip() else prompt[same:].strip()
    else:
        opened = next(filter(None, (last.search(prompt) for last in _LAST)), None)
        begin = before.strip() or (opened[1] if opened else "")
    odd = _is_dump(begin + between) or between.strip() in begin
    return Marks(begin, between.strip(), between) if begin and not odd else None


def _is_dump(around: str) -> bool:
    """Whether a template writes the parts of a content as an object, for it knows no parts."""
    return any(sign in around for sign in ("'type'", '"type"'))


def marks_before(prompt: str, bare: str, full: str) -> Marks | None:
    """Return what stands around the thought of a probe that calls tools; `bare` is that probe without a thought."""
    before, found, behind = full.partition(THOUGHT)
    if not (found and before.startswith(prompt) and bare.startswith(prompt) and behind.endswith(bare[len(prompt) :])):
        return None
    opening, between = before[len(prompt) :], behind.removesuffix(bare[len(prompt) :])
    after = opening[len(opening.rstrip()) :]
    if _is_dump(opening + between):
        return None
    return Marks(opening.strip(), between.strip(), between, after) if opening.strip() and between.strip() else None


def marks_of_nothing(prompt: str, full: str) -> Marks | None:
    """Return the marks of an empty thought that the template writes before an answer without one."""
    found = NOTHING.match(full[alike(prompt, full) :])
    return Marks(found[1], found[3], found[2] + found[3] + found[4]) if found else None


def next_header(prompt: str, marks: Marks) -> str:
    """Return what `close` has up to the header with which the prompt ends; empty where it has none."""
    found = re.search(r"<\|[^<>]*\|>[^<>]*$", prompt)
    at = marks.close.find(found[0]) if found else -1
    return marks.close[: at + len(found[0])] if found and at >= 0 else ""


def end_of(tail: str, stops: Mapping[str, int], added: Mapping[str, int], *, fixed: bool) -> str:
    """Return what ends a turn, of the text behind an answer: a token that does, else all of it."""
    known = sorted((tail.find(token), token) for token in (*stops, *(added if fixed else ())) if token in tail)
    if known:
        return str(known[0][1])
    shown = tail.rstrip()
    return max((token for token in added if shown.endswith(token)), key=len, default=shown if shown.strip() else "")


def apart(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if message["role"] != "assistant" or not isinstance(content, str) or reasoning_of(message):
        return message
    found = _INLINE.fullmatch(content)
    return {**message, REASONING[0]: found[1].strip(), "content": found[2]} if found else message


def is_partly_missing(message: Mapping[str, Any], answer: str) -> bool:
    """Whether a word of an answer's content, or of its calls, stands nowhere."""
    said = [as_text(message.get("content"))]
    for call in message.get("tool_calls") or ():
        said += [call["function"]["name"], *_leaves(call["function"]["arguments"])]
    return any(words_missing(text, answer) for text in said)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
