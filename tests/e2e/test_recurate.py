"""P2, P5, P7: recorded questions become another data set by their scores; the source is frozen and takes it along."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from contracts.corpus import RowOrigin
from contracts.documents.models import PUBLIC
from contracts.envelope import Event, make
from functions.register_model.work import register_embedding
from infra.runtime.world import World, new_id
from tests.e2e import support
from tests.e2e.support import User
from tests.e2e.test_documents import archive, checked, upload, validation
from tests.e2e.test_generator import tenant
from tests.endpoint import ADDS
from tests.functional.bases import SameProcess
from tests.functional.embedders import embedder
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

MODELS = {"files", "archives", "documents", "jobs", "models"}


def origins(stack: Stack, file: str) -> list[RowOrigin]:
    """The lineage of a data set's training rows, as it is stored."""

    async def read(here: World) -> list[RowOrigin]:
        found = await here.documents.get("archives", file)
        assert found is not None
        lines = (await here.blobs.get(found["assembled"]["lineage"]["key"])).splitlines()
        return [RowOrigin.model_validate_json(line) for line in lines]

    found: list[RowOrigin] = support.in_world(stack, read)
    return found


def stored(stack: Stack, file: str) -> list[str]:
    keys: list[str] = support.in_world(stack, lambda here: here.blobs.list(f"{ADDS}/{file}/"))
    return keys


def temper(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TEMPER_HOME": str(home)}
    command = [sys.executable, "-P", "-m", "infra.cli.main", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=280, check=False)


def synthesized(stack: Stack) -> list[Event]:
    return support.log_of(stack, "examples.synthesized", "examples.failed")


@pytest.fixture(scope="module")
def adder(stack: Stack) -> User:
    """Somebody whose endpoint writes some answers that their quotes support in part alone."""
    return tenant(stack, ADDS)


def home_of(user: User, folder: Path) -> Path:
    """A home of the running stack whose first key is the user's."""
    (folder / "stack.json").symlink_to(user.stack.home / "stack.json")
    (folder / "api_key").write_text(user.client.api_key)
    return folder


def test_scores_make_a_new_data_set_that_a_job_trains_on_and_that_goes_with_its_source(
    adder: User, stack: Stack, tmp_path: Path
) -> None:
    user = adder
    source = upload(user, archive(21))
    before = validation(checked(user, source))
    frozen, asked = stored(stack, source), synthesized(stack)
    rated = {origin.scores["support"] for origin in origins(stack, source) if "support" in origin.scores}
    bound = max(rated)
    assert min(rated) < bound

    done = temper(home_of(user, tmp_path), "dataset", "recurate", source, "--min-score", f"support={bound}")
    assert done.returncode == 0, done.stderr
    (made,) = re.findall(r"^(file-[0-9a-f]{32}): data set [0-9a-f]{12}$", done.stdout, re.MULTILINE)
    after = validation(checked(user, made))
    assert f"  rows: {before['rows']} → {after['rows']}\n" in done.stdout
    assert re.search(r"questions dropped: below_min_score [1-9]", done.stdout)
    assert 10 <= after["rows"] < before["rows"]
    assert after["version"] != before["version"]
    kept = origins(stack, made)
    assert min(origin.scores.get("support", 1) for origin in kept) >= bound
    assert {origin.example for origin in kept} <= {origin.example for origin in origins(stack, source)}
    assert synthesized(stack) == asked, "somebody was asked again"
    assert stored(stack, source) == frozen
    assert validation(checked(user, source)) == before
    assert all(key.startswith(f"{ADDS}/{made}/dataset") for key in stored(stack, made))

    again: Any = user.client.post(f"/files/{source}/recurate", cast_to=object, body={"min_score": {"support": bound}})
    assert validation(checked(user, again["id"]))["version"] == after["version"]

    job = user.job(made, batch_size=8)
    model = user.wait(job, "succeeded").fine_tuned_model
    assert model
    traced = temper(stack.home, "trace", made)
    assert traced.returncode == 0, traced.stderr
    assert model in traced.stdout
    assert source in traced.stdout
    gone: Any = user.client.delete(f"/files/{source}", cast_to=object)
    assert gone["recurated"] == [made, again["id"]]
    assert {each["job"] for each in gone["models"]} == {job}
    for file in (source, made, again["id"]):
        assert stored(stack, file) == []
        with pytest.raises(openai.NotFoundError):
            user.client.files.retrieve(file)
        with pytest.raises(openai.BadRequestError, match="deleted"):
            user.job(file)
    found = support.verified(stack)
    assert not [each for each in found.differences if each.model in MODELS]
    assert found.documents.keys() >= MODELS


def test_by_a_model_of_embeddings_a_data_set_is_made_re_curated_and_deleted_with_its_vectors(
    adder: User, stack: Stack, tmp_path: Path
) -> None:
    user, name = adder, "recurate-embedder"

    async def registered(here: World) -> None:
        data, _ = await register_embedding(here.blobs, SameProcess(), name, embedder(tmp_path / "model"))
        await here.documents.apply(await here.emit(make(data, subject=name, tenant=PUBLIC, id=new_id())))

    support.in_world(stack, registered)
    asked: Any = {"dataset": {"embedding_model": name, "duplicate_similarity": 0.9999}}
    content = ("handbook.zip", archive(22))
    source = user.client.files.create(file=content, purpose="fine-tune", extra_body=asked).id
    checked(user, source)
    report = user.lenient.get(f"/files/{source}/report", cast_to=object)
    assert isinstance(report, dict)
    assert (report["distractors"], report["embedding"]["model"]) == ("bm25+embedding", name)
    assert report["settings"]["embedding_model"] == name
    vectors = {key.rpartition("/")[2].partition("-")[0] for key in stored(stack, source) if key.endswith(".f32")}
    assert vectors == {"chunks.f32", "questions"}
    body = {"min_score": {"support": 0.01}}
    made: Any = user.client.post(f"/files/{source}/recurate", cast_to=object, body=body)
    checked(user, made["id"])
    again: Any = user.lenient.get(f"/files/{made['id']}/report", cast_to=object)
    assert again["embedding"] == report["embedding"]
    user.client.delete(f"/files/{source}", cast_to=object)
    assert stored(stack, source) == stored(stack, made["id"]) == []


def test_a_refusal_is_one_sentence_on_the_command_line(user: User, stack: Stack) -> None:
    rows = user.upload(support.rows(12))
    checked(user, rows)
    done = temper(stack.home, "dataset", "recurate", rows, "--min-score", "support=0.6")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: The file {rows} holds rows, so no data set was made of it.")
    done = temper(stack.home, "dataset", "recurate", rows, "--min-score", "support")
    assert done.stderr == "error: --min-score support is not SCORE=VALUE, such as support=0.6.\n"
