"""Result files: what each step becomes in OpenAI's CSV and in Anyscale's JSON lines."""

import json
import math

from contracts.events.jobs import StepMetrics
from contracts.results import COLUMNS, CSV, JSONL, as_csv, as_jsonl, result_ids

STEPS = [
    StepMetrics(step=1, train_loss=2.0, train_mean_token_accuracy=0.25, tokens=10, valid_loss=3.0, elapsed=0.5),
    StepMetrics(
        step=2, train_loss=1.0, train_mean_token_accuracy=0.5, tokens=20, full_valid_loss=0.0,
        full_valid_mean_token_accuracy=1.0, elapsed=1.25,
    ),
    StepMetrics(step=3, train_loss=0.123456, train_mean_token_accuracy=0.75, full_valid_loss=1e4),
]  # fmt: skip


def test_the_table_has_openais_columns_and_nothing_where_nothing_was_measured() -> None:
    assert as_csv(STEPS).decode().splitlines() == [
        ",".join(COLUMNS),
        "1,2.00000,0.25000,3.00000,,,",
        "2,1.00000,0.50000,0.00000,1.00000,,",
        "3,0.12346,0.75000,10000.00000,,,",
    ]


def test_a_line_has_anyscales_fields_and_a_perplexity_at_the_end_of_an_epoch_only() -> None:
    first, second, third = map(json.loads, as_jsonl(STEPS, n_epochs=2, total_steps=4, context=64).splitlines())
    assert first == {
        "epoch": 0, "iteration": 1, "train_loss": 2.0, "trained_tokens": 10, "valid_loss": None, "perplexity": None,
        "hyperparameters": {"n_epochs": 2, "context_length": 64}, "time_since_job_start": 0.5,
    }  # fmt: skip
    assert (second["epoch"], second["valid_loss"], second["perplexity"]) == (0, 0.0, math.exp(0))
    assert (third["epoch"], third["perplexity"], third["time_since_job_start"]) == (1, None, None)


def test_the_ids_are_the_jobs_own() -> None:
    assert list(result_ids("ftjob-a")) == [CSV, JSONL]
    assert len({*result_ids("ftjob-a").values(), *result_ids("ftjob-b").values()}) == 4
