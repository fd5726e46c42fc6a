"""P3: what was once published is read for ever, and a view that changes has a new version."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from contracts.documents import READ_MODELS
from contracts.topics import TOPICS, named
from tests.events import golden

RECORDS = sorted(golden.HERE.glob("*.v*.json"))


def holds(new: Any, old: Any) -> bool:
    """Whether `new` says all that `old` said; it may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


def test_every_topic_has_a_golden_record_of_every_version() -> None:
    wanted = {f"{topic.name}.v{version}.json" for topic in TOPICS for version in range(1, topic.version + 1)}
    found = {path.name for path in RECORDS}
    assert found == wanted, "add the record of a new topic or version to tests/events; never edit or remove an old one"


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_golden_record_is_still_read_and_says_the_same(path: Path) -> None:
    record = json.loads(path.read_text())
    event = golden.read(record)
    topic = named(event.type)
    assert topic is not None
    assert path.name == f"{event.type}.v{record['headers']['ce_dataversion']}.json"
    assert event.subject == record["headers"]["ce_subject"]
    if int(record["headers"]["ce_dataversion"]) == topic.version:
        assert holds(event.data.model_dump(mode="json"), record["value"])


def test_no_view_changes_without_a_new_version() -> None:
    found = golden.problems(golden.views(), json.loads(golden.VIEWS.read_text()))
    assert not found, "\n".join(found)


def test_the_fixed_log_reaches_every_topic_and_gives_every_read_model_a_born_document() -> None:
    topics = {json.loads(line)["headers"]["ce_type"] for line in golden.LOG.read_text().splitlines()}
    assert topics == {topic.name for topic in TOPICS}
    models = golden.views()["models"]
    assert models.keys() == READ_MODELS.keys()
    assert all(any(view is not None for view in model["views"].values()) for model in models.values())


def test_a_view_that_changes_under_the_same_version_is_refused_with_what_to_do() -> None:
    then = golden.views()
    now = copy.deepcopy(then)
    id = next(iter(now["models"]["files"]["views"]))
    now["models"]["files"]["views"][id]["status"] = "other"
    (sentence,) = golden.problems(now, then)
    version = READ_MODELS["files"].version
    assert f"The view of `files` changed (first in {id}) and its version is still {version}" in sentence
    assert "Raise `version` of the read model `files` in contracts/documents" in sentence
    now["models"]["files"]["version"] = version + 1
    assert golden.forbidden(now, then) == []
    (sentence,) = golden.problems(now, then)
    assert "run `python -m tests.events.golden`" in sentence
