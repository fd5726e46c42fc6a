"""lm-eval: local-completions with the tokenizer that the key fetches; local-chat-completions."""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import quote

from cells import BASE_URL, KEY, MODEL, cell, main

FOLDER = Path(tempfile.mkdtemp())
ROWS = [{"q": f"What is code {nth}?", "choices": ["red", "blue"], "gold": nth % 2, "a": "red"} for nth in range(6)]
COMMON = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": str(FOLDER / "rows.jsonl")}},
    "test_split": "test",
    "doc_to_text": "{{q}}",
}
TASKS = {
    "choices": {
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}],
    },
    "written": {
        "output_type": "generate_until",
        "doc_to_target": "{{a}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match"}],
    },
    "rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{q}}",
        "metric_list": [{"metric": "word_perplexity"}],
    },
}


def tokenizer():
    """The files of the model that are no weights, by the API."""
    folder = FOLDER / "tokenizer"
    if not folder.exists():
        folder.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json"):
            folder.joinpath(name).write_bytes(get(f"/models/{quote(MODEL, safe=':')}/files/{name}"))
    return folder


def get(path):
    """GET a path with the key."""
    asked = urllib.request.Request(f"{BASE_URL}{path}", headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.read()


def lm_eval(model, task, path, *more, **arguments):
    """Return the metrics of a task."""
    FOLDER.joinpath("rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    FOLDER.joinpath(f"{task}.yaml").write_text(json.dumps({"task": task, **COMMON, **TASKS[task]}))
    out = Path(tempfile.mkdtemp())
    said = {"model": MODEL, "base_url": f"{BASE_URL}{path}", "num_concurrent": 1, "max_retries": 1, **arguments}
    told = ",".join(f"{name}={value}" for name, value in said.items())
    command = [sys.executable, "-m", "lm_eval", "--model", model, "--model_args", told, "--tasks", task]
    command += ["--include_path", FOLDER, "--output_path", out, *more]
    env = {**os.environ, "HF_HOME": str(FOLDER / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-800:]
    (found,) = out.rglob("results*.json")
    return json.loads(found.read_text())["results"][task]


@cell("local-completions: multiple choice by log-probabilities")
def choices():
    found = lm_eval("local-completions", "choices", "/completions", tokenizer=tokenizer(), tokenized_requests=True)
    assert 0 <= found["acc,none"] <= 1


@cell("local-completions: multiple choice, texts instead of token ids")
def texts():
    found = lm_eval("local-completions", "choices", "/completions", tokenizer=tokenizer(), tokenized_requests=False)
    assert 0 <= found["acc,none"] <= 1


@cell("local-completions: generate_until")
def written():
    found = lm_eval("local-completions", "written", "/completions", tokenizer=tokenizer())
    assert 0 <= found["exact_match,none"] <= 1


@cell("local-completions: perplexity of texts")
def rolling():
    found = lm_eval("local-completions", "rolling", "/completions", tokenizer=tokenizer(), max_length=512)
    assert found["word_perplexity,none"] > 1


@cell("local-chat-completions: generate_until")
def chat():
    found = lm_eval("local-chat-completions", "written", "/chat/completions", "--apply_chat_template")
    assert 0 <= found["exact_match,none"] <= 1


main()
