"""P5: a group is healthy when it gets on, not when it answers."""

import time

from aiokafka import TopicPartition

from infra.adapters.kafka.progress import STUCK_SECONDS, Progress

PLACE = TopicPartition("file.uploaded", 0)


def test_a_group_with_nothing_to_do_is_well_however_long() -> None:
    progress = Progress(lag=0, moved=time.monotonic() - 10 * STUCK_SECONDS)
    assert progress.status()["state"] == "ok"


def test_a_group_with_work_and_no_progress_is_stuck() -> None:
    progress = Progress(lag=3, moved=time.monotonic() - STUCK_SECONDS - 1)
    assert progress.status()["state"] == "stuck"
    progress.done(PLACE, 7)
    assert progress.status()["state"] == "ok"


def test_a_group_whose_lag_nobody_knows_is_stuck_in_the_end() -> None:
    assert Progress(moved=time.monotonic() - STUCK_SECONDS - 1).status()["state"] == "stuck"
    assert Progress().status()["state"] == "ok"


def test_a_wait_is_told_with_its_place_and_reason_until_it_is_over() -> None:
    progress = Progress(lag=1)
    progress.waiting[PLACE] = "mongo: MongoDB does not answer"
    assert progress.status()["state"] == "waiting"
    assert progress.status()["waiting"] == {"file.uploaded/0": "mongo: MongoDB does not answer"}
    progress.done(PLACE, 0)
    assert progress.status()["waiting"] == {}
