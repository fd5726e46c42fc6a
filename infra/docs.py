"""Generates from code: the marked blocks of PAGES, contracts/asyncapi.yaml, contracts/openapi.json, half of temper/.

`python -m infra.docs` writes what is stale; with `--check` it names what is stale and ends with exit status 1.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from starlette.routing import Route

from contracts import topics
from contracts.topics import TOPICS, Topic
from functions.edge.app import ROUTES
from infra import api, client
from infra.cli.main import COMMANDS, temper
from infra.openapi import openapi
from infra.runtime.functions import consumers, declared
from infra.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "infra/REFERENCE.md", "functions/README.md")
"""What a reader follows; every code block in them is run or checked."""
HELP_WIDTH = 100
PARTS = ("core", "handler", "work", "app", "recipe")
"""Modules of a function that its list names, when they are there."""
_MARKED = re.compile(r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end of \w+ -->)", re.DOTALL)


class DocsError(Exception):
    """Something lacks the docstring from which its documentation is made; says what."""


def main(arguments: list[str] | None = None) -> int:
    """Write what is stale, or only name it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when something is stale")
    checking: bool = parser.parse_args(arguments).check
    stale = {path: text for path, text in documents() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        print(f"{path.relative_to(ROOT)} {'is stale; run `make docs`' if checking else 'is written'}")
        if not checking:
            path.write_text(text)
    return 1 if stale and checking else 0


def documents() -> Iterator[tuple[Path, str]]:
    """Yield every generated file, or file with generated blocks, as it should be."""
    for name in PAGES:
        yield ROOT / name, with_blocks((ROOT / name).read_text(), name)
    yield ROOT / "contracts" / "asyncapi.yaml", asyncapi()
    yield ROOT / "contracts" / "openapi.json", (described := openapi(version()))
    yield ROOT / "temper" / "types.py", client.types(json.loads(described)["components"]["schemas"])
    yield ROOT / "temper" / "_sync.py", client.synchronous((ROOT / "temper" / "_async.py").read_text())


def with_blocks(text: str, where: str) -> str:
    """Return `text` with every marked block made anew; raises DocsError for a block that nobody can make."""

    def made(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS:
            raise DocsError(f"{where}: there is no block {name!r}. Known are {', '.join(BLOCKS)}.")
        return f"{match[1]}{BLOCKS[name]()}\n{match[3]}"

    return _MARKED.sub(made, text)


# --- docstrings


def first_sentence(thing: object, name: str) -> str:
    """Return the first sentence of a docstring on one line, without its full stop; raises DocsError."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    if not text:
        raise DocsError(f"{name} has no docstring, and its documentation is made from that.")
    return re.split(r"\.(?: |$)", text)[0]


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return field → the docstring under it, of the class itself and of its pydantic bases."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, BaseModel) or not each.__module__.startswith(("contracts", "functions", "infra")):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, doc in pairwise(statements):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str):
                found[field.target.id] = " ".join(doc.value.value.split())
    return found


# --- blocks of the pages


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def topic_table() -> str:
    """Return the table of topics: what each says, who may publish it, who consumes it."""
    rows = [
        (
            f"`{topic.name}`",
            first_sentence(topic.payload, topic.payload.__name__),
            f"Temper, outsiders (subject `{topic.outside}…`)" if topic.outside else "Temper",
            ", ".join(consumers(topic.name)),
        )
        for topic in TOPICS
    ]
    return table(("Topic", "Says", "Published by", "Consumed by (besides read models)"), rows)


def settings_table() -> str:
    """Return the table of settings, from the docstrings under the fields; raises DocsError for a field without one."""
    found: dict[str, tuple[FieldInfo, str, list[str]]] = {}
    readers: list[tuple[str, type[BaseModel]]] = [("the platform", Settings)]
    readers += [(f"`{name}`", each.settings) for name, each in declared().items()]
    for reader, settings in readers:
        docs = field_docs(settings)
        for field, info in settings.model_fields.items():
            if field not in docs:
                raise DocsError(f"The setting {field} has no docstring, and the table of settings is made from those.")
            found.setdefault(field, (info, docs[field], []))[2].append(reader)
    rows = []
    for field, (info, meaning, read_by) in found.items():
        shown = "" if info.default is None or info.default is PydanticUndefined else f"`{_plain(info.default)}`"
        rows.append((f"`TEMPER_{field.upper()}`", shown, meaning, ", ".join(read_by)))
    return table(("Variable", "Default", "Meaning", "Read by"), rows)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def endpoint_table() -> str:
    """Return the table of the edge's paths, from what each endpoint's docstring says; raises DocsError."""
    rows = []
    for route in (route for route in ROUTES if isinstance(route, Route) and not route.path.startswith("/v2")):
        said = " ".join((inspect.getdoc(route.endpoint) or "").split("\n\n")[0].split())
        (method,) = (route.methods or set()) - {"HEAD"}
        begin = f"{method} {route.path.removeprefix('/v1').replace(':path', '')}"
        if not re.match(rf"{re.escape(begin)}(?!/)", said):
            raise DocsError(f"The docstring of {route.endpoint.__name__} must begin with {begin!r}; it is {said!r}.")
        call, *does = re.split("[:;] ", said.rstrip("."), maxsplit=1)
        rows.append((f"`{call.replace(' ', ' /v1', 1) if route.path.startswith('/v1') else call}`", "".join(does)))
    return table(("Call", "Says"), rows)


def parameter_table() -> str:
    """Return the table of what becomes of each parameter of OpenAI's API."""
    rows = []
    for asked in api.operations():
        found = api.parameters(asked)
        named = [
            ", ".join(f"`{name}`" for name, standing in found.items() if standing == wanted)
            for wanted in ("honoured", "no effect", "refused")
        ]
        if found:
            rows.append((f"`{asked.method} {asked.path}`", *named))
    return table(("Call", "Honoured", "Taken, without an effect on the answer", "Refused by name"), rows)


LIMITS = (
    ("An upload by `POST /files`", "functions.edge.core:MAX_FILE", "bytes"),
    ("An upload by parts", "contracts.wire.uploads:MAX_UPLOAD", "bytes"),
    ("A part of an upload", "contracts.wire.uploads:MAX_PART", "bytes"),
    ("Parts of an upload", "contracts.wire.uploads:MOST_PARTS", ""),
    ("Open uploads of a tenant", "functions.edge.routes.uploads:MOST_OPEN", ""),
    ("Bytes that open uploads of a tenant announce", "functions.edge.routes.uploads:MOST_BYTES", "bytes"),
    ("Requests of a batch", "contracts.wire.batches:MAX_LINES", ""),
    ("A file for a batch", "contracts.wire.batches:MAX_BYTES", "bytes"),
    ("Batches of a tenant that are not over", "functions.edge.routes.batches:MOST_OPEN", ""),
    ("Responses in the background of a tenant that are not over", "functions.edge.background:MOST_OPEN", ""),
    ("Streams of them that an edge sends a tenant at once", "functions.edge.events:MOST_STREAMS", ""),
    ("Source of a Python grader", "contracts.wire.graders:MAX_SOURCE", "bytes"),
    ("Memory of a Python grader", "functions._shared.grading.code:MEMORY", "bytes"),
    ("Characters of a grader's text with its values", "contracts.wire.templates:MAX_RENDERED", ""),
    ("Graders of a multi grader", "contracts.wire.graders:MAX_GRADERS", ""),
    ("Tenants that may call one model of another's", "contracts.wire.permissions:MOST_PROJECTS", ""),
    ("Rows of a run of an eval", "contracts.wire.evals:MAX_ROWS", ""),
    ("A file of rows for evals", "contracts.wire.evals:MAX_BYTES", "bytes"),
    ("A row for evals", "contracts.wire.evals:MAX_ROW", "bytes"),
    ("Testing criteria of an eval", "contracts.events.evals:MOST_CRITERIA", ""),
    ("Evals of a tenant", "functions.edge.routes.evals:MOST_EVALS", ""),
    ("Runs of an eval", "functions.edge.routes.evals:MOST_RUNS", ""),
    ("Runs of a tenant that are not over", "functions.edge.routes.evals:MOST_OPEN", ""),
    ("A JSON body", "functions.edge.context:MAX_JSON", "bytes"),
    ("A request's head", "infra.adapters.http.server:MAX_HEAD", "bytes"),
    ("What a body must bring in any 30 s", "infra.adapters.http.server:BoundedProtocol.body_bytes", "bytes"),
    ("Connections to one edge", "infra.adapters.http.server:BoundedProtocol.max_connections", ""),
    ("An event", "contracts.envelope:MAX_BYTES", "bytes"),
    ("A row of a file", "functions.validate_file.row:ROW_BYTES", "bytes"),
    ("Rows of a file", "functions.validate_file.check:MAX_ROWS", ""),
    ("Rows that a job needs at least", "functions.prepare_job.core:MIN_ROWS", ""),
    ("Tools or functions of a row", "functions.validate_file.core:MAX_FUNCTIONS", ""),
    ("Levels in tools and arguments", "contracts.wire.chat:MAX_DEPTH", ""),
    ("Entries of an archive, nested ones included", "functions.extract_zip.core:MAX_ENTRIES", ""),
    ("Bytes unpacked from an archive", "functions.extract_zip.core:MAX_BYTES", "bytes"),
    ("A member of an archive", "functions.extract_zip.core:MEMBER_BYTES", "bytes"),
    ("Bytes unpacked for each packed one", "functions.extract_zip.core:MAX_RATIO", ""),
    ("Levels of archives in archives", "functions.extract_zip.core:MAX_LEVEL", ""),
    ("Pages of a document", "functions.extract_text.core:MAX_PAGES", ""),
    ("Characters of a document", "functions.extract_text.core:MAX_CHARACTERS", ""),
    ("Epochs of a job", "contracts.events.jobs:MOST_EPOCHS", ""),
    ("Rows of a batch", "contracts.events.jobs:MOST_ROWS", ""),
    ("Attempts without a new step", "contracts.controls:MAX_ATTEMPTS", ""),
    ("Epochs whose checkpoints become models", "functions.train_model.kept_checkpoints:KEPT_EPOCHS", ""),
    ("Choices of a chat (`n`)", "contracts.wire.completions:MAX_CHOICES", ""),
    ("Prompts of a completion", "contracts.wire.completions:MAX_PROMPTS", ""),
    ("Stop sequences", "contracts.wire.completions:MAX_STOPS", ""),
    ("Tokens in `logit_bias`", "contracts.wire.completions:MAX_BIASED", ""),
    ("Inputs of a request for embeddings", "contracts.wire.embeddings:MAX_INPUTS", ""),
    ("Tokens of a request for embeddings", "contracts.wire.embeddings:MAX_TOKENS", ""),
    ("Bytes of a request for embeddings", "contracts.wire.embeddings:MAX_BYTES", "bytes"),
    ("Tokens of an input that is embedded", "functions.generate_text.embedder:MOST_CONTEXT", ""),
    ("Models of one `POST /evaluate`", "contracts.wire.requests:MOST_MODELS", ""),
)
"""What is bounded, the constant that says so, and its unit."""


def limit_table() -> str:
    """Return the table of limits; raises DocsError for a constant that is not there."""
    rows = []
    for what, constant, unit in LIMITS:
        try:
            value: int = pkgutil.resolve_name(constant)
        except (ImportError, AttributeError) as error:
            raise DocsError(f"LIMITS in infra/docs.py names {constant}, which is not there: {error}.") from error
        rows.append((what, _size(value) if unit == "bytes" else f"{value:,}"))
    return table(("What", "Bound"), rows)


def _size(value: int) -> str:
    unit = min(3, (value.bit_length() - 1) // 10)
    return f"{value >> 10 * unit} {('bytes', 'KiB', 'MiB', 'GiB')[unit]}"


def command_help() -> str:
    """Return the help of `temper` and of each of its commands, as they print it."""
    root = temper.make_context("temper", [], resilient_parsing=True, terminal_width=HELP_WIDTH)
    texts = [root.get_help()]
    for name in COMMANDS:
        command = temper.get_command(root, name)
        if command is None:
            raise DocsError(f"The command {name} does not load.")
        texts += _helps(click.Context(command, info_name=name, parent=root))
    return "```text\n" + "\n\n\n".join(texts) + "\n```"


def _helps(context: click.Context) -> Iterator[str]:
    yield context.command.get_help(context)
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None:
                yield from _helps(click.Context(command, info_name=name, parent=context))


def function_table() -> str:
    """Return the table of functions: what each does, where it runs, what it reacts to, its stages of work."""
    rows = []
    for name, function in declared().items():
        parts = [part for part in PARTS if (ROOT / "functions" / name / f"{part}.py").exists()]
        front = next(part for part in ("work", "handler", "app") if part in parts)
        said = ast.get_docstring(ast.parse((ROOT / "functions" / name / f"{front}.py").read_text()))
        if said is None:
            raise DocsError(f"functions/{name}/{front}.py has no docstring, and the list is made from that.")
        topics_ = ", ".join(f"`{topic}`" for topic in function.topics)
        reacts_to = topics_ or ("HTTP" if "app" in parts else "every topic" if function.role else "")
        stages = ", ".join(f"`{stage.name}`" for stage in function.stages)
        rows.append((f"`{name}`", said.split("\n")[0].rstrip("."), function.role or "command", reacts_to, stages))
    return table(("Function", "Does", "Role", "Reacts to", "Stages"), rows)


BLOCKS = {
    "endpoints": endpoint_table,
    "parameters": parameter_table,
    "limits": limit_table,
    "topics": topic_table,
    "settings": settings_table,
    "commands": command_help,
    "functions": function_table,
}
"""Marker → what makes the block."""


# --- contracts/asyncapi.yaml


def asyncapi() -> str:
    """Return the AsyncAPI 3.0 description of the log: channels, messages, headers, payload schemas."""
    schemas: dict[str, Any] = {"Headers": headers_schema()}
    for topic in TOPICS:
        schemas |= payload_schemas(topic)
    described = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Temper",
            "version": version(),
            "description": (
                "The events of Temper: CloudEvents 1.0 on Kafka in binary mode. The topic is `ce_type`, the record's "
                "key is `ce_subject`, the body is JSON of at most 256 KiB. Generated by `python -m infra.docs`."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: channel(topic) for topic in TOPICS},
        "operations": dict(operation for topic in TOPICS for operation in operations(topic)),
        "components": {
            "messageTraits": {
                "CloudEvent": {
                    "contentType": "application/json",
                    "headers": {"$ref": "#/components/schemas/Headers"},
                    "bindings": {"kafka": {"key": {"type": "string", "description": "The same as `ce_subject`."}}},
                }
            },
            "messages": {topic.payload.__name__: message(topic) for topic in TOPICS},
            "schemas": dict(sorted(schemas.items())),
        },
    }
    return "# Generated by `python -m infra.docs` from contracts/topics.py; do not edit.\n" + yaml.safe_dump(
        described, sort_keys=False, allow_unicode=True, width=118
    )


def version() -> str:
    """Return the version of Temper."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def channel(topic: Topic) -> dict[str, Any]:
    """Return one topic as a channel."""
    name = topic.payload.__name__
    return {
        "address": topic.name,
        "description": f"{first_sentence(topic.payload, name)}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def operations(topic: Topic) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what Temper does with one topic: it publishes all, and believes outsiders on some."""
    name, reference = topic.name.replace(".", "_"), {"$ref": f"#/channels/{topic.name}"}
    yield f"publish_{name}", {"action": "send", "channel": reference, "summary": f"Temper publishes {topic.name}."}
    if topic.outside:
        born = "prefix + uuid5 of tenant, source and id, as `ce_subject` tells" if topic.born else "an existing one"
        summary = f"Another system may publish {topic.name}; its subject is `{topic.outside}…`, {born}."
        yield f"accept_{name}", {"action": "receive", "channel": reference, "summary": summary}


def message(topic: Topic) -> dict[str, Any]:
    """Return the message of one topic."""
    name = topic.payload.__name__
    return {
        "name": topic.name,
        "title": name,
        "summary": f"{first_sentence(topic.payload, name)}.",
        "traits": [{"$ref": "#/components/messageTraits/CloudEvent"}],
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "x-dataversion": topic.version,
        "x-consumers": list(consumers(topic.name)),
    }


def headers_schema() -> dict[str, Any]:
    """Return the schema of the CloudEvents headers; every value is UTF-8 text."""
    described = {
        "ce_specversion": "`1.0`.",
        "ce_id": "UUIDv7 of a command, else uuid5 of the natural key; an outsider's own, unique in its `ce_source`.",
        "ce_source": "`temper`, or the publishing system.",
        "ce_type": "The topic.",
        "ce_subject": (
            "What it happened to; also the record's key. An outsider gives birth to prefix + hex of uuid5(namespace, "
            "compact JSON of [tenant, source, id])."
        ),
        "ce_tenant": "Who owns the subject.",
        "ce_dataversion": "Version of the body; 1 when absent.",
        "ce_cause": "Id of the event that led to this one.",
        "ce_traceparent": "W3C trace context.",
        "ce_epoch": "Which pause or resume it belongs to; never from outside.",
        "ce_attempt": "The fence of the claim that said it; never from outside.",
        "ce_keyid": "Ingest key that `ce_sig` was made with; absent on Temper's own events.",
        "ce_sig": (
            "Hex HMAC-SHA256 over topic, key, name and value of each other `ce_*` header (sorted), and body, "
            "each preceded by its length as 8 bytes, big-endian."
        ),
    }
    return {
        "type": "object",
        "required": ["ce_id", "ce_source", "ce_type", "ce_subject", "ce_tenant"],
        "properties": {name: {"type": "string", "description": text} for name, text in described.items()},
    }


def payload_schemas(topic: Topic) -> dict[str, Any]:
    """Return the JSON schema of a topic's payload and of the models within, with the docstrings under their fields."""
    schema = topic.payload.model_json_schema(ref_template="#/components/schemas/{model}")
    found = {**schema.pop("$defs", {}), topic.payload.__name__: schema}
    models = _models()
    for name, each in found.items():
        docs = field_docs(models[name])
        for field, described in each.get("properties", {}).items():
            described.pop("title", None)
            if field in docs:
                described["description"] = docs[field]
    return found


def _models() -> Mapping[str, type[BaseModel]]:
    modules = {topic.payload.__module__ for topic in topics.TOPICS} | {"contracts.blobs", "contracts.manifest"}
    return {
        name: value
        for module in sorted(modules)
        for name, value in vars(importlib.import_module(module)).items()
        if inspect.isclass(value) and issubclass(value, BaseModel)
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DocsError as problem:
        sys.exit(f"error: {problem}")
