"""What the official client can call, read off its own source: method, path, parameters and type of each answer.

It is a dependency of development: only documentation and tests ask.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import openai
from typing_extensions import get_type_hints, is_typeddict

HOME = Path(openai.__file__).parent
_ELSEWHERE = frozenset({"admin", "beta", "realtime"})
"""Parts of the client that need long to load, and of whose paths none is served."""
_CALLS = {"_get": "GET", "_get_api_list": "GET", "_post": "POST", "_delete": "DELETE"}


@dataclass(frozen=True, slots=True)
class Call:
    """One method of the client."""

    method: str
    path: str
    """Below the base URL; what it fills in stands as `{}`."""
    params: tuple[type, ...]
    """The typed dictionaries of its body or its query, one for each form that it takes."""
    answer: Any
    """The type of the answer; of a list that of an item; None: bytes."""
    listed: bool
    """Whether the answer is a list."""

    def names(self) -> dict[str, tuple[type, ...]]:
        """Return name of a parameter → the typed dictionaries that it may hold, itself or in a list."""
        return together(self.params)


@cache
def calls() -> Mapping[tuple[str, str], Call]:
    """Return (method, path) → what the synchronous client calls there."""
    found: dict[tuple[str, str], Call] = {}
    for path in sorted((HOME / "resources").rglob("*.py")):
        if _ELSEWHERE.intersection(path.parts):
            continue
        name = ".".join(["openai", *path.relative_to(HOME).with_suffix("").parts])
        for call in _of_module(name.removesuffix(".__init__"), ast.parse(path.read_text())):
            found.setdefault((call.method, call.path), call)
    return found


def place(path: str) -> str:
    """Return a path in which every parameter is `{}`."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def together(params: tuple[type, ...]) -> dict[str, tuple[type, ...]]:
    """Return every name in typed dictionaries → the typed dictionaries that it may hold."""
    found: dict[str, dict[type, None]] = {}
    for each in params:
        for name, hint in get_type_hints(each).items():
            found.setdefault(name, {}).update(dict.fromkeys(_typed(hint)))
    return {name: tuple(found[name]) for name in sorted(found)}


def _of_module(name: str, tree: ast.Module) -> Iterator[Call]:
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef) and any(ast.unparse(base) == "SyncAPIResource" for base in cls.bases):
            for node in ast.walk(cls):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS:
                    call = _call(importlib.import_module(name), node, _CALLS[node.func.attr])
                    if call is not None:
                        yield call


def _call(module: ModuleType, node: ast.Call, method: str) -> Call | None:
    first = node.args[0] if node.args else None
    if isinstance(first, ast.Call) and ast.unparse(first.func) == "path_template":
        first = first.args[0]
    if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
        return None
    given = {each.arg: each.value for each in node.keywords}
    if isinstance(said := given.get("method"), ast.Constant):  # a list that is asked for by POST
        method = str(said.value).upper()
    answer = given.get("cast_to") or given.get("page") or given.get("model")
    page = given.get("page") or (answer if isinstance(answer, ast.Subscript) else None)
    if page is not None:
        assert isinstance(page, ast.Subscript)
        answer = given.get("model") or page.slice
    params: tuple[type, ...] = ()
    for part in ast.walk(node):
        if isinstance(part, ast.Call) and ast.unparse(part.func) == "maybe_transform":
            asked = part.args[1]
            forms = [asked.body, asked.orelse] if isinstance(asked, ast.IfExp) else [asked]
            params += tuple(each for form in forms for each in _typed(_value(module, form)))
    return Call(method, place(first.value), params, _type(module, answer), page is not None)


def _type(module: ModuleType, node: ast.expr | None) -> Any:
    """Return a type that is named; None for bytes, and for what only a call can tell."""
    if node is None or ast.unparse(node).endswith("HttpxBinaryResponseContent"):
        return None
    while isinstance(node, ast.Call) and node.args:  # cast(Any, Page[X])
        node = node.args[-1]
    return _value(module, node)


def _value(module: ModuleType, node: ast.expr) -> Any:
    with suppress(NameError, AttributeError, TypeError):
        return get_type_hints(SimpleNamespace(__annotations__={"value": ast.unparse(node)}), vars(module))["value"]
    return None


def _typed(given: Any) -> Iterator[type]:
    """Yield the typed dictionaries of one, or of a union of them."""
    if is_typeddict(given):
        yield given
    for each in get_args(given):
        yield from _typed(each)
