"""Keys: shape, checksum, where they are looked for."""

import secrets

import pytest

from contracts.wire.errors import ApiError
from functions.edge.auth import RANDOM_BYTES, encode_key, key_hash, presented, well_formed


def test_a_key_carries_all_its_random_bits() -> None:
    assert RANDOM_BYTES * 8 >= 160
    keys = {encode_key((1 << bit).to_bytes(RANDOM_BYTES, "big")) for bit in range(RANDOM_BYTES * 8)}
    assert len(keys) == RANDOM_BYTES * 8
    assert {len(key) for key in keys} == {39}
    assert well_formed(encode_key(b"\xff" * RANDOM_BYTES))


def test_every_typo_of_one_character_is_noticed() -> None:
    key = encode_key(secrets.token_bytes(RANDOM_BYTES))
    assert well_formed(key)
    for index in range(len(key)):
        for other in "0aZ-é":
            typo = key[:index] + other + key[index + 1 :]
            assert well_formed(typo) == (typo == key)
    assert not well_formed(key[:-1])
    assert not well_formed(key + "\n")


def test_only_as_many_random_bytes_as_needed_make_a_key() -> None:
    with pytest.raises(ValueError, match="21 random bytes"):
        encode_key(b"short")


def test_the_stored_hash_does_not_hold_the_key() -> None:
    key = encode_key(bytes(RANDOM_BYTES))
    assert len(key_hash(key)) == 64
    assert key not in key_hash(key)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer abc")],
        [(b"authorization", b"bearer  abc ")],
        [(b"api-key", b"abc")],
        [(b"authorization", b"Basic x"), (b"api-key", b"abc")],
        [(b"api-key", b"other"), (b"authorization", b"Bearer abc")],
    ],
)
def test_a_key_is_found_in_either_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert presented(headers) == "abc"


def test_no_key_is_a_401_with_a_sentence() -> None:
    with pytest.raises(ApiError) as refused:
        presented([(b"authorization", b"Basic x")])
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
