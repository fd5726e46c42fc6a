"""Environments of other programs: made once from a file of pinned packages, kept in the cache for all checkouts."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.settings import default_cache


def environment(requirements: Path, kind: str) -> Path:
    """Return the Python of an environment with exactly these packages, which lies in the cache under `kind`."""
    name = f"{requirements.stem}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    folder = default_cache() / kind / name
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
            assert folder.exists(), "only another run may have been faster"
        shutil.rmtree(beside, ignore_errors=True)
    return folder / "bin" / "python"
