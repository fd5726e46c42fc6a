"""What each route reads, found in the code that reads it: the models of its body and of its query."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from starlette.routing import Route

from contracts.wire.answers import Page, Whole
from contracts.wire.request import Query, Request
from functions.edge.app import ROUTES
from infra import sdk

_OURS = "functions.edge"
_MEDIA_TYPE = re.compile(r"(application|text)/[a-z.-]+(; charset=utf-8)?")
_NOT_ASKED = frozenset({Request, Query})


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the edge."""

    method: str
    path: str
    """With `{name}` for each parameter."""
    says: str
    """What its docstring says, without the call."""
    body: type[Request] | None
    query: type[Query] | None
    call: sdk.Call | None
    """What the official client makes of it."""
    answer: Any = None
    """The type of its JSON, of a list that of an item: the client's, or what the route declares; None: none is said."""
    listed: bool = False
    media_types: tuple[str, ...] = ()
    """Of its answers, where its code names them."""
    statuses: tuple[int, ...] = ()
    """Of answers that are no errors in OpenAI's shape, beside 200."""
    beside: tuple[str, ...] = ()
    """Parameters of its query that no model has."""
    part: str | None = None
    """The part of the form that it reads, where that is all."""


def operations() -> Iterator[Operation]:
    """Yield what the edge answers, but for what is the same on /v2."""
    for route in ROUTES:
        if isinstance(route, Route) and not route.path.startswith("/v2"):
            yield operation(route)


def operation(route: Route) -> Operation:
    """Return what one route does."""
    (method,) = (route.methods or set()) - {"HEAD"}
    path = route.path.replace(":path}", "}")
    functions = list(_functions(route.endpoint))
    call = sdk.calls().get((method, sdk.place(path.removeprefix("/v1"))))
    read = [each for function in functions for each in _named(function) if _is_asked(each)]
    said = [each for function in functions for each in _constants(function.__code__)]
    return Operation(
        method,
        path,
        " ".join((inspect.getdoc(route.endpoint) or "").split("\n\n")[0].split()),
        next((each for each in read if issubclass(each, Request)), None) if method == "POST" else None,
        next((each for each in read if issubclass(each, Query)), None),
        call,
        *_answer(route.endpoint, call or sdk.calls().get(_LIKE.get((method, path), ("", "")))),
        tuple(sorted({each for each in said if isinstance(each, str) and _MEDIA_TYPE.fullmatch(each)})),
        tuple(each for each in _constants(route.endpoint.__code__) if type(each) is int and 500 <= each < 600),
        _ELSEWHERE.get((method, path), ()),
        _BYTES.get((method, path)),
    )


Standing = Literal["honoured", "no effect", "refused", "unknown"]
"""What becomes of a parameter that OpenAI's API has; an unknown one would be dropped in silence."""
_ELSEWHERE = {
    ("GET", "/v1/fine_tuning/jobs"): ("metadata",),  # also metadata[key]
    ("GET", "/v1/chat/completions"): ("metadata",),
    ("GET", "/v1/files/{id}/content"): ("format",),
    ("POST", "/v1/val_dataset"): ("file_id",),
}
"""Parameters of queries that no model has."""
_BYTES = {("POST", "/v1/uploads/{id}/parts"): "data"}
"""The one part of a form that is nothing but bytes."""


_LIKE = {
    ("POST", "/v1/files/{id}/recurate"): ("POST", "/files"),
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}"): ("POST", "/evals/{}/runs/{}/cancel"),
}
"""Calls of Temper's own that are answered with an object of OpenAI's, and the call that makes such a one."""


def _answer(endpoint: Any, call: sdk.Call | None) -> tuple[Any, bool]:
    """Return the type of an answer, or of a list's items, and whether it is a list."""
    if call is not None and call.answer is not NoneType:
        return call.answer, call.listed
    found = (None, *get_args(get_type_hints(endpoint, include_extras=True)["return"]))[-1]
    if get_origin(found) in (Page, Whole):
        return get_args(found)[0], True
    return found, False


def parameters(asked: Operation) -> dict[str, Standing]:
    """Return each parameter that the official client may send, within objects with its path, and what becomes of it."""
    if asked.call is None:
        return {}
    names = asked.call.names()
    if asked.body is not None:
        return dict(_standing(names, asked.body, ""))
    of_path = re.findall(r"\{(\w+)\}", asked.path)
    honoured = {asked.part, *of_path, *asked.beside, *(asked.query.model_fields if asked.query else ())}
    return {name: "honoured" if name in honoured else "unknown" for name in names}


def _standing(names: Mapping[str, tuple[type, ...]], known: type[Request], path: str) -> Iterator[tuple[str, Standing]]:
    for name, inner in names.items():
        if name in known.served or any(each.startswith(f"{name}[") for each in known.served):
            yield path + name, "honoured"
            within = known.served.get(name)
            if within is not None:
                yield from _standing(sdk.together(inner), within, f"{path}{name}.")
        else:
            yield (
                path + name,
                "refused" if name in known.refused else "no effect" if name in known.ignored else "unknown",
            )


def _functions(endpoint: Any) -> Iterator[FunctionType]:
    """Yield a function, then those of the edge that it calls, the nearest first."""
    todo, seen = [endpoint], set()
    while todo:
        function = todo.pop(0)
        if function not in seen:
            seen.add(function)
            yield function
            todo += [
                each
                for each in _named(function)
                if isinstance(each, FunctionType) and each.__module__.startswith(_OURS)
            ]


def _is_asked(each: Any) -> bool:
    return isinstance(each, type) and issubclass(each, Request | Query) and each not in _NOT_ASKED


def _named(function: FunctionType) -> Iterator[Any]:
    """Yield what a function's code names: of its module, and of the modules of the edge that it reaches into."""
    names = [name for code in _codes(function.__code__) for name in code.co_names]
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    yield from found
    for each in found:
        if inspect.ismodule(each) and each.__name__.startswith(_OURS):
            yield from (getattr(each, name) for name in names if hasattr(each, name))


def _constants(code: CodeType) -> Iterator[Any]:
    for each in _codes(code):
        for constant in each.co_consts:
            yield from constant if isinstance(constant, tuple) else (constant,)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of what is made within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
