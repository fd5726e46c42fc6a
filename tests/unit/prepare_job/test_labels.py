"""Labels are the tokens of the answers, each with the end of its turn, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from functions.prepare_job.labels import cut_front, token_spans


def letters(text: str) -> list[tuple[int, int]]:
    """One token per character."""
    return [(at, at + 1) for at in range(len(text))]


def test_the_tokens_of_a_span_are_those_inside_it() -> None:
    assert token_spans([(0, 2), (2, 5), (5, 6), (6, 9)], [(2, 6)]) == [(1, 3)]


def test_a_token_that_reaches_into_a_span_or_out_of_it_is_told() -> None:
    assert token_spans([(0, 3), (3, 5)], [(2, 5)]) is None
    assert token_spans([(0, 2), (2, 5)], [(2, 4)]) is None
    assert token_spans([(0, 2)], [(2, 2)]) is None


def test_white_space_that_a_token_hides_belongs_to_it() -> None:
    assert token_spans([(0, 2), (3, 5), (5, 6)], [(2, 6)]) == [(1, 3)]


@given(st.lists(st.tuples(st.text("abc", max_size=4), st.text("xyz", min_size=1, max_size=4)), min_size=1, max_size=5))
def test_the_tokens_are_exactly_the_answers(turns: list[tuple[str, str]]) -> None:
    text, spans, answers = "", [], ""
    for question, answer in turns:
        text += f"[{question}]"
        spans.append((len(text), len(text) + len(answer) + 1))
        text += answer + "."
        answers += answer + "."
    found = token_spans(letters(text), spans)
    assert found is not None
    assert "".join(text[first:behind] for first, behind in found) == answers


def test_the_front_is_cut_by_tokens() -> None:
    content = "one two three"
    assert cut_front(content, letters(content), 4) == "two three"
    assert cut_front(content, letters(content), 13) is None
