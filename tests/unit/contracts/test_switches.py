"""A template's switches go from a job's request to its model's manifest and to requests."""

import hashlib

import pytest

from contracts.canonical import canonical
from contracts.manifest import Manifest
from contracts.wire.completions import Chat
from contracts.wire.errors import ApiError
from contracts.wire.requests import JobRequest

SWITCHES = {"enable_thinking": False, "reasoning_effort": "low"}


def test_a_job_and_a_chat_may_name_switches() -> None:
    asked = JobRequest.read({"model": "m", "training_file": "file-1", "chat_template_kwargs": SWITCHES})
    assert asked.event().chat_template_kwargs == SWITCHES
    chat = Chat.read({"model": "m", "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": SWITCHES})
    assert chat.chat_template_kwargs == SWITCHES


@pytest.mark.parametrize("bad", [{"a": ["b"]}, {"a": "x" * 300}, [1], {str(each): 1 for each in range(17)}])
def test_switches_have_a_bound(bad: object) -> None:
    with pytest.raises(ApiError):
        JobRequest.read({"model": "m", "training_file": "file-1", "chat_template_kwargs": bad})


def test_a_manifest_without_switches_is_named_as_before_there_were_any() -> None:
    manifest = Manifest(kind="base", files=(), template_sha256="0" * 64, context=8)
    before = {"kind": "base", "base": None, "files": [], "template_sha256": "0" * 64, "context": 8, "step": 0}
    assert manifest.digest() == hashlib.sha256(canonical(before)).hexdigest()
    switched = manifest.model_copy(update={"chat_template_kwargs": SWITCHES})
    assert switched.digest() != manifest.digest()
    assert Manifest.model_validate_json(switched.encoded()) == switched
