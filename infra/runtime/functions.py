"""Every function's own declaration, and how its parameters become this process's ports: by their names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache, partial
from typing import Any, TypeVar

import functions
from contracts.function import LIGHT, NUMERIC, Function, Role, Stage
from infra.settings import of_function

Result = TypeVar("Result")


class UnknownFunctionError(Exception):
    """There is no function of that name in that role; says which there are."""


class AbsentError(Exception):
    """A port that is not there in this installation; says which setting brings it."""


@cache
def declared() -> Mapping[str, Function]:
    """Return all functions by their names."""
    names = sorted(each.name for each in pkgutil.iter_modules(functions.__path__) if not each.name.startswith("_"))
    return {name: importlib.import_module(f"functions.{name}.function").FUNCTION for name in names}


@cache
def stages() -> Mapping[str, Stage]:
    """Return all stages of work by their names."""
    return {stage.name: stage for function in declared().values() for stage in function.stages}


def of_role(role: Role, only: Iterable[str] = ()) -> tuple[Function, ...]:
    """Return the functions that a process of that role runs, `only` some; raises UnknownFunctionError."""
    there = {name: function for name, function in declared().items() if function.role == role}
    for name in only:
        if name not in there:
            raise UnknownFunctionError(f"There is no function {name!r} in the {role}; there are {', '.join(there)}.")
    return tuple(function for name, function in there.items() if name in only or not only)


def consumers(topic: str) -> tuple[str, ...]:
    """Return the names of the functions that react to a topic, besides the projections."""
    return tuple(name for name, function in declared().items() if topic in function.topics)


def preloads(functions: Iterable[Function]) -> dict[str, str]:
    """Return child → the modules, with commas between them, that are imported before it is forked."""
    children = {child: said for function in functions for child, said in function.children.items()}
    shared = {group: ",".join(child for child, said in children.items() if said == group) for group in (LIGHT, NUMERIC)}
    return {child: shared.get(said, said) for child, said in children.items()}


@dataclass(frozen=True)
class Ports:
    """What a process gives to functions, by the names of their parameters; each is made when it is first asked for."""

    makes: Mapping[str, Callable[[], Any]]
    """Name → what makes it; raises AbsentError where it is not there."""
    beyond: Ports | None = None
    """Where names are looked up that are not among them."""
    _made: dict[str, Any] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.makes or (self.beyond is not None and name in self.beyond)

    def __getitem__(self, name: str) -> Any:
        if name not in self.makes and self.beyond is not None:
            return self.beyond[name]
        if name not in self._made:
            self._made[name] = self.makes[name]()
        return self._made[name]


class Bound:
    """A function with its ports."""

    def __init__(self, function: Function, ports: Ports) -> None:
        self.function = function
        outer: dict[str, Callable[[], Any]] = {"settings": partial(of_function, function.settings)}
        if function.of_files:
            outer["blobs"] = lambda: ports["blobs_of_files"]
        self._outer = Ports(outer, ports)
        own = {name: partial(self._call, make) for name, make in function.provides.items()}
        self._ports = Ports(own, self._outer)

    def bind(self, call: Callable[..., Result]) -> Callable[..., Result]:
        """Return `call` with all parameters after its first one; raises AbsentError, TypeError for an unknown one."""
        return partial(call, **self._given(call, self._ports, first=1))

    def call(self, make: Callable[..., Result]) -> Result:
        """Return what `make` makes of ports; raises as `bind` does."""
        return make(**self._given(make, self._ports, first=0))

    def _call(self, make: Callable[..., Any]) -> Any:
        return make(**self._given(make, self._outer, first=0))

    def _given(self, call: Callable[..., Any], ports: Ports, first: int) -> dict[str, Any]:
        parameters = list(inspect.signature(call).parameters.values())[first:]
        hints = typing.get_type_hints(call.__init__ if inspect.isclass(call) else call)
        given = {}
        for parameter in parameters:
            name, hint = parameter.name, hints.get(parameter.name)
            if name in ports:
                given[name] = ports[name]
            elif is_dataclass(hint) and isinstance(hint, type):
                given[name] = hint(**{each.name: ports[each.name] for each in fields(hint) if each.name in ports})
            elif parameter.default is inspect.Parameter.empty:
                raise TypeError(f"{self.function.name}: nothing is called {name}, which {call} asks for")
        return given
