"""Labels are the assistant's turns and the token that ends each of them, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.prepare_job.labels import UnlabelledError, cut_front, label_mask, turn_span

FULL = "<u>hi<e><a>yo<e>\n<u>so<e><a>ok<e>\n"


def letters(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """One token per character."""
    return [ord(letter) for letter in text], [(at, at + 1) for at in range(len(text))]


def marked(text: str, mask: bytearray) -> str:
    return "".join(letter for letter, bit in zip(text, mask, strict=True) if bit)


def test_a_turn_reaches_from_its_prompt_to_its_end() -> None:
    assert turn_span(FULL, "<u>hi<e><a>", "<u>hi<e><a>yo<e>\n", "yo") == (11, 17)


def test_generation_marks_are_used_where_they_lie_inside_the_turn() -> None:
    prompt, upto = "<u>hi<e><a>", "<u>hi<e><a>yo<e>\n"
    assert turn_span(FULL, prompt, upto, "yo", (11, 16)) == (11, 16)
    assert turn_span(FULL, prompt, upto, "yo", (3, 16)) == (11, 17)


def test_a_rewritten_history_is_found_by_its_answer() -> None:
    upto = "<u>hi<e><a><think></think>yo<e>\n"
    assert turn_span(FULL, "<u>hi<e><a>", upto, "yo") == (11, 17)
    with pytest.raises(UnlabelledError, match="earlier assistant turn"):
        turn_span(FULL, "<u>hi<e><a>", upto, "other")


def test_a_generation_prompt_that_training_does_not_have_is_refused() -> None:
    with pytest.raises(UnlabelledError, match="never sees"):
        turn_span(FULL, "<u>hi<e><a><think>", FULL, "yo")


def test_the_mask_ends_with_the_first_stop_of_each_turn() -> None:
    ids, offsets = letters("q:yo.\nq:ok.\n")
    mask = label_mask(ids, offsets, [(8, 12), (2, 6)], {ord(".")})
    assert marked("q:yo.\nq:ok.\n", mask) == "yo.ok."


def test_a_turn_without_a_stop_is_refused() -> None:
    with pytest.raises(UnlabelledError) as caught:
        label_mask(*letters("q:yo"), [(2, 4)], {0})
    assert caught.value.code == "no_end_of_turn"


def test_a_row_without_a_trained_token_is_refused() -> None:
    with pytest.raises(UnlabelledError) as caught:
        label_mask(*letters("q:yo"), [], {0})
    assert caught.value.code == "no_trained_token"


@given(st.lists(st.tuples(st.text("abc", max_size=4), st.text("xyz", min_size=1, max_size=4)), min_size=1, max_size=5))
def test_the_mask_is_exactly_the_answers(turns: list[tuple[str, str]]) -> None:
    text, spans, answers = "", [], ""
    for question, answer in turns:
        text += f"[{question}]"
        spans.append((len(text), len(text) + len(answer) + 1))
        text += answer + "."
        answers += answer + "."
    assert marked(text, label_mask(*letters(text), spans, {ord(".")})) == answers


def test_the_front_is_cut_by_tokens() -> None:
    _, offsets = letters("<u>one two three<e>")
    assert cut_front("one two three", 3, offsets, 4) == "two three"
    assert cut_front("one two three", 3, offsets, 13) is None
