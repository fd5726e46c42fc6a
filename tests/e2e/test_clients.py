"""Three versions of the official client, each in an environment of its own, make every call on the real stack."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from infra.settings import default_cache
from tests.stack import Stack

HERE = Path(__file__).parent / "clients"
BASE = "temper-demo-1m"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def environment(requirements: Path) -> Path:
    """Return the Python of an environment with exactly these packages, made once for all checkouts."""
    name = f"{requirements.stem}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    folder = default_cache() / "clients" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent))
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        assert uv, "uv is in the environment that `make` builds"
        subprocess.run([uv, "venv", "-q", "--relocatable", "--python", sys.executable, beside / "venv"], check=True)
        python = beside / "venv" / "bin" / "python"
        subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--python", python, "-r", requirements], check=True)
        try:
            (beside / "venv").rename(folder)
        except OSError:
            assert folder.exists(), "only another test run may have been faster"
        shutil.rmtree(beside, ignore_errors=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("version", ["1.109.1", "2.54.0", "3.52.0"])
def test_every_call_of_an_official_client_is_answered_as_its_types_say(stack: Stack, version: str) -> None:
    python = environment(HERE / f"openai-{version}.txt")
    env = {"OPENAI_BASE_URL": stack.base_url, "OPENAI_API_KEY": stack.api_key, "PATH": os.environ["PATH"]}
    calls = subprocess.run(
        [python, HERE / "calls.py", "training", BASE], env=env, capture_output=True, text=True, timeout=280
    )
    assert calls.returncode == 0, calls.stdout + calls.stderr
    assert calls.stdout.startswith(f"openai {version}: every call of training")
