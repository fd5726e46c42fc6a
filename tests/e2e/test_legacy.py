"""LLMHub's two documents on the running stack, with their own calls: upload, validate, train, watch, cancel, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e import support
from tests.e2e.test_documents import archive
from tests.functional.test_edge_legacy import Flow
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def flow(stack: Stack, version: str) -> Flow:
    """The documents' client, of one version of the API."""
    return Flow(stack.base_url.replace("/v1", f"/{version}"), stack.api_key, support.BASE)


def get(flow: Flow, path: str) -> Any:
    """What a GET with the header `api-key` is answered with."""
    answer = support.HTTP.get(f"{flow.api_base}{path}", headers={"api-key": flow.key})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_version_2_a_zip_of_documents_is_validated_and_trained_on(stack: Stack, tmp_path: Path) -> None:
    api, path = flow(stack, "v2"), tmp_path / "documents.zip"
    path.write_bytes(archive(4))
    with api.client as client:
        file = api.upload(path)
        assert not file.validation["is_checked"]
        assert file.id in [each.id for each in client.files.list(purpose="fine-tune").data]
        asked = get(api, f"/files/validate/{file.id}")
        assert (asked["file_id"], asked["object"]) == (file.id, "validation")
        job = api.create_job(file.id)
        checked: Any = client.files.wait_for_processing(file.id, poll_interval=0.2)
        assert (checked.validation["is_valid"], checked.validation["is_generated_dataset"]) == (True, True)
        assert "complete" in get(api, f"/files/validate/{file.id}")["message"]
        done = support.until(lambda: ended(api, job.id), f"the end of {job.id}")
        assert done["status"] == "succeeded", done
        assert job.id in [each["id"] for each in api.list_jobs()["data"]]
        assert "The job has successfully completed" in [line["message"] for line in api.list_events(job.id)["data"]]
        assert client.files.delete(file.id).deleted


def ended(api: Flow, job: str) -> dict[str, Any] | None:
    """Return the job as `GET /finetune-jobs` lists it, once it has ended."""
    listed = get(api, "/finetune-jobs?limit=10&order=desc")["data"]
    found: dict[str, Any] = next(each for each in listed if each["id"] == job)
    return found if found["status"] in ("succeeded", "failed", "stopped") else None


def test_version_1_rows_are_validated_at_once_and_a_job_is_stopped(stack: Stack, tmp_path: Path) -> None:
    root = support.HTTP.get(stack.base_url.removesuffix("/v1")).json()
    assert root["T-Systems Fine-Tuning Server"] == "online"
    api, path = flow(stack, "v1"), tmp_path / "dataset.jsonl"
    path.write_bytes(support.rows(200, first=7000))
    with api.client as client:
        file = api.upload(path)
        url = f"{api.api_base}/val_dataset?file_id={file.id}"
        headers = {"accept": "application/json", "api-key": api.key}
        verdict = support.HTTP.post(url, headers=headers, content=b"", timeout=120).json()
        assert verdict == {"id": file.id, "errors": ["No errors found"], "object": "file"}
        job = api.create_job(file.id)
        assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
        found = ended(api, job.id)
        assert found is not None
        assert (found["object"], found["status"]) == ("fine-tune", "stopped")
        events = get(api, f"/finetune-jobs/{job.id}/events")["data"]
        assert (events[0]["type"], events[-1]["type"]) == ("submitted", "stopped")
