"""What trackers are told fits what they take."""

import pytest
from mlflow.utils.validation import _validate_experiment_name

from functions._shared import runs

JOB = {"tenant": "local", "created": {"model": "m" * 96, "training_file": "file-" + "1" * 32}}


@pytest.mark.parametrize("name", ["a" * 450 + ".jsonl", "größe" * 200])
def test_a_long_file_name_is_shortened_for_trackers(name: str) -> None:
    found = runs.experiment(JOB, {"filename": name})
    _validate_experiment_name(found)
    assert len(found) <= runs.LONGEST_NAME
    assert found.startswith(f"local/{'m' * 96}/{name[:50]}")
    assert found.endswith("… (file-11111111111111111111111111111111)")


def test_other_experiments_keep_their_names() -> None:
    assert runs.experiment(JOB, {"filename": "f.jsonl"}) == f"local/{'m' * 96}/f.jsonl (file-{'1' * 32})"
