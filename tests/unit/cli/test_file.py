"""`temper file preview`: what is trained on is green, or between brackets where there are no colours."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from infra.cli.file import show

TEXT = "<user>[bold]?<end><bot>Yes.<end>"
FOUND: dict[str, Any] = {
    "row": 3,
    "examples": [{"text": TEXT, "trained": [[TEXT.index("Yes"), len(TEXT)]], "tokens": 9}],
}


def shown(found: dict[str, Any], **how: Any) -> str:
    told = io.StringIO()
    show(Console(file=told, width=200, **how), found)
    return told.getvalue()


def test_without_colours_what_is_trained_on_stands_between_brackets() -> None:
    told = shown(FOUND)
    assert told.splitlines()[0] == "row 3 · 9 tokens · 1 part ⟦trained on⟧, the rest is asked with"
    assert "<user>[bold]?<end><bot>⟦Yes.<end>⟧" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("how", [{}, {"no_color": True}])
def test_on_a_terminal_what_is_trained_on_is_coloured_where_colours_are_wanted(how: dict[str, Any]) -> None:
    told = shown(FOUND, force_terminal=True, color_system="standard", **how)
    assert ("\x1b[1;32mYes.<end>" in told) is not bool(how)
    assert ("⟦Yes.<end>⟧" in told) is bool(how)


def test_a_chat_that_makes_several_examples_shows_each_of_them() -> None:
    told = shown({**FOUND, "examples": FOUND["examples"] * 2})
    assert "row 3 · example 1 of 2 ·" in told
    assert "row 3 · example 2 of 2 ·" in told
