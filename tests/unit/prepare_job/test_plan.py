"""Hyperparameters, steps, checkpoints and estimates of a plan."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.blobs import BlobRef
from contracts.events.jobs import Hyperparameters, JobCreated, Plan, Tuning
from contracts.events.models import ModelRegistered
from contracts.manifest import ManifestRef
from contracts.wire.openai import derived_seed
from functions.prepare_job.plan import (
    PROBE_TOKENS,
    Shape,
    StoredTokens,
    checkpoint_steps,
    choose,
    histogram,
    make_plan,
    memory,
)

BLOB = BlobRef(key="a/b/c", sha256="0" * 64, bytes=1)
SHAPE = Shape(1_000_000, 50_000, 128, 4, 384, 1024, 4)


def base(**more: Any) -> ModelRegistered:
    ref = ManifestRef(key="public/m", sha256="1" * 64)
    known: dict[str, Any] = {"kind": "base", "manifest": ref, "template_sha256": "2" * 64, "context": 512}
    return ModelRegistered(**{**known, "owned_by": "public", **more})


def created(**more: Any) -> JobCreated:
    return JobCreated(model="tiny", training_file="file-1", **more)


@pytest.mark.parametrize(("rows", "epochs"), [(10, 10), (33, 4), (34, 3), (500, 3), (20_000, 1), (3, 25)])
def test_auto_epochs_follow_openais_published_rule(rows: int, epochs: int) -> None:
    choice = choose(created(), rows, base())
    assert choice.n_epochs == epochs
    assert choice.reasons["n_epochs"]


@pytest.mark.parametrize(("rows", "batch"), [(10, 4), (2500, 5), (10**6, 64), (3, 3)])
def test_auto_batches_are_a_share_of_the_rows(rows: int, batch: int) -> None:
    assert choose(created(), rows, base()).batch_size == batch


def test_what_the_user_asked_for_is_taken_and_needs_no_reason() -> None:
    asked = Hyperparameters(n_epochs=7, batch_size=9, learning_rate_multiplier=0.5, context_length=64)
    choice = choose(created(hyperparameters=asked), 100, base(auto={"learning_rate": 0.01, "n_epochs": 30}))
    assert (choice.n_epochs, choice.batch_size, choice.learning_rate) == (7, 9, 0.005)
    assert choice.context_length == 64
    assert set(choice.reasons) == {"learning_rate"}


def test_the_rate_is_the_bases_own_or_falls_with_its_size() -> None:
    assert choose(created(), 100, base(auto={"learning_rate": 0.01})).learning_rate == 0.01
    rates = [choose(created(), 100, base(parameters=size)).learning_rate for size in (10**6, 10**9, 8 * 10**9)]
    assert rates[1] == pytest.approx(2e-4)
    assert rates[0] > rates[1] > rates[2] > 1e-5
    full = choose(created(tuning=Tuning(kind="full")), 100, base(auto={"learning_rate": 0.01}))
    assert full.learning_rate == pytest.approx(0.001)


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=200))
def test_the_histogram_counts_every_row_once(lengths: list[int]) -> None:
    found = histogram(lengths)
    assert len(found.edges) == len(found.counts) + 1 <= 13
    for low, high, count in zip(found.edges, found.edges[1:], found.counts, strict=False):
        assert count == sum(low <= length < high for length in lengths)
    assert sum(found.counts) == len(lengths)


@given(st.integers(1, 10**6), st.floats(1e-4, 100), st.integers(1000, 10**9))
def test_checkpoints_are_neither_too_many_nor_beyond_the_end(total: int, seconds: float, trainable: int) -> None:
    every = checkpoint_steps(total, seconds, trainable)
    assert 1 <= every <= total
    assert total / every <= 500 or every == 1


def test_a_small_model_is_saved_every_ten_seconds_and_a_large_one_rarer() -> None:
    assert checkpoint_steps(1000, 0.5, 50_000) == 20
    assert checkpoint_steps(1000, 0.5, 10**9) > 1000 / 5


def test_a_real_base_is_timed_in_less_than_three_gigabytes() -> None:
    smollm2 = Shape(134_515_008, 4_884_480, 576, 30, 1536, 49_152, 4)
    assert memory(smollm2, 1, 1024, 0.1) == pytest.approx(3334 * 2**20, rel=0.08), "as much as it was measured to take"
    assert memory(smollm2, 1, PROBE_TOKENS, 0.1) < 3e9


def test_memory_grows_with_what_is_trained_and_with_the_batch() -> None:
    small, larger = memory(SHAPE, 4, 100, 0.1), memory(SHAPE, 8, 100, 0.1)
    full = memory(Shape(1_000_000, 1_000_000, 128, 4, 384, 1024, 4), 4, 100, 0.1)
    assert 4_000_000 < small < larger < full + larger


def found() -> dict[str, Any]:
    counts = {"rows": 18, "examples": 18, "rows_per_epoch": 10, "tokens": 900, "label_tokens": 90, "longest": 80}
    left = {"dropped": 2, "truncated": 1}
    return {
        "train": {**counts, **left, "histogram": {"edges": [0, 100], "counts": [18]}},
        "valid": None,
        "chat_template_kwargs": {},
        "row_shape": "chat",
        "shape": {name: getattr(SHAPE, name) for name in SHAPE.__slots__},
        "measured": {"step_seconds": 0.2, "valid_seconds": 0.0, "how": "steps were timed", "device": "cpu"},
    }


def test_the_plan_follows_from_what_was_counted_and_measured() -> None:
    asked = created(hyperparameters=Hyperparameters(n_epochs=4, batch_size=4), seed=5)
    arguments = ("ftjob-1", asked, base(), choose(asked, 20, base()), found(), StoredTokens(BLOB, None, BLOB))
    plan = make_plan(*arguments)
    assert isinstance(plan, Plan)
    assert (plan.total_steps, plan.warmup_steps, plan.seed) == (12, 1, 5)
    assert plan.seconds == pytest.approx(12 * 0.2 + 5 * 0.103)
    assert (plan.rows, plan.rows_per_epoch, plan.dropped_rows, plan.truncated_rows) == (18, 10, 2, 1)
    assert plan == make_plan(*arguments)


def test_a_job_that_names_no_seed_has_the_one_that_it_has_shown_since_it_was_created() -> None:
    choice = choose(created(), 10, base())
    for job in ("ftjob-1", "ftjob-2", "ftjob-3"):
        assert make_plan(job, created(), base(), choice, found(), StoredTokens(BLOB, None, BLOB)).seed == derived_seed(
            job
        )
