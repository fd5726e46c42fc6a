"""JSON schemas that answers are held to: what can be enforced, OpenAI's rules of `strict`, and bounds. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from contracts.wire.errors import ApiError, shown

Schema = dict[str, Any]

MAX_BYTES = 2**18
MAX_PROPERTIES, MAX_NAMES, MAX_ENUM = 5000, 120_000, 1000
"""Properties of a schema; characters of its names, enums and constants; values of its enums. As at OpenAI."""
MAX_LEVELS, STRICT_LEVELS = 40, 10
"""Schemas within each other: of any, and of a strict one as at OpenAI."""
MAX_COUNT = 10_000
"""What an answer may be made to have at least: items, properties or letters."""
MAX_PATTERN = 1000
"""Characters of a regular expression."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHILDREN = _names("anyOf oneOf allOf prefixItems")
_MEMBERS = _names("properties patternProperties $defs definitions")
_ONE = _names("items additionalItems additionalProperties")
_STRICT = _names(
    "type enum const anyOf oneOf $ref properties required additionalProperties items prefixItems minItems maxItems "
    "minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum multipleOf"
)
_ANNOTATIONS = _names(
    "$schema $id id $anchor $comment $defs definitions title description default examples readOnly writeOnly "
    "deprecated contentEncoding contentMediaType discriminator"
)
_ENFORCED = _STRICT | _names("allOf patternProperties minProperties maxProperties additionalItems")
_NEVER = _names(
    "not if then else contains minContains maxContains uniqueItems propertyNames dependentRequired dependentSchemas "
    "dependencies unevaluatedItems unevaluatedProperties $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor "
    "$vocabulary contentSchema x-guidance"
)
"""What no grammar holds an answer to; other names are no keywords, and ignored as JSON Schema wants it."""
_LEAST = _names("minItems minProperties minLength")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a schema stands: in the request, and in OpenAI's words for it."""

    what: str
    """`response_format 'answer'` or `function 'search'`."""
    param: str
    keys: tuple[str, ...] = ()

    def within(self, *keys: str) -> Place:
        """Return the place of a part."""
        return Place(self.what, self.param, (*self.keys, *keys))

    def refusal(self, problem: str, *keys: str) -> ApiError:
        """Return the error of what stands at `keys` behind this place."""
        context = f"({', '.join(repr(key[:64]) for key in self.keys)}{',' * (len(self.keys) == 1)})"
        param = ".".join([self.param, *(key[:64] for key in (*self.keys, *keys))])
        message = f"Invalid schema for {self.what}: In context={context}, {problem}."
        return ApiError(message, param=param[:500], code="invalid_json_schema")


def check_schema(schema: Mapping[str, Any], place: Place, strict: bool) -> None:
    """Refuse a schema that no answer can be held to, naming the keyword and where it stands; raises ApiError."""
    if len(json.dumps(schema, ensure_ascii=False).encode()) > MAX_BYTES:
        raise place.refusal(f"the schema is longer than {MAX_BYTES} bytes")
    if strict:
        _check_root(schema, place)
    properties = names = values = 0
    for part, where, level in parts(schema, place):
        most = STRICT_LEVELS if strict else MAX_LEVELS
        if level > most:
            raise where.refusal(f"schemas are nested deeper than {most} levels")
        if not isinstance(part, dict):
            if not isinstance(part, bool) or (strict and where.keys[-1:] != ("additionalProperties",)):
                raise where.refusal("a schema must be an object")
            continue
        _check_keywords(part, where, strict)
        members, said = _members(part, "properties"), part.get("enum") or []
        properties += len(members)
        values += len(said)
        definitions = [name for key in ("$defs", "definitions") for name in _members(part, key)]
        constants = [part["const"]] if "const" in part else []
        named = (*members, *definitions, *said, *constants)
        names += sum(len(each) for each in named if isinstance(each, str))
        if properties > MAX_PROPERTIES:
            raise where.refusal(f"the schema has more than {MAX_PROPERTIES} properties", "properties")
        if values > MAX_ENUM:
            raise where.refusal(f"the schema has more than {MAX_ENUM} values in its enums", "enum")
        if names > MAX_NAMES:
            raise where.refusal(f"names and values of the schema are longer than {MAX_NAMES} characters together")
        if strict:
            _check_object(part, where)
    _check_loops(schema, place)


def parts(schema: Any, place: Place, level: int = 1) -> Iterator[tuple[Any, Place, int]]:
    """Yield a schema and all within it, each with its place and how deep it stands."""
    yield schema, place, level
    if not isinstance(schema, dict) or level > MAX_LEVELS:
        return
    for key, value in schema.items():
        inner: list[tuple[str, Any]] = []
        if key in _MEMBERS and isinstance(value, dict):
            inner = list(value.items())
        elif (key in _CHILDREN and isinstance(value, list)) or (key == "items" and isinstance(value, list)):
            inner = [(str(nth), each) for nth, each in enumerate(value)]
        elif key in _ONE:
            yield from parts(value, place.within(key), level + 1)
        deeper = level if key in ("$defs", "definitions", "anyOf", "oneOf", "allOf") else level + 1
        for name, each in inner:
            yield from parts(each, place.within(key, name), deeper)


def _members(part: Schema, key: str) -> list[str]:
    return [*part[key]] if isinstance(part.get(key), dict) else []


def _check_keywords(part: Schema, where: Place, strict: bool) -> None:
    for key, value in part.items():
        if key in _NEVER or (strict and key not in _STRICT | _ANNOTATIONS):
            if key == "uniqueItems" and value is False and not strict:
                continue
            why = "is not permitted" if strict else "cannot be enforced"
            raise where.refusal(f"{key[:64]!r} {why}", key)
        if key in _LEAST and isinstance(value, int | float) and value > MAX_COUNT:
            raise where.refusal(f"{key!r} is more than {MAX_COUNT}: {shown(value)}", key)
        if key in ("pattern", "patternProperties"):
            for pattern in value if isinstance(value, dict) else [value]:
                if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
                    raise where.refusal(f"{key!r} needs regular expressions of at most {MAX_PATTERN} characters", key)
        if key == "enum" and not (isinstance(value, list) and value):
            raise where.refusal("'enum' needs an array with at least one value", key)
        if key in _CHILDREN and not (isinstance(value, list) and value):
            raise where.refusal(f"{key!r} needs an array with at least one schema", key)
        if key in _MEMBERS and not isinstance(value, dict):
            raise where.refusal(f"{key!r} needs an object of schemas", key)


def _check_root(schema: Mapping[str, Any], place: Place) -> None:
    root: Any = schema
    if "anyOf" in root:
        raise place.refusal("the root must be an object, so 'anyOf' is not permitted there", "anyOf")
    if isinstance(root.get("$ref"), str) and "type" not in root:
        root = _referred(schema, root["$ref"])
    kind = root.get("type") if isinstance(root, dict) else None
    if kind != "object":
        problem = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {json.dumps(kind)[:64]}'"
        raise place.refusal(problem, "type")


def _check_object(part: Schema, where: Place) -> None:
    kinds = part.get("type")
    if "properties" not in part and "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        return
    if part.get("additionalProperties") is not False:
        raise where.refusal("'additionalProperties' is required to be supplied and to be false", "additionalProperties")
    required = part.get("required", [])
    named = {each for each in required if isinstance(each, str)} if isinstance(required, list) else set()
    needs = "'required' is required to be supplied and to be an array including every key in properties"
    members = dict.fromkeys(_members(part, "properties"))
    missing = next((key for key in members if key not in named), None)
    if not isinstance(required, list) or missing is not None:
        raise where.refusal(f"{needs}. Missing {str(missing)[:64]!r}", "required")
    extra = next((key for key in required if not (isinstance(key, str) and key in members)), None)
    if extra is not None:
        raise where.refusal(f"'required' names {str(extra)[:64]!r}, which is none of the properties", "required")


def _referred(schema: Mapping[str, Any], reference: str) -> Any:
    """Return what a reference within the schema names; None where it names nothing."""
    found: Any = schema
    if not reference.startswith("#"):
        return None
    for step in filter(None, reference[1:].split("/")):
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


def _check_loops(schema: Mapping[str, Any], place: Place) -> None:
    """Refuse references that only lead to each other, and those outside the schema; each is followed once."""
    ending: set[str] = set()
    for part, where, _ in parts(schema, place):
        if not (isinstance(part, dict) and "$ref" in part):
            continue
        seen, at = dict[str, None](), part
        while isinstance(at, dict) and "$ref" in at:
            reference = at["$ref"]
            if not isinstance(reference, str) or reference in seen:
                raise where.refusal("'$ref' leads back to itself", "$ref")
            if reference in ending:
                break
            seen[reference] = None
            at = _referred(schema, reference)
            if at is None:
                raise where.refusal(f"'$ref' names nothing within the schema: {shown(reference)}", "$ref")
        ending.update(seen)
