"""contracts/openapi.json: every route, from what it reads, what it says of itself, and the client's own types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from contracts.wire.answers import BESIDE
from contracts.wire.request import Query, Request
from infra.api import Operation, operations

TEMPLATE = "#/components/schemas/{model}"
ERROR = {"$ref": "#/components/schemas/Error"}
ANY = {"type": "object"}
_BINARY = {"type": "string", "format": "binary"}
BEYOND: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "FineTuningJob": {"status": ("paused",)},
    "FileObject": {"purpose": ("embedding", "ingestion", "evals")},
    "ChatCompletionStoreMessage": {"role": ("developer", "system", "user", "tool", "function")},
}
"""Schema → field → values that are shown and that the client's type does not know."""
Schema = dict[str, Any]


def openapi(version: str) -> str:
    """Return the OpenAPI 3.1 description, one line for each path and each schema."""
    asked = list(operations())
    schemas = _Schemas(asked)
    paths: dict[str, Schema] = {}
    for each in asked:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    head = {
        "openapi": "3.1.0",
        "info": {
            "title": "Temper",
            "version": version,
            "description": "OpenAI's API, and what Temper has beside it. Whatever is under /v1 is under /v2 as well.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"api-key": []}],
    }
    secured = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
    }
    lines = [f'"{name}": {_line(value)},' for name, value in head.items()]
    lines += ['"paths": {', *_members(paths), "},", '"components": {', f'"securitySchemes": {_line(secured)},']
    lines += ['"schemas": {', *_members(schemas.named), "}}"]
    return "{" + "\n".join(lines) + "}\n"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _members(value: Mapping[str, object]) -> Iterator[str]:
    for place, name in enumerate(value, 1):
        yield f"{json.dumps(name)}: {_line(value[name])}{',' * (place < len(value))}"


class _Schemas:
    """The schemas of all requests and answers, each under a name of its own."""

    def __init__(self, asked: list[Operation]) -> None:
        wanted: dict[tuple[str, JsonSchemaMode], TypeAdapter[Any]] = {}
        for each in asked:
            for model in filter(None, (each.body, each.query)):
                wanted[model.__name__, "validation"] = TypeAdapter(model)
            if each.answer is not None:
                wanted[_name(each.answer), "serialization"] = TypeAdapter(each.answer)
        for more in BESIDE.values():
            wanted[_name(more), "serialization"] = TypeAdapter(more)
        inputs = [(name, mode, adapter) for (name, mode), adapter in wanted.items()]
        self._of, described = TypeAdapter.json_schemas(inputs, ref_template=TEMPLATE)
        self.named: dict[str, Schema] = {**described.get("$defs", {}), "Error": _ERROR}
        for known, more in BESIDE.items():
            self.named[known]["properties"] |= self.named.pop(more.__name__)["properties"]
        for known, fields in BEYOND.items():
            for field, values in fields.items():
                schema = self.named[known]["properties"][field]
                schema["enum"] = [*schema.get("enum", [schema.pop("const", None)]), *values]
        vector = self.named["Embedding"]["properties"]
        vector["embedding"] = {"anyOf": [vector["embedding"], {"type": "string"}]}  # base64, as the client asks
        for name, schema in self.named.items():
            if name.rpartition("__")[2] == "Message":  # all of a message, which no client sends
                schema["properties"].pop("given", None)
                schema["required"] = [each for each in schema.get("required", ()) if each != "given"]

    def of_request(self, model: type[Request | Query]) -> Schema:
        """Return what a body or a query may be, without what no client may say."""
        schema = self.resolved(self._of[model.__name__, "validation"])
        hidden: frozenset[str] = getattr(model, "hidden", frozenset())
        shown = {name: each for name, each in schema.get("properties", {}).items() if name not in hidden}
        return {**schema, "properties": shown}

    def resolved(self, schema: Schema) -> Schema:
        """Return a schema itself, where a reference stands for it."""
        name = schema.get("$ref", "").rpartition("/")[2]
        return self.named[name] if name else schema

    def of_answer(self, answer: Any) -> Schema:
        """Return the schema of an answer's type."""
        found: Schema = self._of[_name(answer), "serialization"]
        return found


def _name(answer: Any) -> str:
    return answer.__name__ if isinstance(answer, type) and issubclass(answer, BaseModel) else repr(answer)


def _operation(asked: Operation, schemas: _Schemas) -> Schema:
    described: Schema = {"operationId": _id(asked), "summary": asked.says}
    parameters = [_parameter("path", name, {"type": "string"}) for name in re.findall(r"\{(\w+)\}", asked.path)]
    if asked.query is not None:
        query = schemas.of_request(asked.query)
        needed = query.get("required", ())
        parameters += [
            _parameter("query", name, schema, name in needed) for name, schema in query["properties"].items()
        ]
    parameters += [_parameter("query", name, {"type": "string"}, False) for name in asked.beside]
    if parameters:
        described["parameters"] = parameters
    if asked.body is not None:
        described["requestBody"] = _body(asked.body, schemas)
    if asked.part is not None:
        form = {"type": "object", "required": [asked.part], "properties": {asked.part: _BINARY}}
        described["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    if not asked.path.startswith("/v1/"):
        described["security"] = []
    return {**described, "responses": _responses(asked, schemas)}


def _id(asked: Operation) -> str:
    words = re.findall(r"\w+", asked.path.removeprefix("/v1"))
    return "_".join([asked.method.lower(), *words])


def _parameter(where: str, name: str, schema: Schema, required: bool = True) -> Schema:
    return {"in": where, "name": name, "required": required, "schema": schema}


def _body(model: type[Request], schemas: _Schemas) -> Schema:
    schema = schemas.of_request(model)
    if not model.__name__.endswith("Form"):
        return {"required": bool(schema.get("required")), "content": {"application/json": {"schema": schema}}}
    parts = {**schema["properties"], "file": _BINARY}
    form = {**schema, "properties": parts, "required": sorted({*schema.get("required", ()), "file"})}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


def _streams(asked: Operation) -> bool:
    queried = asked.query is not None and "stream" in asked.query.model_fields
    return queried or (asked.body is not None and "stream" in asked.body.served)


def _responses(asked: Operation, schemas: _Schemas) -> Schema:
    schema: Schema = ANY
    if asked.answer is not None:
        schema = schemas.of_answer(asked.answer)
        if asked.listed:
            data = {"type": "array", "items": schema}
            names = {"object": {"const": "list"}, "data": data, "has_more": {"type": "boolean"}}
            names |= {name: {"type": ["string", "null"]} for name in ("first_id", "last_id")}
            schema = {"type": "object", "required": ["object", "data"], "properties": names}
    content: Schema = {kind: {} for kind in asked.media_types}
    if not content or "application/json" in content:
        content["application/json"] = {"schema": schema}
    elif asked.answer is not None and "application/jsonl" in content:
        content["application/jsonl"] = {"x-lines": schema}
    if _streams(asked):
        content["text/event-stream"] = {}
    told: Schema = {"200": {"description": "What was asked for.", "content": content}}
    for status in asked.statuses:
        told[str(status)] = {"description": "Not well.", "content": {"application/json": {"schema": schema}}}
    wrong = {"description": "What went wrong, and what to do.", "content": {"application/json": {"schema": ERROR}}}
    return {**told, "default": wrong}


_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
