"""Who measures and who trains decide alike in which precision."""

from __future__ import annotations

import pytest

from functions._shared import precision
from functions._shared.precision import LEAST_PARAMETERS, is_bfloat16


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bfloat16_where_it_is_faster(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_is_fast", lambda: fast)
    assert is_bfloat16("auto", "cuda", 1)
    assert is_bfloat16("auto", "cpu", LEAST_PARAMETERS) is fast
    assert not is_bfloat16("auto", "cpu", LEAST_PARAMETERS - 1)
    assert not is_bfloat16("auto", "mps", LEAST_PARAMETERS)


def test_what_is_asked_for_is_done() -> None:
    for device in ("cpu", "cuda"):
        assert is_bfloat16("bfloat16", device, 1)
        assert not is_bfloat16("float32", device, LEAST_PARAMETERS)
