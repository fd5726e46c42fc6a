"""What a control document gets back after MongoDB was lost."""

from __future__ import annotations

from contracts.controls import KEPT_CHECKPOINTS
from functions.control_job.recovery import kept


def test_of_a_thousand_checkpoints_the_newest_of_each_kind_come_back() -> None:
    found = kept([{"step": step, "epoch_end": step % 10 == 0} for step in range(1, 1001)])
    assert len(found) == 2 * KEPT_CHECKPOINTS
    assert max(each["step"] for each in found) == 1000
    assert [each["step"] for each in found if each["epoch_end"]] == list(range(1000 - 70, 1001, 10))
