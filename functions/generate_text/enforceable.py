"""A schema in words that llguidance knows, which say the same, or allow fewer answers, never others. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.wire.schemas import Schema

_COUNTS = frozenset(
    ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minContains", "maxContains")
)
_VALUES = frozenset(("enum", "const", "default", "examples"))
_FAR = 10**15
"""Beyond it no range can be compiled, and few readers of JSON keep a number exact."""
_FORMATS: Mapping[str, Schema] = {
    "idn-email": {"format": "email"},
    "idn-hostname": {"format": "hostname"},
    "iri": {"format": "uri"},
    "iri-reference": {"format": "uri"},
    "uri-reference": {"format": "uri"},
    "uri-template": {"pattern": r"^([A-Za-z0-9_.~:/?#@!$&*+,;=-]|\{[A-Za-z0-9_]{1,64}\}){0,1000}$"},
    "json-pointer": {"pattern": r"^(/([^~/\x00-\x1f]|~[01]){0,200}){0,64}$"},
    "relative-json-pointer": {"pattern": r"^(0|[1-9][0-9]{0,9})(#|(/([^~/\x00-\x1f]|~[01]){0,200}){0,64})$"},
    "regex": {"pattern": r"^([A-Za-z0-9 _-]|\.|\\[dwsDWS]|\[[A-Za-z0-9]{1,64}\]){0,200}$"},
}
"""Format that llguidance does not know → one that it does, whose texts are all of this one."""
_DIALECTS = ("http://json-schema.org/draft-", "https://json-schema.org/draft/20")


def enforceable(schema: Any) -> Any:
    """Return a schema whose answers are all answers of the one given."""
    if isinstance(schema, list):
        return [enforceable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for key, value in schema.items():
        if key in _VALUES:
            made[key] = value
        elif key == "uniqueItems" and value is False:
            pass  # says nothing
        elif key == "$schema" and not str(value).startswith(_DIALECTS):
            pass  # somebody's own, which nobody can fetch
        elif key in _COUNTS and isinstance(value, float) and value.is_integer():
            made[key] = int(value)
        elif key == "format" and (known := _FORMATS.get(str(value))) and not known.keys() & schema.keys() - {"format"}:
            made |= known
        else:
            made[key] = enforceable(value)
    _narrow(made)
    return made


def _narrow(schema: Schema) -> None:
    """Bring bounds of numbers near, where numbers are left between them."""
    for key in ("maximum", "exclusiveMaximum"):
        if _number(schema.get(key)) > _FAR and _below(schema, "minimum", "exclusiveMinimum", 1):
            schema[key] = _FAR
    for key in ("minimum", "exclusiveMinimum"):
        if _number(schema.get(key)) < -_FAR and _below(schema, "maximum", "exclusiveMaximum", -1):
            schema[key] = -_FAR


def _below(schema: Schema, one: str, other: str, sign: int) -> bool:
    """Whether the bounds on the other side leave room."""
    return all(sign * _number(schema.get(key)) < _FAR // 2 for key in (one, other))


def _number(value: Any) -> float:
    """Return a number; of anything else 0."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
