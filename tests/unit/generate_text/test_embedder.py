"""The embedding loop: small batches, turns, bounds, failures; the model is written here, to see what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from functions.generate_text import embedder
from functions.generate_text.embedder import Embedder, InputRow
from functions.generate_text.generation import EngineError, OverloadedError


class Counting:
    """Its vectors are the number of tokens; it computes when it is let."""

    dimensions, padded = 1, True

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on, self.begun = threading.Event(), threading.Event()

    def embed(self, rows: Sequence[InputRow]) -> np.ndarray[Any, Any]:
        self.begun.set()
        assert self.go_on.wait(20)
        self.batches.append([len(row.ids) for row in rows])
        if any(row.ids[0] == 13 for row in rows):
            raise ValueError("unlucky")
        return np.array([[len(row.ids)] for row in rows], np.float32)


@pytest.fixture
def loop() -> Iterator[Embedder]:
    made = Embedder(1)
    yield made
    made.close()


def rows(*lengths: int, first: int = 1) -> list[InputRow]:
    return [InputRow([first] * length) for length in lengths]


def busy(loop: Embedder, model: Any) -> Any:
    """Let the loop compute one row of somebody's, so that what comes next waits together."""
    ask = loop.submit(model, rows(1), "before")
    assert model.begun.wait(20)
    return ask


def test_batches_are_small_and_every_vector_goes_where_it_belongs(loop: Embedder) -> None:
    model: Any = Counting()
    lengths = [600, 3, 500, 2000, *range(1, 101)]
    ask = loop.submit(model, rows(*lengths), "a")
    model.go_on.set()
    assert ask.done.result(20)[:, 0].tolist() == lengths
    for batch in model.batches:
        assert len(batch) == 1 or (len(batch) <= embedder.MOST_ROWS and len(batch) * max(batch) <= embedder.MOST_TOKENS)
    assert len(model.batches) < len(lengths) / 2


def test_a_long_request_holds_up_nobody(loop: Embedder) -> None:
    model: Any = Counting()
    first, ended = busy(loop, model), list[str]()

    def noted(name: str) -> Callable[[Any], None]:
        return lambda _: ended.append(name)

    asked = {
        "long": loop.submit(model, rows(*[100] * 200), "a"),
        "own short": loop.submit(model, rows(100), "a"),
        "other's": loop.submit(model, rows(100), "b"),
    }
    for name, ask in asked.items():
        ask.done.add_done_callback(noted(name))
    model.go_on.set()
    for ask in (first, *asked.values()):
        ask.done.result(20)
    assert ended == ["other's", "own short", "long"]


def test_what_must_not_be_padded_shares_batches_of_one_length(loop: Embedder) -> None:
    model: Any = Counting()
    model.padded = False
    ask = loop.submit(model, rows(2, 3, 2, 3, 4), "a")
    model.go_on.set()
    ask.done.result(20)
    assert sorted(model.batches) == [[2, 2], [3, 3], [4]]


def test_a_tenant_that_waits_for_too_much_is_refused_and_others_are_not(
    loop: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "MOST_WAITING", 10)
    model: Any = Counting()
    asked = [busy(loop, model), loop.submit(model, rows(20), "a")]
    with pytest.raises(OverloadedError, match="1 of your requests"):
        loop.submit(model, rows(1), "a")
    asked.append(loop.submit(model, rows(1), "b"))
    model.go_on.set()
    for ask in asked:
        ask.done.result(20)


def test_a_batch_that_fails_ends_its_requests_and_the_loop_goes_on(loop: Embedder) -> None:
    model: Any = Counting()
    model.go_on.set()
    with pytest.raises(EngineError, match="reason of the server's own"):
        loop.submit(model, rows(2, first=13), "a").done.result(20)
    assert loop.submit(model, rows(2), "a").done.result(20).tolist() == [[2.0]]


def test_what_nobody_waits_for_is_not_computed(loop: Embedder) -> None:
    model: Any = Counting()
    busy(loop, model)
    gone = loop.submit(model, rows(*[100] * 50), "a")
    gone.cancelled = True
    gone.done.cancel()
    last = loop.submit(model, rows(7), "a")
    model.go_on.set()
    assert last.done.result(20).tolist() == [[7.0]]
    assert model.batches == [[1], [7]]


def test_closing_ends_what_waits() -> None:
    loop, model = Embedder(1), Counting()
    anything: Any = model
    busy(loop, anything)
    waiting = loop.submit(anything, rows(5), "a")
    threading.Timer(0, model.go_on.set).start()
    loop.close()
    assert waiting.done.done()
    with pytest.raises(EngineError, match="closed"):
        loop.submit(anything, rows(5), "a")
