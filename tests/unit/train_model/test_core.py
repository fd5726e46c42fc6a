import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from functions.train_model import core

PLAN = {
    "version": 1, "job": "j", "model_dir": "m", "train": "t", "output_dir": "o",
    "n_epochs": 3, "batch_size": 4, "learning_rate": 0.01, "seed": 1,
}  # fmt: skip


def ragged(count: int) -> core.Array:
    return np.array([5 + (i * 37) % 90 for i in range(count)], dtype=np.int64)


@given(st.integers(1, 300), st.integers(1, 17), st.integers(0, 2**32 - 1), st.integers(0, 50))
def test_an_epoch_holds_every_row_once_in_full_batches_and_the_incomplete_one_last(
    count: int, size: int, seed: int, epoch: int
) -> None:
    batches = core.epoch_batches(ragged(count), size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(count))
    assert len(batches) == core.steps_per_epoch(count, size)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    lengths = ragged(200)
    first = core.epoch_batches(lengths, 8, 42, 0)
    assert first == core.epoch_batches(lengths, 8, 42, 0)
    assert first != core.epoch_batches(lengths, 8, 42, 1)
    assert first != core.epoch_batches(lengths, 8, 43, 0)


def test_the_company_of_a_row_changes_between_epochs_even_in_a_small_file() -> None:
    lengths = ragged(48)
    companies = [{frozenset(batch) for batch in core.epoch_batches(lengths, 4, 1, epoch)} for epoch in range(2)]
    assert len(companies[0] & companies[1]) <= 4  # of 12


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 50))
def test_an_epoch_takes_one_of_each_rows_variants_and_they_take_turns(sizes: list[int], seed: int, epoch: int) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)[core.shuffled(sum(sizes), seed, 0)]
    turns = [core.epoch_rows(groups, seed, epoch + each) for each in range(max(sizes))]
    assert all(groups[rows].tolist() == list(range(len(sizes))) for rows in turns)
    assert np.unique(np.concatenate(turns)).tolist() == list(range(sum(sizes)))
    assert (core.epoch_rows(groups, seed, epoch) == turns[0]).all()


def test_the_first_variant_is_not_the_same_for_all() -> None:
    groups = np.arange(400) // 2
    first = core.epoch_rows(groups, 1, 0) % 2
    assert 60 < int(first.sum()) < 140
    assert (core.epoch_rows(groups, 1, 1) % 2 == 1 - first).all()


def test_rows_without_variants_are_all_taken() -> None:
    assert core.epoch_rows(np.arange(50), 7, 3).tolist() == list(range(50))


@given(st.integers(1, 90), st.integers(1, 9), st.integers(0, 5))
def test_the_batches_of_an_epoch_hold_the_rows_that_it_takes(count: int, size: int, epoch: int) -> None:
    picked = core.epoch_rows(np.arange(count) // 3, 5, epoch)
    batches = core.epoch_batches(ragged(count), size, 5, epoch, picked)
    assert sorted(row for batch in batches for row in batch) == sorted(picked.tolist())


def test_the_shuffle_never_changes_with_a_library() -> None:
    assert core.shuffled(10, 42, 0).tolist() == [2, 1, 8, 4, 6, 0, 9, 7, 5, 3]
    assert core.step_seed(42, 7, 1) == 7687885573730224646


def test_grouping_by_length_removes_most_padding() -> None:
    lengths = ragged(2000)

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    order = core.shuffled(2000, 1, 0)
    random = [order[i : i + 8].tolist() for i in range(0, 2000, 8)]
    real = int(lengths.sum())
    assert padded(core.epoch_batches(lengths, 8, 1, 0)) - real < 0.15 * (padded(random) - real)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 9))
def test_processes_share_a_batch_and_make_the_same_number_of_passes(rows: int, world: int, micro: int) -> None:
    cut = [core.micro_batches(range(rows), rank, world, micro) for rank in range(world)]
    assert sorted(row for rank in cut for part in rank for row in part) == list(range(rows))
    assert {len(rank) for rank in cut} == {core.passes(rows, world, micro)}
    assert all(len(part) <= micro for rank in cut for part in rank)


@given(st.integers(1, 100), st.integers(1, 12), st.integers(1, 3), st.integers(1, 12))
def test_an_epochs_passes_are_those_of_its_batches(rows: int, size: int, world: int, micro: int) -> None:
    batches = core.epoch_batches(ragged(rows), size, 0, 0)
    assert core.epoch_passes(rows, size, world, micro) == sum(core.passes(len(b), world, micro) for b in batches)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("linear", [1 / 3, 2 / 3, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1 / 3, 2 / 3, 1.0, 0.8535534, 0.5, 0.1464466]),
        ("constant", [1 / 3, 2 / 3, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_rate_warms_up_and_then_follows_its_schedule(schedule: str, factors: list[float]) -> None:
    assert [core.rate_factor(schedule, step, 6, 2) for step in range(6)] == pytest.approx(factors)


def test_checkpoints_come_at_the_ends_of_epochs_and_every_so_many_steps() -> None:
    assert [s for s in range(1, 13) if core.is_checkpoint_due(s, 6, 0)] == [6, 12]
    assert [s for s in range(1, 13) if core.is_checkpoint_due(s, 6, 4)] == [4, 6, 8, 12]


def test_samples_of_validation_rows_leave_the_ends_of_epochs_to_the_full_score() -> None:
    assert [s for s in range(1, 13) if core.is_sample_eval_due(s, 6, 3)] == [3, 9]
    assert not any(core.is_sample_eval_due(s, 6, 0) for s in range(1, 13))
    assert core.sample_rows(5, 3, 3) == [4, 0, 1]
    assert core.sample_rows(2, 8, 1) == [0, 1]


def test_the_micro_batch_halves_down_to_one_row() -> None:
    tried = [11]
    while (smaller := core.smaller_micro_batch(tried[-1])) is not None:
        tried.append(smaller)
    assert tried == [11, 5, 2, 1]


def test_the_heaviest_rows_are_the_longest_and_those_with_most_labels() -> None:
    lengths, labels = np.array([9, 3, 7, 7]), np.array([1, 2, 5, 1])
    assert core.heaviest_rows(lengths, labels, 2) == [[0, 2], [2, 1]]
    assert core.heaviest_rows(lengths, lengths, 2) == [[0, 2]]


def test_evaluation_batches_hold_rows_of_like_length() -> None:
    assert core.evaluation_batches(np.array([5, 1, 4, 2]), [0, 1, 2, 3], 2) == [[1, 3], [2, 0]]


@pytest.mark.parametrize(
    ("ids", "mask", "offsets", "said"),
    [
        (0, 0, [0], "no rows"),
        (5, 4, [0, 5], "inconsistent"),
        (5, 5, [0, 4], "inconsistent"),
        (5, 5, [1, 5], "inconsistent"),
        (5, 5, [0, 4, 5], "Row 1 has fewer than two tokens"),
        (5, 5, [0, 6, 5], "Row 1 has fewer than two tokens"),
    ],
)
def test_a_broken_tokens_file_is_described(ids: int, mask: int, offsets: list[int], said: str) -> None:
    assert said in (core.token_file_error(ids, mask, np.array(offsets)) or "")


def test_a_whole_tokens_file_is_accepted() -> None:
    assert core.token_file_error(5, 5, np.array([0, 2, 5])) is None


def test_a_checkpoint_belongs_to_a_plan_whatever_the_folders_are_called() -> None:
    plan = core.RecipePlan.model_validate(PLAN)
    saved = core.fingerprint(plan, np.array([0, 3, 9]))
    moved = plan.model_copy(update={"output_dir": "elsewhere", "checkpoint_every": 7})
    assert core.differences(saved, core.fingerprint(moved, np.array([0, 3, 9]))) == []
    other = plan.model_copy(update={"seed": 2})
    assert core.differences(saved, core.fingerprint(other, np.array([0, 3, 8]))) == ["seed", "tokens"]


@pytest.mark.parametrize("change", [{"n_epochs": 0}, {"batch_size": 0}, {"learning_rate": 0}, {"epochs": 3}])
def test_a_plan_that_cannot_run_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        core.RecipePlan.model_validate({**PLAN, **change})
