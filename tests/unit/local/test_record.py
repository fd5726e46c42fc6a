"""What runs in a home is found again."""

from __future__ import annotations

import os

import psutil
import pytest

from infra.local.record import born, is_running


def test_a_process_is_the_same_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    since, boot = born(os.getpid()), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600, raising=False)
    assert is_running(os.getpid(), since)
    assert not is_running(os.getpid(), since + 60), "another one with the same pid"
    assert not is_running(2**22 + 1, since)
