"""`temper dataset from-chats`: stored chats as a file of rows to train on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx

from infra.cli.env import edge_of_home, said
from infra.local.errors import UserError

Object = dict[str, Any]
PAGE = 100
FEWEST = 10
"""Rows that a job needs."""
_ENDED = ("stop", "tool_calls")
_CUT = "cut short"


@click.command("from-chats")
@click.argument("out", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--model", metavar="NAME", help="Only what this model answered, as requests named it.")
@click.option("--metadata", "labels", multiple=True, metavar="KEY=VALUE", help="Only what is labelled so; repeatable.")
@click.option("--since", type=click.DateTime(), help="Only what was asked since then (UTC).")
def from_chats(out: Path, model: str | None, labels: tuple[str, ...], since: datetime | None) -> None:
    """Write stored chats to OUT, a JSONL file to train another model on.

    Stored is what was asked at /v1/chat/completions with `"store": true`, for TEMPER_STORED_DAYS. Each answer is a row:
    messages, tools and the answer, with its thought and its calls. Answers that were cut short are left out.

    \b
    temper dataset from-chats rows.jsonl --model ft:… --metadata task=summary --since 2026-11-01
    """
    asked: dict[str, str | int] = {"limit": PAGE}
    if model is not None:
        asked["model"] = model
    if since is not None:
        asked["since"] = int(since.replace(tzinfo=UTC).timestamp())
    for label in labels:
        key, equals, value = label.partition("=")
        if not (key and equals):
            raise UserError(f"--metadata {label} is not KEY=VALUE, such as task=summary.")
        asked[f"metadata[{key}]"] = value
    base_url, api_key = edge_of_home()
    headers = {"authorization": f"Bearer {api_key}"}
    try:
        with httpx.Client(base_url=base_url, headers=headers, timeout=60, trust_env=False) as edge:
            counts = written(edge, asked, out)
    except httpx.TransportError as error:
        raise UserError(f"The edge does not answer: {error}. Look at `temper status`, then try again.") from error
    left_out = f", {counts[_CUT]} answers left out because they were cut short" if counts[_CUT] else ""
    click.echo(f"{out}: {counts['rows']} rows of {counts['chats']} stored chats{left_out}")
    if counts["rows"] < FEWEST:
        click.echo(f"A job needs at least {FEWEST} rows.")


def written(edge: httpx.Client, asked: Mapping[str, str | int], out: Path) -> Counter[str]:
    """Write a row for each answer of the chats that are asked for, all or nothing; returns what was counted."""
    counts: Counter[str] = Counter()
    beside = out.with_name(f"{out.name}.part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            for chat in _pages(edge, "/chat/completions", asked):
                counts["chats"] += 1
                messages = None
                for choice in chat["choices"]:
                    if choice["finish_reason"] not in _ENDED:
                        counts[_CUT] += 1
                        continue
                    path = f"/chat/completions/{quote(chat['id'], safe='')}/messages"
                    messages = messages or [_plain(each) for each in _pages(edge, path, {"limit": PAGE})]
                    row = {"messages": [*messages, _plain(choice["message"])]}
                    row |= {"tools": chat["tools"]} if chat.get("tools") else {}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    counts["rows"] += 1
        beside.replace(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        beside.unlink(missing_ok=True)
    return counts


def _pages(edge: httpx.Client, path: str, asked: Mapping[str, str | int]) -> Iterator[Object]:
    after: dict[str, str] = {}
    while True:
        page = said(edge.get(path, params={**asked, **after}))
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"after": page["last_id"]}


def _plain(message: Mapping[str, Any]) -> Object:
    """Return a message as rows have it: without what it is stored under and what it has not."""
    hidden = ("id", "content_parts", "refusal", "annotations")
    made = {name: value for name, value in message.items() if name not in hidden and value is not None}
    if not made.get("tool_calls"):
        made.pop("tool_calls", None)
        made.setdefault("content", message.get("refusal") or "")
    return made
