"""Chunks whose vectors are near each other: which of them go, whatever the order and however sums are rounded."""

import random
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.corpus import Chunk, Chunks, CorpusPlan
from functions.plan_corpus import near as module
from functions.plan_corpus.core import plan
from functions.plan_corpus.duplicates import duplicates
from functions.plan_corpus.near import Near
from tests.unit.plan_corpus.test_core import corpus, document, prose, split_of

SIMILAR = 0.9
DIMENSIONS = 24


def lettered(documents: Sequence[Chunks]) -> list[Chunks]:
    """Return documents whose words have no digits: what has other numbers is never the same."""
    letters = str.maketrans("0123456789", "abcdefghij")
    return [
        each.model_copy(
            update={
                "chunks": tuple(
                    chunk.model_copy(update={"text": chunk.text.translate(letters)}) for chunk in each.chunks
                )
            }
        )
        for each in documents
    ]


def unit(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def vectors_of(documents: Sequence[Chunks], groups: int = 40, noise: float = 0.05) -> dict[str, NDArray[np.float32]]:
    """Return chunk → its vector: those of a group are nearly the same; they depend on the text alone."""
    centres = np.random.default_rng(1).normal(size=(groups, DIMENSIONS))
    found = {}
    for chunk in (chunk for each in documents for chunk in each.chunks):
        own = np.random.default_rng(int.from_bytes(chunk.text.encode()[:12], "big"))
        found[chunk.id] = unit(centres[own.integers(groups)][None] + noise * own.normal(size=(1, DIMENSIONS)))[0]
    return found


def finder(vectors: dict[str, NDArray[np.float32]], order: Sequence[str]) -> Near:
    ids = sorted(order)
    return Near(np.stack([vectors[id] for id in ids]), {id: row for row, id in enumerate(ids)}, order, SIMILAR)


def planned(documents: Sequence[Chunks], vectors: dict[str, NDArray[np.float32]]) -> CorpusPlan:
    return plan(documents, (), 0.2, 1, partial(finder, vectors))


def expected(chunks: Sequence[Chunk], vectors: dict[str, NDArray[np.float32]]) -> dict[str, str]:
    """Return what goes → for the sake of what, one pair at a time."""
    stays: list[str] = []
    gone: dict[str, str] = {}
    for chunk in chunks:
        own = vectors[chunk.id].astype(np.float64)
        scores = [round(float(vectors[other].astype(np.float64) @ own), 6) for other in stays]
        if scores and max(scores) >= SIMILAR:
            gone[chunk.id] = stays[scores.index(max(scores))]
        else:
            stays.append(chunk.id)
    return gone


@pytest.mark.parametrize("block", [1, 7, 64, 256])
def test_every_pair_is_found_and_none_besides_in_blocks_of_any_size(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    documents = lettered(corpus(12))
    chunks = [chunk for each in documents for chunk in each.chunks]
    vectors = vectors_of(documents)
    dropped = duplicates(chunks, finder(vectors, [chunk.id for chunk in chunks]))
    wanted = expected(chunks, vectors)
    assert 50 < len(wanted) < len(chunks) - 30
    assert {each.chunk: each.of for each in dropped} == wanted
    assert {each.by for each in dropped} == {"embedding"}
    assert all(SIMILAR <= each.similarity <= 1 for each in dropped)


def test_any_order_of_documents_and_members_gives_the_same_plan() -> None:
    documents = lettered(corpus(12))
    vectors = vectors_of(documents)
    wanted = planned(documents, vectors)
    assert {"train", "held_out"} == set(split_of(wanted).values())
    chance = random.Random(3)
    for _ in range(5):
        chance.shuffle(documents)
        mixed = [
            each.model_copy(update={"chunks": tuple(chance.sample(each.chunks, len(each.chunks)))})
            for each in documents
        ]
        assert planned(mixed, vectors) == wanted


def test_no_held_out_chunk_is_near_one_in_training_and_what_it_went_for_stays() -> None:
    documents = lettered(corpus(12))
    vectors = vectors_of(documents)
    made = planned(documents, vectors)
    stay = np.stack([vectors[each.chunk] for each in made.chunks]).astype(np.float64)
    assert np.triu(np.round(stay @ stay.T, 6), 1).max() < SIMILAR
    assert {each.of for each in made.dropped} <= set(split_of(made))
    assert plan(documents, (), 0.2, 1).dropped == ()  # their words are like no other's


def test_words_come_before_vectors_and_each_says_what_it_found() -> None:
    text = prose("a")
    copy, told, other = text.upper(), prose("in other words"), prose("of something else")
    (first, second, third, fourth) = lettered([document("d", [text, copy, told, other])])[0].chunks
    near = unit(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]))
    vectors = {each.id: vector for each, vector in zip((first, second, third, fourth), near, strict=True)}
    chunks = [first, second, third, fourth]
    found = duplicates(chunks, finder(vectors, [each.id for each in chunks]))
    assert [(each.chunk, each.of, each.by) for each in found] == [
        (second.id, first.id, "minhash"),
        (third.id, first.id, "embedding"),
    ]
    assert found[1].similarity == pytest.approx(1 / 1.01**0.5, abs=1e-6)


def test_what_has_other_numbers_says_something_else() -> None:
    texts = ["Support for E2 ends in 2024.", "The support of e2 will end in 2024.", "Support for E2 ends in 2025."]
    chunks = document("d", texts).chunks
    vectors = {each.id: unit(np.array([[1.0, at / 1000]]))[0] for at, each in enumerate(chunks)}
    (found,) = duplicates(chunks, finder(vectors, [each.id for each in chunks]))
    assert (found.chunk, found.of) == (chunks[1].id, chunks[0].id)


def test_vectors_without_a_direction_are_near_nothing() -> None:
    chunks = document("d", [prose(n) for n in range(3)]).chunks
    vectors = {each.id: np.zeros(4, np.float32) for each in chunks}
    assert duplicates(chunks, finder(vectors, [each.id for each in chunks])) == ()
