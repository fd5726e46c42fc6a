"""P2, P4: an endpoint writes the questions: it fails, the worker is killed, another tenant's hangs; nothing is lost."""

from __future__ import annotations

import io
import json
import signal
import zipfile
from collections.abc import Iterator
from random import Random
from typing import Any

import openai
import pytest
from openai import OpenAI

from contracts.canonical import compact, sha256
from contracts.corpus import Text, plain_text
from contracts.ports import RebuildingError
from infra.cli.keys import NewKey, create_key
from tests.e2e import support
from tests.e2e.support import User
from tests.e2e.test_documents import checked, markdown, sections, upload, validation
from tests.endpoint import ANSWERS, HANGS, Endpoint
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def archive(seed: int, documents: int) -> bytes:
    """A ZIP of short documents."""
    rng, out = Random(seed), io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(documents):
            packed.writestr(f"{number}.md", markdown(sections(rng, 4)))
    return out.getvalue()


def tenant(stack: Stack, name: str) -> User:
    """Somebody of another tenant."""

    def made() -> NewKey | None:
        try:
            found: NewKey = support.in_world(stack, lambda here: create_key(here.emit, here.documents, name, "test"))
        except RebuildingError:  # the stack has just begun
            return None
        return found

    key = support.until(made, f"a key for {name}")
    to: dict[str, Any] = {"base_url": stack.base_url, "api_key": key.secret, "max_retries": 6}
    found = User(stack, OpenAI(**to, _strict_response_validation=True), OpenAI(**to))

    def known() -> bool:
        try:
            return found.client.models.list() is not None
        except openai.AuthenticationError:
            return False

    support.until(known, f"the key of {name}")
    return found


@pytest.fixture(scope="module")
def writer(stack: Stack) -> User:
    """Somebody whose endpoint answers in the end."""
    return tenant(stack, ANSWERS)


def recorded(stack: Stack, file: str) -> set[str]:
    """The bodies, by hash, of which replies are stored."""

    async def read(here: Any) -> set[str]:
        keys = await here.blobs.list(f"{ANSWERS}/{file}/replies/")
        return {key.rpartition("/")[2].removesuffix(".json") for key in keys}

    found: set[str] = support.in_world(stack, read)
    return found


def test_after_kill_9_no_recorded_question_is_asked_again_and_every_quote_stands(
    writer: User, stack: Stack, endpoint: Endpoint
) -> None:
    file = upload(writer, archive(1, 10))
    support.until(lambda: len(recorded(stack, file)) >= 8, "the first replies", every=0.1)
    before = stack.process("worker").restarts
    stack.kill("worker", signal.SIGKILL)
    known, asked_before = recorded(stack, file), len(endpoint.asked)
    assert known
    support.restarted(stack, "worker", before)
    made = validation(checked(writer, file))
    assert made["generator"] == "endpoint"
    (tried,) = writer.get(f"/files/{file}/report").json()["tried"]
    assert (tried["code"], tried["documents"]) == ("taken", 10)

    async def look(here: Any) -> tuple[set[str], dict[str, Text]]:
        bodies, texts = set(), {}
        for key in await here.blobs.list(f"{ANSWERS}/{file}/"):
            if "/replies/" in key and key.rpartition("/")[2].removesuffix(".json") in known:
                request = json.loads(await here.blobs.get(key))["request"]
                bodies.add(sha256(compact(request)))
            if key.endswith("/text.json"):
                texts[key.split("/")[-2]] = Text.model_validate_json(await here.blobs.get(key))
        return bodies, texts

    bodies, texts = support.in_world(stack, look)
    assert bodies == known, "a reply lies under the hash of what was asked"
    again = {name for name in endpoint.asked[asked_before:] if name[1] in known}
    assert not again, f"{len(again)} recorded questions were asked again"
    assert set(endpoint.failures) >= {"429", "500", "silence", "nonsense", "fenced"}, endpoint.failures

    shown = list(rows(writer, file))
    assert len(shown) == made["rows"]
    for row in shown:
        source = row["source"]
        if row["kind"] != "answered":
            continue
        page = next(each for each in texts[source["document"]].pages if each.number == source["span"]["page"])
        quote = plain_text(page.text[source["span"]["start"] : source["span"]["end"]])
        assert quote == plain_text(source["quote"])
        assert row["generator"] == "endpoint"
        assert row["messages"][-1]["content"] in quote
    claimed = writer.get(f"/files/{file}/report").json()["coverage"]["train"]
    covered = {row["source"]["chunk"] for row in shown if row["kind"] == "answered"}
    assert (claimed["covered"], claimed["share"]) == (len(covered), 1.0), claimed


def rows(user: User, file: str) -> Iterator[dict[str, Any]]:
    """Every training row, as the API shows it."""
    after: dict[str, str] = {}
    while True:
        page = user.get(f"/files/{file}/rows", params={"limit": 100, **after}).json()
        yield from page["data"]
        if not page["has_more"]:
            return
        after = {"after": page["last_id"]}


def test_an_endpoint_that_hangs_does_not_slow_another_tenants(writer: User, stack: Stack, endpoint: Endpoint) -> None:
    stuck = tenant(stack, HANGS)
    hanging = upload(stuck, archive(2, 24))
    support.until(lambda: endpoint.waiting(HANGS) >= 1, "a question that nobody answers")
    file = upload(writer, archive(3, 3))
    checked(writer, file)
    assert stuck.client.files.retrieve(hanging).status == "uploaded"
    assert stuck.client.files.delete(hanging).deleted
