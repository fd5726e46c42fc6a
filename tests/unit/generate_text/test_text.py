"""Text leaves whole: no half characters, nothing of a stop sequence, and in the end exactly the decoded tokens."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.generate_text.text import Answer, Detokeniser, StopMatcher


def decode(ids: list[int]) -> str:
    """Token = byte, as in a byte-level vocabulary without merges."""
    return bytes(ids).decode("utf-8", errors="replace")


def told(data: bytes, stops: tuple[str, ...] = ()) -> tuple[list[str], Answer]:
    answer = Answer(decode, stops)
    parts = [answer.add(byte) for byte in data]
    return [*parts, answer.end()], answer


@given(st.text(max_size=40))
def test_whole_characters_arrive_and_their_sum_is_the_text(text: str) -> None:
    parts, _ = told(text.encode())
    assert "".join(parts) == text.rstrip("\ufffd")
    assert all("\ufffd" not in part for part in parts) or "\ufffd" in text


def test_a_character_is_told_with_its_last_byte() -> None:
    parts, _ = told("a🙂b".encode())
    assert parts == ["a", "", "", "", "🙂", "b", ""]


def test_an_unfinished_character_is_never_told() -> None:
    parts, _ = told("ab🙂".encode()[:-1])
    assert "".join(parts) == "ab"


def test_bytes_that_are_no_text_do_not_block_what_follows() -> None:
    parts, _ = told(b"\xff" * 40 + b"ok")
    assert "".join(parts).endswith("ok")
    assert "".join(parts) == decode([255] * 40) + "ok"


@given(st.binary(max_size=60))
def test_any_bytes_give_the_decoded_text_up_to_a_half_at_the_end(data: bytes) -> None:
    parts, _ = told(data)
    whole, said = decode(list(data)), "".join(parts)
    assert whole.startswith(said)
    assert whole[len(said) :].strip("\ufffd") == ""


def test_sentencepiece_like_decoding_keeps_spaces() -> None:
    words = ["▁the", "▁fox", "es", "▁run"]
    spoken = Detokeniser(lambda ids: "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" "))
    assert [spoken.add(i) for i in range(4)] == ["the", " fox", "es", " run"]


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["Hello wor", "ld. STOP more"], ("STOP",), "Hello world. "),
        (["Hello ST", "OP more"], ("STOP",), "Hello "),
        (["Hello S", "TO", "RM"], ("STOP",), "Hello STORM"),
        (["a\n", "\nb"], ("\n\n", "b"), "a"),
        (["xab", "abc"], ("ababc",), "x"),
        (["one two"], ("two", "one"), ""),
    ],
)
def test_stop_sequences_are_found_across_pieces(pieces: list[str], stops: tuple[str, ...], expected: str) -> None:
    matcher = StopMatcher(stops)
    assert "".join([matcher.add(piece) for piece in pieces]) + matcher.end() == expected


def test_stop_matching_equals_searching_the_whole_text() -> None:
    rng = random.Random(3)
    for _ in range(500):
        text = "".join(rng.choices("ab", k=20))
        stops = tuple("".join(rng.choices("ab", k=rng.randint(2, 5))) for _ in range(rng.randint(1, 3)))
        found = [at for at in map(text.find, stops) if at >= 0]
        matcher = StopMatcher(stops)
        out = "".join([matcher.add(letter) for letter in text]) + matcher.end()
        first_end = min((text.find(s) + len(s), text.find(s)) for s in stops if s in text) if found else None
        assert out == (text[: first_end[1]] if first_end else text)


def test_tokens_of_a_stop_sequence_are_not_visible() -> None:
    _, answer = told(b"abcSTOPxyz", ("STOP",))
    assert answer.stopped
    assert answer.visible == 3
