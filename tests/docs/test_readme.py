"""What the README tells a reader to do works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from contracts.envelope import PoisonError, Record, ingest_secret, outside_subject, read
from contracts.events.jobs import JobCreated
from functions.validate_file import core as rows
from infra.cli.main import temper
from infra.docs import ROOT
from tests.docs.readme import README, blocks, snippet

SIGNING_KEY = b"the signing key of the documentation's tests"
LOCAL_LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")


@pytest.fixture(scope="module")
def publisher() -> dict[str, Any]:
    """The names that the README's publisher defines, without the library of Temper."""
    names: dict[str, Any] = {"__name__": "readme"}
    code = snippet("publish") + snippet("sign")
    assert "temper" not in re.sub(r"temper-demo-1m|`temper status`", "", code)
    exec(compile(code, "README.md", "exec"), names)
    return names


def as_record(message: Any) -> Record:
    headers = tuple(message.headers.items())
    topic = message.headers["ce_type"].decode()
    return Record(topic=topic, key=message.key.encode(), headers=headers, value=message.value, at=1)


def test_every_python_block_is_marked_and_compiles() -> None:
    marked = re.findall(r"<!-- run: (\w+) -->\n```python", README)
    assert len(marked) == len(blocks("python"))
    for name in marked:
        compile(snippet(name), f"README.md: {name}", "exec")


def test_the_client_is_eight_lines_of_python() -> None:
    code = [line for line in snippet("client").splitlines() if line.strip()]
    assert len(code) <= 9, "an import and eight lines"
    assert not any(";" in line for line in code)


def test_the_row_shown_is_a_row_that_can_be_trained_on() -> None:
    (text,) = blocks("jsonl")
    for line in text.splitlines():
        assert rows.check(json.loads(line), 1, 1).errors == []


def test_an_unsigned_event_of_the_publisher_is_believed_for_the_unsigned_tenant_alone(publisher: Any) -> None:
    message = publisher["wanted"]("file-1")
    event = read(as_record(message), SIGNING_KEY, "local")
    assert isinstance(event.data, JobCreated)
    assert (event.type, event.tenant, event.data.training_file) == ("job.created", "local", "file-1")
    assert event.subject == outside_subject("ftjob-", "local", "crm", "order-42")
    with pytest.raises(PoisonError, match="unsigned"):
        read(as_record(message), SIGNING_KEY, None)


def test_a_signed_event_of_the_publisher_is_believed_and_a_changed_one_is_not(publisher: Any) -> None:
    secret = ingest_secret(SIGNING_KEY, "acme", "key-1").decode()
    body = {"model": "temper-demo-1m", "training_file": "file-1"}
    message = publisher["event"]("job.created", "ftjob-", "acme", "crm", "order-43", body)
    signed = publisher["signed"](message, "key-1", secret)
    assert read(as_record(signed), SIGNING_KEY, None).tenant == "acme"
    changed = type(signed)(signed.headers, signed.key, signed.value.replace(b"file-1", b"file-2"))
    with pytest.raises(PoisonError, match="does not match") as refused:
        read(as_record(changed), SIGNING_KEY, None)
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize("page", ["README.md", "functions/README.md", "CHANGELOG.md"])
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines()}
    for path, anchor in LOCAL_LINK.findall(text):
        assert ((ROOT / page).parent / path).exists(), path
        assert path or anchor in headings, anchor


def test_every_command_that_is_shown_exists() -> None:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    shown = re.findall(r"`(temper [a-z][^`]*)`", README) + [line for line in lines if line.startswith("temper ")]
    assert len(shown) > 8
    for line in shown:
        _, name, *rest = shlex.split(line)
        context = temper.make_context("temper", [], resilient_parsing=True)
        command = temper.get_command(context, name)
        assert command is not None, line
        if isinstance(command, click.Group) and rest:
            command = command.get_command(context, rest.pop(0))
            assert command is not None, line
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line


def test_every_target_of_make_that_is_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in (README, (ROOT / "functions" / "README.md").read_text()):
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_decisions_are_numbered_short_and_have_their_three_parts() -> None:
    pages = sorted((ROOT / "infra" / "decisions").glob("*.md"))
    for number, page in enumerate(pages, 1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
        assert len(text.splitlines()) <= 40


def test_paths_that_the_decisions_name_exist() -> None:
    for page in Path(ROOT / "infra" / "decisions").glob("*.md"):
        for path in re.findall(r"`((?:contracts|functions|infra|tests)/[\w./]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
