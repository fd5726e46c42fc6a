"""What README and reference tell a reader to do works, and what they say is so."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from typing import Any

import click
import pytest

from contracts.documents.jobs import ENDED, STATUS
from contracts.envelope import PoisonError, Record, outside_subject, read
from contracts.events.jobs import JobCreated
from contracts.signing import ingest_secret
from contracts.wire import errors
from functions.validate_file import core as rows
from infra.cli.main import temper
from infra.docs import PAGES, ROOT
from tests.docs.readme import README, REFERENCE, TEXTS, blocks, section, snippet

SIGNING_KEY = b"the signing key of the documentation's tests"
LOCAL_LINK = re.compile(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)")
MOST_LINES = 250
"""Of the README: it is read in five minutes."""
ANSWERING = ("functions/edge", "functions/generate_text", "infra/adapters/http", "contracts/wire")
"""Where the refusals are that a client sees."""
COMPUTED = {
    f"{kind}_{bound}" for kind in ("integer", "decimal") for bound in ("above_max_value", "below_min_value")
} | {"string_above_max_length"}
"""Codes that are put together."""
INTERNAL = {"cancelled", "manifest_missing"}
"""Codes there that no client of the edge sees."""


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
    marked = re.findall(r"<!-- run: (\w+) -->\n```python", "".join(TEXTS.values()))
    assert len(marked) == len(blocks("python"))
    for name in marked:
        compile(snippet(name), name, "exec")


def test_every_shell_block_is_shell_and_the_python_in_it_is_python() -> None:
    for block in blocks("sh"):
        subprocess.run(["bash", "-n"], input=block.encode(), check=True)
        for code in re.findall(r"<<'END'\n(.*?)^END$", block, re.DOTALL | re.MULTILINE):
            compile(code, "a shell block", "exec")


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.splitlines()) <= MOST_LINES


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


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    for path, anchor in LOCAL_LINK.findall((ROOT / page).read_text()):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        assert not anchor or anchor in headings(target.read_text()), anchor


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made by who shows it."""
    found = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found}


def test_the_contents_of_the_reference_name_each_of_its_sections() -> None:
    contents, _, text = REFERENCE.partition("\n## ")
    assert re.findall(r"\[([^\]]*)\]\(#", contents) == re.findall(r"^## (.*)", "## " + text, re.MULTILINE)


def test_every_state_of_a_job_is_in_the_reference() -> None:
    assert {f"`{state}`" for state in (*STATUS.values(), *ENDED.values())} <= set(
        re.findall("`[^`]*`", section("States"))
    )


def test_the_codes_of_refusals_are_those_that_the_reference_names() -> None:
    sources = [path.read_text() for folder in ANSWERING for path in sorted((ROOT / folder).rglob("*.py"))]
    given = {code for code, _ in errors._WORDS.values()}
    for each in (each for source in sources for each in ast.walk(ast.parse(source))):
        said = each.value if isinstance(each, ast.keyword) and each.arg == "code" else None
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "refuse":
            said = each.args[0]
        if isinstance(said, ast.Constant):
            given.add(str(said.value))
    named = set(re.findall(r"`([a-z0-9_]+)`", section("Errors").split("\n\n")[1]))
    assert given - INTERNAL <= named
    assert {code for code in named - COMPUTED if f'"{code}"' not in "".join(sources)} == set()


def test_what_one_request_may_ask_of_serving_is_what_the_reference_says() -> None:
    from functions.generate_text.batch import BatchLimits  # torch takes seconds

    assert f"{BatchLimits.queue:,} choices and {BatchLimits.request_tokens:,} tokens" in " ".join(
        section("Limits").split()
    )


def test_every_command_that_is_shown_exists() -> None:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    text = "".join(TEXTS.values())
    shown = re.findall(r"`(temper [a-z][^`]*)`", text) + [line for line in lines if line.startswith("temper ")]
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
    for page in TEXTS.values():
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


def test_paths_and_modules_that_pages_and_decisions_name_exist() -> None:
    for page in [*(ROOT / "infra" / "decisions").glob("*.md"), *(ROOT / name for name in PAGES)]:
        text = page.read_text()
        for path in re.findall(r"`((?:contracts|functions|infra|tests)/[\w./]+)`", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
        for module in re.findall(r"`((?:contracts|functions|infra|tests)(?:\.\w+)+)`", text):
            path = ROOT / module.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").exists(), f"{page.name}: {module}"
