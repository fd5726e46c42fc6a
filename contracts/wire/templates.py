"""Templates of graders: text in which `{{ item.answer }}` stands for a value. Pure; there is no code in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

NAMESPACES = ("item", "sample")
MAX_RENDERED = 2**17
"""Characters of a text with its values."""
_STEP = re.compile(r"""\.([A-Za-z_][\w-]*)|\[(\d{1,6})\]|\[(?:"([^"\]]*)"|'([^'\]]*)')\]""")
_NAME = re.compile(r"[A-Za-z_]\w*")
_MAX_STEPS = 32


class TemplateError(Exception):
    """A template asks for what there cannot be; its text is a sentence for a person."""


class MissingValueError(Exception):
    """A template asks for a value that is not there."""


class TooLongError(Exception):
    """A text with its values is longer than MAX_RENDERED."""


Path = tuple[str | int, ...]


@lru_cache(maxsize=256)
def parts(template: str) -> tuple[str | Path, ...]:
    """Return the texts of a template and the paths between them; raises TemplateError."""
    first, *rest = template.split("{{")
    found: list[str | Path] = [first]
    for each in rest:
        inner, closed, after = each.partition("}}")
        found += [_path(inner.strip()), after] if closed else ["{{" + each]
    return tuple(found)


def _path(expression: str) -> Path:
    name = _NAME.match(expression)
    if name is None or name[0] not in NAMESPACES:
        sentence = f"the template {{{{ {expression[:64]} }}}} begins with neither 'item' nor 'sample'."
        raise TemplateError(sentence)
    steps: list[str | int] = [name[0]]
    at = name.end()
    while at < len(expression):
        step = _STEP.match(expression, at)
        if step is None or len(steps) > _MAX_STEPS:
            sentence = f"the template {{{{ {expression[:64]} }}}} is no path such as item.answer or sample.choices[0]."
            raise TemplateError(sentence)
        attribute, index, *quoted = step.groups()
        steps.append(int(index) if index else attribute or next((each for each in quoted if each is not None), ""))
        at = step.end()
    return tuple(steps)


def check(template: str) -> None:
    """Refuse a template that no values could fill; raises TemplateError."""
    parts(template)


def paths(template: str) -> Iterator[Path]:
    """Yield what a template asks for."""
    yield from (part for part in parts(template) if isinstance(part, tuple))


def value_at(path: Path, values: Mapping[str, Any]) -> Any:
    """Return what stands at a path; raises MissingValueError."""
    found: Any = dict(values)
    for step in path:
        known = range(len(found)) if isinstance(found, list) else found if isinstance(found, dict) else ()
        if step not in known:
            raise MissingValueError(".".join(map(str, path)))
        found = found[step]
    return found


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a template with its values: text as it is, all else as JSON; raises MissingValueError, TooLongError."""
    said, size = [], 0
    for part in parts(template):
        text = part if isinstance(part, str) else _said(value_at(part, values))
        size += len(text)
        if size > MAX_RENDERED:
            raise TooLongError
        said.append(text)
    return "".join(said)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
