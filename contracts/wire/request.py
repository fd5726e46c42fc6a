"""What every request is read by: pydantic, strictly, and with every name that it may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from difflib import SequenceMatcher
from typing import Any, ClassVar, Self, TypeVar, get_args

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from contracts.wire.body import check_strings
from contracts.wire.errors import ApiError, refusal, refuse

_Model = TypeVar("_Model", bound=BaseModel)
_ALIKE = 0.6
"""From this likeness on a name is worth being proposed."""
_TYPO = 0.8
"""From this likeness on a name is taken for a typo where unknown names are ignored."""
OTHERS = frozenset(("guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "grammar"))
"""Parameters by which other servers hold an answer to a form."""
_INSTEAD = (
    "Give a JSON schema as 'response_format' of a chat or 'text.format' of a response; regular expressions stand in it "
    "as 'pattern', choices as 'enum'."
)
_TYPOS = 64
"""Unknown names of an object that are looked at: each costs a third of a millisecond."""


class Request(BaseModel):
    """The object of a request: its fields are served, null is as good as nothing, and no typo passes in silence."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    ignored: ClassVar[frozenset[str]] = frozenset()
    """OpenAI's, for its own housekeeping: the answer is the same without them."""
    refused: ClassVar[frozenset[str]] = frozenset()
    """OpenAI's, and not served: an answer that leaves them out is not what was asked for."""
    tolerant: ClassVar[bool] = False
    """Whether names that nobody here knows are ignored: clients of other servers send theirs along."""
    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that no client may say."""
    served: ClassVar[Mapping[str, type[Request] | None]] = {}
    """Name → the request that the field holds, or each item of its list; of a form it is the name of a part."""
    longest: ClassVar[Mapping[str, int]] = {}
    """Name → how many items a list or an object may have."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        fields = {name: field for name, field in cls.model_fields.items() if name not in cls.hidden}
        cls.served = {field.alias or name: _request_in(field.annotation) for name, field in fields.items()}
        cls.longest = {
            name: each.max_length
            for name, field in fields.items()
            for each in field.metadata
            if isinstance(each, MaxLen)
        }

    @classmethod
    def leaves(cls, path: str = "") -> Iterator[str]:
        """Yield every served name with its path."""
        for name, inner in sorted(cls.served.items()):
            yield path + name
            if inner is not None:
                yield from inner.leaves(f"{path}{name}.")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        """Leave out nulls and make lists tuples; refuses what is too long before its items are read."""
        if not isinstance(given, dict):
            return given
        for name, most in cls.longest.items():
            if isinstance(value := given.get(name), dict | list) and len(value) > most:
                raise _too_many(name, value, most)
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None and name in cls.served
        }

    @classmethod
    def read(cls, given: dict[str, Any], known: type[Request] | None = None) -> Self:
        """Return the request, whose names may be those of `known`; raises ApiError: what is wrong, and where."""
        check_names(given, known or cls)
        return validated(cls, given)


class Query(BaseModel):
    """What stands behind the question mark: texts; an empty one is as good as nothing, and so is an unknown name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Return the query; raises ApiError that says what is wrong, and where."""
        given = {name: value for name, value in query.items() if value}
        check_strings(given)
        return validated(cls, given)


def validated(asked: type[_Model], given: Any) -> _Model:
    """Return a model of what was given; raises ApiError."""
    try:
        return asked.model_validate(given)
    except ValidationError as error:
        raise refusal(error) from None


def _request_in(annotation: Any) -> type[Request] | None:
    if parts := get_args(annotation):
        return next(filter(None, map(_request_in, parts)), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, Request) else None


def _too_many(name: str, value: Sized, most: int) -> PydanticCustomError:
    if isinstance(value, dict):
        what = f"too many properties. Expected an object with at most {most} properties, but got {len(value)}"
        return refuse("object_above_max_properties", f"Invalid '{name}': {what} properties instead.", name)
    what = f"array too long. Expected an array with maximum length {most}, but got an array with length {len(value)}"
    return refuse("array_above_max_length", f"Invalid '{name}': {what} instead.", name)


def check_names(given: Mapping[str, Any], known: type[Request]) -> None:
    """Refuse names that would be dropped in silence; raises ApiError that names the nearest one."""
    _check(given, known, known, "", "")


def _check(given: Mapping[str, Any], known: type[Request], root: type[Request], path: str, shown: str) -> None:
    """Check the object at `path`, which errors show as `shown`: with the places in lists."""
    typos = 0
    for name, value in given.items():
        if name in known.refused:
            if value is not None:
                raise _not_served(shown + name)
        elif name not in known.served:
            if name not in known.ignored and typos < _TYPOS:
                typos += 1
                _unknown(name, known, root, path, shown)
        elif inner := known.served[name]:
            for place, each in _objects(value, known.longest.get(name, 1)):
                _check(each, inner, root, f"{path}{name}.", f"{shown}{name}{place}.")


def _objects(value: Any, most: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield an object, or the first ones of a list with their places; anything else is for pydantic to refuse."""
    if isinstance(value, dict):
        yield "", value
    elif isinstance(value, list):
        yield from ((f"[{place}]", each) for place, each in enumerate(value[:most]) if isinstance(each, dict))


def _unknown(name: str, known: type[Request], root: type[Request], path: str, shown: str) -> None:
    likeness, nearest = max((_likeness(name, path, each), each) for each in root.leaves())
    if known.tolerant and likeness[0] < _TYPO:
        return
    if likeness[0] >= _ALIKE:
        hint = f"Did you mean '{nearest}'?"
    else:
        hint = f"Known here are: {', '.join(sorted(known.served))}."
    param = shown + name[:64]
    raise ApiError(f"Unknown parameter: '{param}'. {hint}", param=param, code="unknown_parameter")


def _likeness(name: str, path: str, candidate: str) -> tuple[float, bool, int]:
    """Return how near a known name is: by its letters, then in the same object, then the less deep the nearer."""
    parent, _, leaf = candidate.rpartition(".")
    written = name[:64].lower().removeprefix("lora_")  # as others call what stands in `tuning`
    return SequenceMatcher(None, written, leaf).ratio(), parent == path.rstrip("."), -candidate.count(".")


def _not_served(param: str) -> ApiError:
    if param in OTHERS:
        sentence = f"Unknown parameter: '{param}', which is another server's. {_INSTEAD}"
        return ApiError(sentence, param=param, code="unknown_parameter")
    sentence = f"The parameter '{param}' is part of OpenAI's API, but Temper does not serve it. Leave it out."
    return ApiError(sentence, param=param, code="unsupported")
