"""Templates that transformers' sandbox does not run: they change a list of their own, or show a generator as JSON."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment

_NEEDED = re.compile(
    r"\.(?:append|extend|insert|pop)\(|\|\s*(?:map|select|reject|selectattr|rejectattr)\b[^|}]*\|\s*tojson"
)


def is_needed(source: str) -> bool:
    """Whether a template does what transformers refuses."""
    return _NEEDED.search(source) is not None


def render(source: str, messages: Sequence[dict[str, Any]], tools: Any, variables: Mapping[str, Any]) -> str:
    """Return a chat as the template shows it; it may change what it is given, which is a copy."""
    given = copy.deepcopy({"messages": list(messages), "tools": tools})
    return _compiled(source).render(**given, documents=None, **variables)


class _Generation(Extension):
    """`{% generation %}`, which marks what a model says: shown as it is."""

    tags = {"generation"}  # noqa: RUF012  jinja2 reads it of the class

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@lru_cache(maxsize=16)
def _compiled(source: str) -> Template:
    environment = SandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        extensions=[_Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # noqa: DTZ005  as transformers
    return environment.from_string(source)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_listed
    )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, Iterator):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return list(value)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
