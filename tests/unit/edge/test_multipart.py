"""Forms: however the bytes are cut, the same parts come out."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.wire.errors import ApiError
from functions.edge.multipart import Form

CONTENT = b"first\r\nline\r\n--xx\r\n--x--\r\n\x00\xff--xxy"
BODY = (
    b'--xxx\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--xxx\r\nContent-Disposition: form-data; name="file"; filename="a \\"b\\".jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + CONTENT + b"\r\n--xxx--\r\n"
)
TYPE = "multipart/form-data; boundary=xxx"


def parsed(chunks: list[bytes]) -> tuple[Form, bytes]:
    form, content = Form(TYPE), b""
    for chunk in chunks:
        form.feed(chunk)
        content += b"".join(form.take())
    return form, content


@given(st.lists(st.integers(0, len(BODY)), max_size=20))
def test_any_cut_of_the_body_gives_the_same_form(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    form, content = parsed([BODY[start:end] for start, end in pairwise(edges)])
    assert content == CONTENT
    assert form.fields == {"purpose": "fine-tune"}
    assert form.filename == b'a "b".jsonl'
    assert form.complete


@given(st.integers(0, len(BODY) - 3))
def test_a_body_that_ends_early_is_never_complete(end: int) -> None:
    form, _ = parsed([BODY[:end]])
    assert not form.complete


@pytest.mark.parametrize("length", [257, 4000])
def test_a_boundary_beyond_what_is_parsed_is_refused(length: int) -> None:
    with pytest.raises(ApiError, match="oundary length"):
        Form(f"multipart/form-data; boundary={'x' * length}")


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_incomplete_and_nothing_else(garbage: bytes) -> None:
    with suppress(ApiError):  # nothing else may come
        form, _ = parsed([garbage])
        assert not form.complete or b"--xxx--" in garbage
