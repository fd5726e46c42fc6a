"""Three versions of the official client, each in an environment of its own, make every call on the real stack."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.environments import environment
from tests.stack import Stack

HERE = Path(__file__).parent / "clients"
BASE = "temper-demo-1m"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("version", ["1.109.1", "2.54.0", "3.52.0"])
def test_every_call_of_an_official_client_is_answered_as_its_types_say(stack: Stack, version: str) -> None:
    python = environment(HERE / f"openai-{version}.txt", "clients")
    env = {"OPENAI_BASE_URL": stack.base_url, "OPENAI_API_KEY": stack.api_key, "PATH": os.environ["PATH"]}
    calls = subprocess.run(
        [python, HERE / "calls.py", "training", BASE], env=env, capture_output=True, text=True, timeout=280
    )
    assert calls.returncode == 0, calls.stdout + calls.stderr
    assert calls.stdout.startswith(f"openai {version}: every call of training")
