"""temper/: the types of Temper's own answers from the API's description, and the synchronous half from the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from contracts.wire import answers, dataset_answers
from infra.openapi import BEYOND

Schema = Mapping[str, Any]
MADE = "# Made by `python -m infra.docs`; do not edit.\n# ruff: noqa\n# fmt: off\n"
_RENAMED = {"Item": "BenchmarkItem", "Result": "BenchmarkResult", "Score": "SideScore"}
"""Schema → class, where the name says too little without its module."""
_EXTENDED = {"FileObject": ("File", "openai.types"), "FineTuningJob": ("Job", "openai.types.fine_tuning")}
"""Object of OpenAI → the class that also has what Temper says besides, and where OpenAI's is."""
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_SYNCHRONOUS = (
    (r'\A""".*?\n', '"""What `Temper` has beside OpenAI\'s client.\n'),
    (r"from openai\._base_client import AsyncPaginator\n|import asyncio\n", ""),
    (r"AsyncPaginator\[\w+, (\w+\[\w+\])\]", r"\1"),
    (r"\bAsync((?:Cursor)?Page)\b", r"Sync\1"),
    (r"\bAsync(?=[A-Z])|\basync_(?=to_)|\basync (?=def|with|for)|\bawait ", ""),
    (r"\basyncio\.sleep\b", "time.sleep"),
)


def synchronous(text: str) -> str:
    """Return the synchronous half of what `temper/_async.py` says."""
    for pattern, said in _SYNCHRONOUS:
        text = re.sub(pattern, said, text, flags=re.DOTALL if pattern.startswith(r"\A") else 0)
    return MADE + text


def types(schemas: Mapping[str, Schema]) -> str:
    """Return the classes of Temper's own answers, each behind those that it holds."""
    extended = [_extended(name, schemas[name]) for name in _EXTENDED]
    told = dict.fromkeys([*vars(dataset_answers), *vars(answers)])
    own = [name for name in told if name in schemas and not name.startswith("Legacy")]
    ordered: dict[str, None] = {}
    of_blobs = [name for name in schemas if name in ("Item", "contracts__benchmarks__Result")]
    for name in [*own, *of_blobs, *(each for _, _, fields in extended for each in _named(fields))]:
        _behind(name, schemas, ordered)
    lines = [f"from {place} import {name}" for name, (_, place) in _EXTENDED.items()]
    head = ["from __future__ import annotations", "", "from typing import Any, Literal", ""]
    text = [MADE + '"""Answers of Temper that OpenAI has not."""', "", *head, "from openai import BaseModel", *lines]
    text += [line for name in ordered for line in _class(_class_name(name), "BaseModel", schemas[name])]
    text += [line for name, base, fields in extended for line in _class(name, base, fields)]
    return "\n".join(text) + "\n"


def _extended(name: str, schema: Schema) -> tuple[str, str, Schema]:
    """Return the class of an object of OpenAI with what it says besides: name, base, and a schema of that alone."""
    beside = TypeAdapter(answers.BESIDE[name]).json_schema(mode="serialization")
    shown = {each: schema["properties"][each] for each in (*BEYOND.get(name, ()), *beside["properties"])}
    return (
        _EXTENDED[name][0],
        name,
        {**beside, "properties": shown, "required": [*BEYOND.get(name, ()), *beside["required"]]},
    )


def _behind(name: str, schemas: Mapping[str, Schema], ordered: dict[str, None]) -> None:
    if name not in ordered:
        for each in _named(schemas[name]):
            _behind(each, schemas, ordered)
        ordered[name] = None


def _named(schema: Any) -> Iterator[str]:
    """Yield the names of the schemas that one holds."""
    if isinstance(schema, Mapping):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for each in schema.values():
            yield from _named(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _named(each)


def _class_name(schema: str) -> str:
    name = schema.rpartition("__")[2]
    return _RENAMED.get(name, name)


def _class(name: str, base: str, schema: Schema) -> Iterator[str]:
    yield from ("", "", f"class {name}({base}):", f'    """{" ".join(schema["description"].split())}"""', "")
    required = schema.get("required", ())
    for field, each in sorted(schema["properties"].items(), key=lambda item: item[0] not in required):
        kind = _annotation(each)
        default = each.get("default")
        if default is None:
            told = "" if field in required else " = None" if kind.endswith("None") else " | None = None"
        else:  # it is always there
            told = "" if isinstance(default, dict) else f" = {default!r}"
        wider = "  # type: ignore[assignment]" if field in BEYOND.get(base, ()) else ""
        yield f"    {field}: {kind}{told}{wider}"


def _annotation(schema: Schema) -> str:
    if "$ref" in schema:
        return _class_name(schema["$ref"].rpartition("/")[2])
    if "const" in schema or "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema.get('enum', [schema.get('const')])))}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_annotation, schema["anyOf"])))
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("prefixItems", [schema.get("items", {})])
        return f"list[{' | '.join(dict.fromkeys(map(_annotation, items)))}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_annotation(values) if isinstance(values, Mapping) else 'Any'}]"
    return _SCALARS.get(kind, "Any") if isinstance(kind, str) else "Any"
