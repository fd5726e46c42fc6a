"""Jobs over the edge: what is asked, refused, shown, ended."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from contracts.blobs import BlobRef
from contracts.envelope import derived_id
from contracts.events.corpus import DatasetAssembled
from contracts.events.files import FileRejected, FileUploaded
from contracts.events.jobs import (
    JobCreated,
    JobDelayed,
    JobFailed,
    JobProgressed,
    JobQueued,
    JobStarted,
    JobSucceeded,
    RunTracked,
    StepMetrics,
)
from contracts.manifest import ManifestRef
from contracts.ports import UnavailableError
from tests.functional.edge import BASE, World, plan
from tests.functional.test_edge_files import error, upload

JOBS = "/v1/fine_tuning/jobs"


async def create(
    api: httpx.AsyncClient, file: str, idempotency_key: str = "", retry: int = 0, **body: Any
) -> httpx.Response:
    headers = {"x-stainless-retry-count": str(retry)}
    if idempotency_key:
        headers["idempotency-key"] = idempotency_key
    return await api.post(JOBS, json={"model": BASE, "training_file": file, **body}, headers=headers)


async def job_of(api: httpx.AsyncClient, file: str, **body: Any) -> str:
    response = await create(api, file, **body)
    assert response.status_code == 200, response.text
    id: str = response.json()["id"]
    return id


async def running(world: World, id: str, epoch: int = 1, attempt: int = 1, from_step: int = 0) -> None:
    await world.say(JobQueued(plan=plan()), id, "local", id=derived_id(id, "job.queued"))
    started = JobStarted(from_step=from_step, total_steps=30, holder="me")
    await world.say(started, id, "local", epoch=epoch, attempt=attempt)


async def test_a_job_is_published_and_shown_at_once(world: World, api: httpx.AsyncClient, file: str) -> None:
    asked: dict[str, Any] = {
        "suffix": "medical",
        "seed": 5,
        "metadata": {"team": "a"},
        "hyperparameters": {"n_epochs": 9, "batch_size": 8},
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 0.5, "context_length": 9}},
        },
        "tuning": {"kind": "lora", "r": 4, "dropout": 0},
        "overlong": "drop",
    }
    made = (await create(api, file, **asked)).json()
    assert made == (await api.get(f"{JOBS}/{made['id']}")).json()
    event = world.emit.events[-1]
    assert isinstance(event.data, JobCreated)
    assert event.data.hyperparameters.model_dump() == {
        "n_epochs": 3,
        "batch_size": 8,
        "learning_rate_multiplier": 0.5,
        "context_length": 9,
    }
    assert (event.data.tuning.r, event.data.overlong) == (4, "drop")
    assert (made["status"], made["seed"], made["user_provided_suffix"]) == ("validating_files", 5, "medical")
    assert made["hyperparameters"] == made["method"]["supervised"]["hyperparameters"]
    assert made["error"] is None
    assert made["fine_tuned_model"] is None


MANUAL = b"# Pumps\n\nThe pump weighs 3 kg.\n"


async def documents(api: httpx.AsyncClient) -> str:
    form = {"purpose": "fine-tune", "dataset[held_out]": "0.2"}
    made = await api.post("/v1/files", files={"file": ("a.md", MANUAL)}, data=form)
    id: str = made.json()["id"]
    return id


async def test_a_job_that_says_how_its_data_set_is_made_waits_for_one_of_the_same_documents(
    world: World, api: httpx.AsyncClient
) -> None:
    file = await documents(api)
    asked = {"min_coverage": 0.1, "rows_per_chunk": 5}
    made = (await create(api, file, idempotency_key="k", dataset=asked)).json()
    own = made["training_file"]
    assert own != file
    assert made["status"] == "validating_files"
    assert (await api.get(f"/v1/files/{own}")).json()["dataset"]["asked"] == asked
    assert (await api.get(f"/v1/files/{own}/content")).content == MANUAL
    assert [event.type for event in world.emit.events[-2:]] == ["document.uploaded", "job.created"]
    assert (await create(api, file, idempotency_key="k", dataset=asked)).json() == made
    assert world.topics().count("document.uploaded") == 2


async def test_a_job_on_rows_makes_no_data_set(world: World, api: httpx.AsyncClient, file: str) -> None:
    said = error(await create(api, file, dataset={"held_out": 0.2}))
    assert (said["code"], said["param"]) == ("no_dataset", "dataset")
    said = error(await create(api, await documents(api), dataset={"held_ou": 0.2}))
    assert (said["code"], said["param"]) == ("unknown_parameter", "dataset.held_ou")
    said = error(await create(api, await documents(api), dataset={"embedding_model": BASE}))
    assert (said["code"], said["param"]) == ("unsupported_model", "dataset.embedding_model")


async def test_a_job_shows_what_its_data_set_warns_of(world: World, api: httpx.AsyncClient) -> None:
    file = await documents(api)
    blob = BlobRef(key=f"local/{file}/rows.jsonl", sha256="0" * 64, bytes=1, media_type="application/jsonl")
    assembled = DatasetAssembled(
        blob=blob,
        rows=20,
        version="0" * 64,
        lineage=blob,
        report=blob,
        coverage=0.2,
        generator="extractive",
        warnings=("Only 4 of 20 training chunks have a row.",),
    )
    await world.say(assembled, file, "local")
    job = await job_of(api, file)
    assert (await api.get(f"{JOBS}/{job}")).json()["temper"]["warnings"] == list(assembled.warnings)
    assert (await api.get(f"/v1/files/{file}")).json()["validation"]["warnings"] == list(assembled.warnings)


async def test_a_key_for_wandb_is_kept_sealed_and_is_in_no_event_and_no_answer(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    wandb = {"project": "pumps", "name": "first", "tags": ["a"], "api_key": "canary-key"}
    made = (await create(api, file, integrations=[{"type": "wandb", "wandb": wandb}])).json()
    shown = {"project": "pumps", "entity": None, "name": "first", "tags": ["a"]}
    assert made["integrations"] == [{"type": "wandb", "wandb": shown}]
    assert world.secrets.kept == {("local", f"wandb/{made['id']}"): "canary-key"}
    assert "canary" not in repr([event.data for event in world.emit.events])
    run = RunTracked(kind="training", tracker="wandb", run_id="r1", url="https://wandb.ai/r1")
    await world.say(run, made["id"], "local")
    found = (await api.get(f"{JOBS}/{made['id']}")).json()
    assert found["integrations"][0]["wandb"] == {**shown, "run_id": "r1"}
    assert found["temper"]["tracked"] == [run.model_dump()]
    await world.secrets.put("local", "wandb", "stored-key")
    other = (await create(api, file, integrations=[{"type": "wandb", "wandb": {"project": "p"}}])).json()
    assert ("local", f"wandb/{other['id']}") not in world.secrets.kept, "the stored key opens it"


async def test_a_job_without_a_seed_gets_one_that_its_id_fixes(api: httpx.AsyncClient, file: str) -> None:
    seeds = {(await create(api, file)).json()["seed"] for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"n": {"n_epochs": 0}}, "hyperparameters.n_epochs", "integer_below_min_value"),
        ({"n": {"n_epochs": 51}}, "hyperparameters.n_epochs", "integer_above_max_value"),
        ({"n": {"n_epochs": "many"}}, "hyperparameters.n_epochs", "invalid_type"),
        ({"n": {"n_epochs": 2.5}}, "hyperparameters.n_epochs", "invalid_type"),
        ({"n": {"n_epochs": True}}, "hyperparameters.n_epochs", "invalid_type"),
        ({"n": {"batch_size": 257}}, "hyperparameters.batch_size", "integer_above_max_value"),
        ({"n": {"learning_rate_multiplier": 0}}, "hyperparameters.learning_rate_multiplier", "decimal_below_min_value"),
        ({"n": {"n_epochs": 10**399}}, "hyperparameters.n_epochs", "integer_above_max_value"),
        ({"n": {"batch_size": -(10**398)}}, "hyperparameters.batch_size", "integer_below_min_value"),
        (
            {"n": {"learning_rate_multiplier": 1e200}},
            "hyperparameters.learning_rate_multiplier",
            "decimal_above_max_value",
        ),
        ({"n": {"learning_rate_multiplier": 10**399}}, "hyperparameters.learning_rate_multiplier", "invalid_value"),
        ({"n": {"context_length": 513}}, "hyperparameters.context_length", "integer_above_max_value"),
        ({"n": {"context_length": 0}}, "hyperparameters.context_length", "integer_below_min_value"),
        ({"n": "auto"}, "hyperparameters", "invalid_type"),
        ({"suffix": "x" * 65}, "suffix", "string_above_max_length"),
        ({"suffix": "a:b"}, "suffix", "invalid_value"),
        ({"suffix": "a\x00"}, "suffix", "invalid_string"),
        ({"suffix": "two\nlines"}, "suffix", "invalid_value"),
        ({"suffix": "ends\n"}, "suffix", "invalid_value"),
        ({"model": "m\n"}, "model", "invalid_string"),
        ({"training_file": "file-\n"}, "training_file", "invalid_string"),
        ({"validation_file": "file-\x7f"}, "validation_file", "invalid_string"),
        ({"seed": 10**399}, "seed", "integer_above_max_value"),
        ({"tuning": {"dropout": 10**399}}, "tuning.dropout", "invalid_value"),
        ({"tuning": {"r": 10**399}}, "tuning.r", "integer_above_max_value"),
        ({"seed": -1}, "seed", "integer_below_min_value"),
        ({"seed": 2**31}, "seed", "integer_above_max_value"),
        ({"seed": "1"}, "seed", "invalid_type"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "object_above_max_properties"),
        ({"metadata": {"k" * 65: ""}}, "metadata", "string_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length"),
        ({"metadata": {"k": 1}}, "metadata.k", "invalid_type"),
        ({"metadata": {"k": None}}, "metadata.k", "invalid_type"),
        ({"method": {"type": "dpo"}}, "method", "unsupported"),
        ({"method": {"type": "reinforcement"}}, "method", "unsupported"),
        ({"method": {"type": "magic"}}, "method.type", "invalid_value"),
        ({"method": {}}, "method.type", "missing_required_parameter"),
        (
            {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 99}}}},
            "method.supervised.hyperparameters.n_epochs",
            "integer_above_max_value",
        ),
        ({"integrations": [{"type": "mail", "mail": {}}]}, "integrations[0].type", "unsupported"),
        ({"integrations": [{"type": "wandb"}]}, "integrations[0].wandb", "missing_required_parameter"),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "integrations[0].wandb.api_key",
            "wandb_key_missing",
        ),
        ({"tuning": {"r": 0}}, "tuning.r", "integer_below_min_value"),
        ({"tuning": {"kind": "qlora"}}, "tuning.kind", "invalid_value"),
        ({"tuning": {"dropout": 1}}, "tuning.dropout", "decimal_above_max_value"),
        ({"overlong": "ignore"}, "overlong", "invalid_value"),
        ({"lora_r": 8}, "lora_r", "unknown_parameter"),
        ({"n": {"n_epoch": 8}}, "hyperparameters.n_epoch", "unknown_parameter"),
        ({"n": {"beta": 0.1}}, "hyperparameters.beta", "unsupported"),
        ({"model": ""}, "model", "empty_string"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": "gpt-9"}, "model", "model_not_found"),
        ({"training_file": "file-unknown"}, "training_file", "file_not_found"),
        ({"training_file": None}, "training_file", "missing_required_parameter"),
        ({"validation_file": "file-unknown"}, "validation_file", "file_not_found"),
    ],
)
async def test_what_is_wrong_with_a_job_is_said_and_nothing_is_published(
    world: World, api: httpx.AsyncClient, file: str, body: dict[str, Any], param: str, code: str
) -> None:
    body = {("hyperparameters" if name == "n" else name): value for name, value in body.items()}
    found = error(await create(api, file, **body))
    assert (found["param"], found["code"]) == (param, code)
    assert world.topics() == ["file.uploaded"]
    assert [each.route for each in world.requests.made] == ["files"]


async def test_an_unknown_model_is_told_the_known_ones(api: httpx.AsyncClient, file: str) -> None:
    assert BASE in error(await create(api, file, model="gpt-9"))["message"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"", None, "invalid_json"),
        (b"[]", None, "invalid_json"),
        (b'{"model": 1,}', None, "invalid_json"),
        (b'{"seed": NaN}', None, "invalid_json"),
        (b'{"seed": 1, "seed": 2}', None, "invalid_json"),
        (b'{"seed": ' + b"9" * 5000 + b"}", None, "invalid_json"),
        (b"[" * 100_000, None, "invalid_json"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, None, "invalid_json"),
        (b'{"model": "\xff"}', None, "invalid_json"),
        (b'{"model": "\xed\xa0\x80"}', None, "invalid_json"),
        (b'{"metadata": {"k": "\\ud800"}}', "metadata.k", "invalid_string"),
        (b'{"metadata": {"\\udc00": "v"}}', "metadata", "invalid_string"),
        (b'{"model": 1e999}', "model", "invalid_value"),
    ],
)
async def test_a_body_that_is_no_sound_json_is_refused(
    api: httpx.AsyncClient, body: bytes, param: str | None, code: str
) -> None:
    found = error(await api.post(JOBS, content=body))
    assert (found["code"], found["param"]) == (code, param)


@pytest.mark.parametrize(("body", "why"), [(b" \n", "the body is empty"), (b"\x1f\x8b\x08\x00", "packed by gzip")])
async def test_a_body_without_json_is_named(api: httpx.AsyncClient, body: bytes, why: str) -> None:
    assert why in error(await api.post(JOBS, content=body))["message"]


async def test_a_body_of_two_mebibytes_is_refused(api: httpx.AsyncClient, file: str) -> None:
    found = error(await create(api, file, metadata={"k": "v" * 2**21}), 413)
    assert found["code"] == "request_too_large"


async def test_files_that_cannot_be_trained_on_are_refused(world: World, api: httpx.AsyncClient, file: str) -> None:
    rejected, deleted = (await upload(api)).json()["id"], (await upload(api)).json()["id"]
    sentence = "Training file has 7 example(s), but must have at least 10 examples"
    await world.say(FileRejected(code="invalid_n_examples", message=sentence), rejected, "local")
    await api.delete(f"/v1/files/{deleted}")
    blob = await world.blobs.put("local/file-1/content", b"x")
    await world.say(FileUploaded(blob=blob, filename="r", purpose="fine-tune-results"), "file-1", "local")
    await world.say(FileUploaded(blob=blob, filename="r", purpose="fine-tune"), "file-2", "other")
    for id, code in (
        (rejected, "invalid_n_examples"),
        (deleted, "file_deleted"),
        ("file-1", "invalid_file_purpose"),
        ("file-2", "file_not_found"),
    ):
        for param in ("training_file", "validation_file"):
            chosen: dict[str, Any] = {param: id}
            response = await create(api, file, **chosen)
            assert response.status_code == 400
            found = response.json()["error"]
            assert (found["code"], found["param"]) == (code, param)
    assert (await create(api, rejected)).json()["error"]["message"] == sentence


async def test_lists_page_and_filter(world: World, api: httpx.AsyncClient, file: str) -> None:
    made = [await job_of(api, file, metadata={"n": str(n % 2)} if n else {}) for n in range(5)]
    first = (await api.get(f"{JOBS}?limit=2")).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:2:-1], True)
    rest = (await api.get(f"{JOBS}?after={first['last_id']}")).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[2::-1], False)
    odd = (await api.get(JOBS, params={"metadata[n]": "1"})).json()["data"]
    assert [each["id"] for each in odd] == [made[3], made[1]]
    assert [each["id"] for each in (await api.get(f"{JOBS}?metadata=null")).json()["data"]] == made[:1]
    for query in ({"metadata[a.b]": "1"}, {"metadata": "x"}, {"after": "ftjob-unknown"}, {"limit": "101"}):
        error(await api.get(JOBS, params=query))


async def test_nobody_sees_another_tenants_job(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    async with world.client(await world.key("other", 1)) as stranger:
        for method, path in (
            ("GET", ""),
            ("POST", "/cancel"),
            ("POST", "/pause"),
            ("POST", "/resume"),
            ("GET", "/events"),
            ("GET", "/checkpoints"),
        ):
            found = error_of(await stranger.request(method, f"{JOBS}/{id}{path}"))
            assert found == {
                "message": f"Could not find fine tune: {id}",
                "type": "invalid_request_error",
                "param": "fine_tune_id",
                "code": "fine_tune_not_found",
            }
        assert (await stranger.get(JOBS)).json()["data"] == []
        assert error(await create(stranger, file))["code"] == "file_not_found"
    assert (await api.get(f"{JOBS}/{id}")).json()["status"] == "validating_files"


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 404
    found: dict[str, Any] = response.json()["error"]
    return found


async def test_the_job_shows_its_plan_its_wait_and_its_end(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    await world.say(JobDelayed(code="file_unchecked", message="The file is not checked yet."), id, "local")
    assert (await api.get(f"{JOBS}/{id}")).json()["temper"]["delay"]["code"] == "file_unchecked"
    await running(world, id)
    job = (await api.get(f"{JOBS}/{id}")).json()
    assert (job["status"], job["seed"], job["hyperparameters"]["n_epochs"]) == ("running", 7, 3)
    started = world.emit.events[-1].at // 1000
    assert job["estimated_finish"] - started in (59, 60, 61)
    assert job["temper"]["plan"]["reasons"] == {"n_epochs": "few rows"}
    await world.say(JobStarted(from_step=15, total_steps=30, holder="me"), id, "local", epoch=1, attempt=2)
    job = (await api.get(f"{JOBS}/{id}")).json()
    began = world.emit.events[-1].at
    assert job["estimated_finish"] - began // 1000 in (29, 30, 31)
    step = StepMetrics(step=18, train_loss=1.0, train_mean_token_accuracy=0.5)
    await world.say(JobProgressed(total_steps=30, steps=(step,)), id, "local", epoch=1, attempt=2)
    made = world.emit.events[-1].at - began
    job = (await api.get(f"{JOBS}/{id}")).json()
    assert job["estimated_finish"] == int((began + made * 15 / 3) / 1000), "as long as steps took, not as was planned"
    (listed,) = (await api.get(JOBS)).json()["data"]
    assert listed["estimated_finish"] == job["estimated_finish"], "a list says what the job itself says"
    (old,) = (await api.get("/v1/finetune-jobs")).json()["data"]
    assert old["estimated_finish"] == (await api.get(f"/v1/finetune-jobs/{id}")).json()["estimated_finish"]
    assert datetime.fromisoformat(old["estimated_finish"]).timestamp() == job["estimated_finish"]
    succeeded = JobSucceeded(
        fine_tuned_model=f"ft:{BASE}:local::abc",
        manifest=ManifestRef(key="k", sha256="0" * 64),
        result_files=("file-9",),
        trained_tokens=300,
        step=30,
        prompt_sha256="1" * 64,
    )
    await world.say(succeeded, id, "local", id=derived_id(id, "end"), epoch=1, attempt=2)
    job = (await api.get(f"{JOBS}/{id}")).json()
    assert (job["status"], job["fine_tuned_model"], job["result_files"], job["trained_tokens"]) == (
        "succeeded",
        f"ft:{BASE}:local::abc",
        ["file-9"],
        300,
    )
    assert job["finished_at"] is not None
    assert job["estimated_finish"] is None


async def test_a_failed_job_says_why(world: World, api: httpx.AsyncClient, file: str) -> None:
    id = await job_of(api, file)
    await world.say(JobFailed(code="nan_loss", message="The loss is not a number.", param=None), id, "local")
    job = (await api.get(f"{JOBS}/{id}")).json()
    assert job["error"] == {"code": "nan_loss", "message": "The loss is not a number.", "param": None}


# --- retries


async def test_one_key_is_one_job(world: World, api: httpx.AsyncClient, file: str) -> None:
    made = [(await create(api, file, "k")).json() for _ in range(2)]
    assert made[0] == made[1]
    assert world.topics().count("job.created") == 1
    assert error(await create(api, file, "k", seed=3))["code"] == "idempotency_key_reused"
    assert error(await create(api, file, "k" * 256))["param"] == "Idempotency-Key"
    async with world.client(await world.key("other", 1)) as stranger:
        other = (await upload(stranger)).json()["id"]
        assert (await create(stranger, other, "k")).status_code == 200


async def test_a_marked_retry_adopts_what_was_reserved_before_the_publish(
    world: World, api: httpx.AsyncClient, file: str
) -> None:
    world.kafka_down = UnavailableError("kafka")
    response = await create(api, file)
    error(response, 503)
    assert response.headers["retry-after"] == "2"
    world.kafka_down = None
    made = (await create(api, file, retry=1)).json()
    assert made["id"] == world.requests.made[-1].id
    assert world.topics().count("job.created") == 1
    # that reply was complete: a later retry of the same content belongs to another request
    assert (await create(api, file, retry=1)).json()["id"] != made["id"]


async def test_two_deliberate_jobs_stay_two(api: httpx.AsyncClient, file: str) -> None:
    assert len({await job_of(api, file) for _ in range(2)}) == 2


async def test_a_retry_of_a_request_says_the_same_bytes(world: World, api: httpx.AsyncClient, file: str) -> None:
    """Published, and then the read models were away: the retry publishes the same event again, which is one event."""
    apply = world.documents.apply

    async def away(*_: Any) -> None:
        raise UnavailableError("mongo")

    world.documents.apply = away  # type: ignore[method-assign,assignment]
    error(await create(api, file), 503)
    world.documents.apply = apply  # type: ignore[method-assign]
    await create(api, file, retry=1)
    twice = [event for event in world.emit.events if event.type == "job.created"]
    assert len(twice) == 2
    assert len({(event.id, json.dumps(event.data.model_dump(mode="json"), sort_keys=True)) for event in twice}) == 1
