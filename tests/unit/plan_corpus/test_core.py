"""What becomes of an archive's chunks: which stay, which are held out, how many rows each is asked for."""

import itertools
import random
import re
from collections.abc import Sequence

import pytest

from contracts.canonical import sha256
from contracts.corpus import Chunk, Chunks, CorpusPlan, Span
from contracts.envelope import derived_id
from functions.plan_corpus.core import plan
from functions.plan_corpus.duplicates import SIMILAR, duplicates

VOCABULARY = [f"word{n}" for n in range(3000)]


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return the 5-shingles of a text the plain way."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}


def similarity(one: str, other: str) -> float:
    first, second = shingles(one), shingles(other)
    return len(first & second) / len(first | second)


def prose(seed: object, n: int = 120) -> str:
    return " ".join(random.Random(str(seed)).choices(VOCABULARY, k=n))


def changed(text: str, n: int, seed: int = 1) -> str:
    """Return `text` with `n` of its words replaced."""
    words, chance = text.split(), random.Random(seed)
    for at in chance.sample(range(len(words)), n):
        words[at] = f"other{chance.randrange(10**9)}"
    return " ".join(words)


def document(name: str, texts: Sequence[str], headings: Sequence[str] = (), overlap: int = 0) -> Chunks:
    """Return a document of these chunks, each sharing `overlap` characters with the one before."""
    sha, archive = sha256(name.encode()), "file-1"
    id, start, made = "doc-" + derived_id(archive, sha).replace("-", ""), 0, []
    for index, text in enumerate(texts):
        span = Span(page=1, start=max(0, start - overlap), end=start + len(text))
        start = span.end + 1
        made.append(
            Chunk(
                id="chunk-" + derived_id(id, index, text).replace("-", ""),
                document=id,
                index=index,
                heading=headings[index] if headings else "",
                text=text,
                tokens=len(text.split()),
                spans=(span,),
            )
        )
    return Chunks(document=id, path=f"{name}.txt", sha256=sha, chunks=tuple(made))


def corpus(n_documents: int, n_sections: int = 4, n_chunks: int = 3, overlap: int = 0) -> list[Chunks]:
    """Return documents of sections of chunks that are all different."""
    return [
        document(
            f"d{d}",
            [prose((d, s, c)) for s in range(n_sections) for c in range(n_chunks)],
            [f"S{s}" for s in range(n_sections) for _ in range(n_chunks)],
            overlap,
        )
        for d in range(n_documents)
    ]


def split_of(made: CorpusPlan) -> dict[str, str]:
    return {each.chunk: each.split for each in made.chunks}


@pytest.mark.parametrize("n_documents", [3, 12])
def test_fifty_orders_of_documents_and_members_give_the_same_plan(n_documents: int) -> None:
    documents = corpus(n_documents)
    twins = document("twins", [changed(documents[0].chunks[n].text, n) for n in range(6)], ["S0"] * 6)
    documents += [twins, document("copy", [each.text for each in documents[1].chunks[:5]] + [prose("own")])]
    rejected = [f"doc-{n}" for n in range(5)]
    expected = plan(documents, rejected, 0.1, 2)
    assert expected.dropped
    assert "held_out" in split_of(expected).values()
    chance = random.Random(3)
    for _ in range(50):
        chance.shuffle(documents)
        chance.shuffle(rejected)
        mixed = [
            each.model_copy(update={"chunks": tuple(chance.sample(each.chunks, len(each.chunks)))})
            for each in documents
        ]
        assert plan(mixed, rejected, 0.1, 2) == expected


def test_the_same_archive_uploaded_twice_is_split_alike() -> None:
    first = corpus(5)
    second = [
        each.model_copy(
            update={
                "document": each.document[::-1],
                "chunks": tuple(
                    chunk.model_copy(update={"id": chunk.id[::-1], "document": each.document[::-1]})
                    for chunk in each.chunks
                ),
            }
        )
        for each in first
    ]
    one, two = plan(first, (), 0.2, 1), plan(second, (), 0.2, 1)
    assert one.seed == two.seed
    assert split_of(one) == {chunk[::-1]: split for chunk, split in split_of(two).items()}
    assert plan(corpus(6), (), 0.2, 1).seed != one.seed


def test_no_held_out_chunk_has_a_near_duplicate_in_training() -> None:
    chance = random.Random(5)
    base = [prose(("base", n)) for n in range(60)]
    documents = []
    for d in range(14):
        picked = [changed(chance.choice(base), chance.randrange(0, 12), chance.randrange(10**6)) for _ in range(15)]
        documents.append(document(f"d{d}", picked, [f"S{n // 3}" for n in range(15)]))
    for part in (documents, documents[:5]):
        text = {chunk.id: chunk.text for each in part for chunk in each.chunks}
        made = plan(part, (), 0.2, 1)
        assert {"train", "held_out"} == set(split_of(made).values())
        for one, other in itertools.combinations(made.chunks, 2):
            assert similarity(text[one.chunk], text[other.chunk]) < SIMILAR
        staying = {each.chunk for each in made.chunks}
        assert made.dropped
        for gone in made.dropped:
            assert gone.of in staying
            assert gone.similarity == pytest.approx(similarity(text[gone.chunk], text[gone.of]))
            assert gone.similarity >= SIMILAR
        assert staying | {each.chunk for each in made.dropped} == set(text)


def test_what_differs_in_case_white_space_and_marks_is_the_same_and_the_first_stays() -> None:
    text = prose("a")
    same = [text, text.upper().replace(" ", "\n  "), f"# {text.replace(' ', ', ')}.", "\n".join(f"* “{text}”".split())]
    made = plan([document("d", [*same, "Two words", "two words", "two others", "***", "---"])], (), 0, 1)
    assert [(each.similarity, each.chunk == each.of) for each in made.dropped] == [(1.0, False)] * 4
    assert len(made.chunks) == 5


def test_similarity_decides_and_not_the_sketch() -> None:
    """Of 2,000 pairs on both sides of the threshold each is found, and none besides."""
    chunks, expected = [], []
    for n in range(2000):
        text = prose(("pair", n), 100)
        twin = changed(text, 1 + n % 4, n)  # one word in a hundred: 0.9; four: about 0.68
        first, second = document(f"p{n}", [text, twin]).chunks
        chunks += [first, second]
        if similarity(text, twin) >= SIMILAR:
            expected.append((second.id, first.id))
    assert 500 < len(expected) < 1500
    assert [(each.chunk, each.of) for each in duplicates(chunks)] == expected


@pytest.mark.parametrize("n_documents", [10, 25])
def test_of_many_documents_whole_ones_are_held_out(n_documents: int) -> None:
    documents = corpus(n_documents)
    split = split_of(plan(documents, (), 0.2, 1))
    sides = [{split[chunk.id] for chunk in each.chunks} for each in documents]
    assert all(len(each) == 1 for each in sides)
    assert sides.count({"held_out"}) == n_documents // 5


def test_of_few_documents_whole_sections_are_held_out() -> None:
    documents = corpus(9)
    split = split_of(plan(documents, (), 0.1, 1))
    sides: dict[tuple[str, str], set[str]] = {}
    for each in documents:
        for chunk in each.chunks:
            sides.setdefault((each.document, chunk.heading), set()).add(split[chunk.id])
    assert all(len(each) == 1 for each in sides.values())
    assert list(sides.values()).count({"held_out"}) in (3, 4)  # of 36


@pytest.mark.parametrize("overlap", [0, 40])
def test_chunks_that_share_text_are_on_one_side(overlap: int) -> None:
    headings = ["A", "A", "A › B", "C", "C", "D"]
    documents = [document(f"d{n}", [prose((n, at)) for at in range(6)], headings, overlap) for n in range(6)]
    split = split_of(plan(documents, (), 0.3, 1))
    sides = [[split[chunk.id] for chunk in each.chunks] for each in documents]
    if overlap:  # all of a document hangs together
        assert all(len(set(each)) == 1 for each in sides)
    else:
        assert any(len(set(each)) == 2 for each in sides)
        assert all(each[0] == each[1] and each[3] == each[4] for each in sides)


def test_text_shared_beyond_a_chunk_between_counts() -> None:
    """A table's first row, which every later chunk of it repeats."""
    texts = [prose(n) for n in range(5)]
    made = document("t", texts, ["A", "B", "C", "D", "E"])
    row = Span(page=1, start=0, end=20)
    shared = tuple(
        chunk.model_copy(update={"spans": (row, *chunk.spans)}) if index in (2, 4) else chunk
        for index, chunk in enumerate(made.chunks)
    )
    for salt in range(20):
        documents = [made.model_copy(update={"chunks": shared, "sha256": sha256(str(salt).encode())})]
        split = split_of(plan(documents, (), 0.4, 1))
        assert len({split[shared[n].id] for n in (0, 2, 4)}) == 1


def test_what_is_held_out_comes_near_the_share() -> None:
    for n, share in itertools.product((4, 30, 100), (0.1, 0.25, 0.5)):
        made = plan(corpus(n, 6, 2), (), share, 1)
        held = sum(each.split == "held_out" for each in made.chunks)
        assert held / len(made.chunks) == pytest.approx(share, abs=0.05)


def test_something_is_held_out_and_something_trained_on_where_there_are_two_sections() -> None:
    two = [document("d", [prose(1), prose(2, 40)], ["A", "B"])]
    for share in (0.01, 0.1, 0.9, 0.99):
        assert set(split_of(plan(two, (), share, 1)).values()) == {"train", "held_out"}
    assert set(split_of(plan(two, (), 0, 1)).values()) == {"train"}
    assert set(split_of(plan(two, (), 1, 1)).values()) == {"held_out"}
    one = [document("d", [prose(1), prose(2)])]
    assert set(split_of(plan(one, (), 0.5, 1)).values()) == {"train"}


def test_rows_follow_a_chunks_length_between_one_and_twice_the_setting() -> None:
    lengths = (100, 100, 200, 400, 10)
    made = plan([document("d", [prose(n, length) for n, length in enumerate(lengths)])], (), 0, 3)
    rows = {each.chunk: each.rows for each in made.chunks}
    chunks = document("d", [prose(n, length) for n, length in enumerate(lengths)]).chunks
    assert [rows[each.id] for each in chunks] == [2, 2, 4, 6, 1]  # the average has 162 words


def test_the_plan_is_sorted_and_names_the_rejected() -> None:
    made = plan(corpus(3), ["doc-b", "doc-a"], 0.1, 1)
    assert [each.chunk for each in made.chunks] == sorted(each.chunk for each in made.chunks)
    assert made.rejected_documents == ("doc-a", "doc-b")
    assert 0 <= made.seed < 2**48
