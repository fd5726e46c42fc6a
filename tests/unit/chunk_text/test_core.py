"""How a document's text is cut into chunks."""

import itertools
import math
import random
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.corpus import Chunk, Chunks, Element, Kind, Page, Span, Text, text_at
from functions.chunk_text.core import MAX_LEVEL, TINY, chunk
from functions.chunk_text.pieces import sentences

Part = tuple[Kind, int | None, str]
DOCUMENT = "doc-" + "1" * 32


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> int:
    return len(text)


def document(*pages: Sequence[Part]) -> Text:
    """Return a document whose pages have these elements, a blank line between two."""
    made, elements = [], []
    for number, parts in enumerate(pages, 1):
        text = ""
        for kind, level, words_of_it in parts:
            span = Span(page=number, start=len(text), end=len(text) + len(words_of_it))
            elements.append(Element(kind=kind, span=span, level=level))
            text += words_of_it + "\n\n"
        made.append(Page(number=number, text=text))
    return Text(
        document=DOCUMENT,
        path="a.txt",
        format="txt",
        sha256="0" * 64,
        paged=True,
        pages=tuple(made),
        elements=tuple(elements),
    )


def table(rows: Sequence[str], before: str = "") -> Text:
    """Return a document with a table each row of which is an element, under the heading `Leave`."""
    made = document([title("Leave"), ("text", None, before)])
    text, elements = made.pages[0].text, list(made.elements)
    for row in rows:
        elements.append(Element(kind="table", span=Span(page=1, start=len(text), end=len(text) + len(row))))
        text += row + "\n"
    return made.model_copy(update={"pages": (Page(number=1, text=text),), "elements": tuple(elements)})


def title(text: str, level: int = 1) -> Part:
    return ("title", level, text)


def prose(n_sentences: int, n_words: int = 8, mark: str = "w") -> str:
    """Return sentences of `n_words` words that are all different."""
    return " ".join(
        " ".join([f"{mark.upper()}{n}", *(f"{mark}{n}x{k}" for k in range(n_words - 2)), f"end{n}."])
        for n in range(n_sentences)
    )


def texts(made: Chunks) -> list[str]:
    return [each.text for each in made.chunks]


def test_a_short_document_is_one_chunk_with_its_heading_and_its_page() -> None:
    made = chunk(document([title("Leave"), ("text", None, "Staff has 30 days.")]), words, 20, 4)
    only = made.chunks[0]
    assert texts(made) == ["Leave\nStaff has 30 days."]
    assert (only.heading, only.tokens, only.index, only.previous, only.next) == ("Leave", 5, 0, None, None)
    assert re.fullmatch(r"chunk-[0-9a-f]{32}", only.id)
    assert (made.document, made.path, made.sha256) == (DOCUMENT, "a.txt", "0" * 64)


def test_a_heading_of_the_same_or_a_higher_level_begins_a_chunk_and_a_lower_one_does_not() -> None:
    body = prose(2)
    text = document(
        [title("A"), ("text", None, body), title("A1", 2), ("text", None, body), title("B"), ("text", None, body)]
    )
    made = chunk(text, words, 60, 0)
    assert [each.heading for each in made.chunks] == ["A", "B"]
    assert made.chunks[0].text.splitlines()[2] == "A1"


def test_tiny_sections_share_a_chunk_under_the_heading_that_they_share() -> None:
    parts = [
        title("Terms"),
        *itertools.chain.from_iterable((title(f"T{n}", 2), ("text", None, "is one.")) for n in range(6)),
    ]
    made = chunk(document(parts), words, 48, 0)
    assert [each.heading for each in made.chunks] == ["Terms"]


def test_a_tiny_section_does_not_lead_from_one_large_section_to_the_next() -> None:
    large = prose(2)
    parts = [title("A"), ("text", None, large), title("B"), ("text", None, "tiny."), title("C"), ("text", None, large)]
    made = chunk(document(parts), words, 60, 0)
    assert [each.text.split()[0] for each in made.chunks] == ["A", "C"]
    assert "tiny." in made.chunks[0].text


def test_a_heading_is_not_left_alone_before_a_long_section() -> None:
    parts = [title("Guide"), title("Rules", 2), ("text", None, prose(10))]
    made = chunk(document(parts), words, 20, 0)
    assert made.chunks[0].text.startswith("Guide\nRules\nW0 ")
    assert made.chunks[0].heading == "Guide › Rules"
    last = [title("Guide"), ("text", None, prose(2)), title("Annex"), title("Lists", 2), ("text", None, prose(10))]
    ends = [each.text.splitlines()[-1] for each in chunk(document(last), words, 20, 0).chunks]
    assert not {"Annex", "Lists"} & set(ends)


@pytest.mark.parametrize("kind", ["text", "list", "table"])
def test_an_element_that_fits_a_chunk_is_kept_whole(kind: Kind) -> None:
    first, second = prose(3, mark="a"), prose(3, mark="b")
    made = chunk(document([("text", None, first), (kind, None, second)]), words, 26, 0)
    assert texts(made) == [first, second]
    exact = chunk(document([("text", None, first), (kind, None, second)]), words, 24, 0)
    assert texts(exact) == [first, second]


def test_a_long_paragraph_is_cut_at_sentence_ends() -> None:
    made = chunk(document([("text", None, prose(12))]), words, 20, 0)
    assert len(made.chunks) == 6
    assert all(each.text.startswith("W") and each.text.endswith(".") for each in made.chunks)
    assert [len(each.spans) for each in made.chunks] == [1] * 6


def test_a_long_sentence_is_cut_between_words_and_a_long_word_within() -> None:
    sentence = " ".join(f"word{n}" for n in range(500))
    made = chunk(document([("text", None, sentence)]), words, 32, 0)
    assert " ".join(texts(made)) == sentence
    assert all(24 <= each.tokens <= 32 for each in made.chunks[:-1])
    blob = "x" * 5000
    made = chunk(document([("text", None, blob)]), characters, 64, 0)
    assert "".join(texts(made)) == blob
    assert all(each.tokens <= 64 for each in made.chunks)


ROWS = ["name days note", *(f"row{n} {n} text{n}" for n in range(30))]


@pytest.mark.parametrize("apart", [False, True])
def test_a_long_table_goes_on_under_its_first_row(apart: bool) -> None:
    text = table(ROWS) if apart else document([title("Leave"), ("table", None, "\n".join(ROWS))])
    lines = [each.text.splitlines() for each in chunk(text, words, 32, 8).chunks]
    assert len(lines) > 2
    assert lines[0][:2] == ["Leave", ROWS[0]]
    assert all(each[0] == ROWS[0] for each in lines[1:])
    assert [row for each in lines for row in each if row.startswith("row")] == ROWS[1:]


def test_a_table_whose_rows_name_their_cells_repeats_as_text_does() -> None:
    text = table(ROWS).model_copy(update={"format": "csv"})
    lines = [each.text.splitlines() for each in chunk(text, words, 32, 4).chunks]
    assert all(later[0] == earlier[-1] for earlier, later in itertools.pairwise(lines))


def test_rows_that_are_elements_of_their_own_are_one_table_that_is_kept_whole() -> None:
    before = prose(3)
    text = table(ROWS[:7], before)
    assert texts(chunk(text, words, 32, 0)) == [f"Leave\n{before}", "\n".join(ROWS[:7])]


def test_a_chunk_repeats_whole_sentences_of_the_one_before_in_its_section_alone() -> None:
    text = document([title("A"), ("text", None, prose(9, mark="a")), title("B"), ("text", None, prose(9, mark="b"))])
    made = chunk(text, words, 60, 10).chunks
    assert [each.heading for each in made] == ["A", "A", "B", "B"]
    last = made[0].text.split(". ")[-1]
    assert words(last) == 8
    assert made[1].text.startswith(last)
    assert not re.findall(r"a\d+x", made[2].text)
    assert not set(chunk(text, words, 60, 7).chunks[1].text.split()) & set(made[0].text.split())  # a sentence has 8


def test_sentences_do_not_end_in_abbreviations_initials_or_before_small_letters() -> None:
    text = 'Ask Dr. Smith, e.g. in No. 5. "Is J. Doe in?" he said. Yes… Or not! 好。是。'
    assert [text[slice(*each)] for each in sentences(text, 0, len(text))] == [
        "Ask Dr. Smith, e.g. in No. 5.",
        '"Is J. Doe in?" he said.',
        "Yes…",
        "Or not!",
        "好。",
        "是。",
    ]


def test_a_chunk_may_go_over_pages_and_says_where_each_part_stands() -> None:
    made = chunk(document([("text", None, "one two")], [("text", None, "three four")]), words, 10, 0)
    assert made.chunks[0].spans == (Span(page=1, start=0, end=7), Span(page=2, start=0, end=10))


def test_nothing_comes_of_blank_elements() -> None:
    assert chunk(document([("text", None, " \n\t "), title("  ")]), words, 10, 0).chunks == ()
    assert chunk(document([]), words, 10, 0).chunks == ()


@pytest.mark.parametrize(("size", "overlap"), [(10, 10), (10, 11), (10, -1), (0, 0)])
def test_an_overlap_that_leaves_no_room_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap must be below the size"):
        chunk(document([("text", None, "a")]), words, size, overlap)


def test_ids_follow_from_document_place_and_text() -> None:
    rows = "h\n" + "same row\n" * 40
    text = document([("table", None, rows)], [("text", None, "same text.")], [("text", None, "same text.")])
    made = chunk(text, words, 8, 0)
    assert made == chunk(text, words, 8, 0)
    assert len({each.id for each in made.chunks}) == len(made.chunks)
    other = chunk(text.model_copy(update={"document": "doc-" + "2" * 32}), words, 8, 0)
    assert not {each.id for each in other.chunks} & {each.id for each in made.chunks}


KINDS: tuple[Kind, ...] = ("title", "text", "text", "list", "table")
LETTERS = st.text(st.sampled_from(list("aBcé好。 .!?\n\t😀-x1")), max_size=120)
PARTS = st.tuples(st.sampled_from(KINDS), st.one_of(st.none(), st.integers(-1, 12)), LETTERS)
COUNTS: tuple[Callable[[str], int], ...] = (
    words,
    characters,
    lambda text: (len(text) + 3) // 4,
    lambda text: len(text.encode()) + 7 * text.count("\n") + 5 * text.count(" "),  # worse in company than alone
)


@settings(max_examples=400, deadline=None)
@given(
    pages=st.lists(st.lists(PARTS, max_size=8), max_size=5),
    count=st.sampled_from(COUNTS),
    size=st.integers(1, 80),
    share=st.floats(0, 0.99),
)
def test_every_chunk_is_the_text_at_its_spans_within_its_size(
    pages: list[list[Part]], count: Callable[[str], int], size: int, share: float
) -> None:
    text = document(*pages)
    made = chunk(text, count, size, int(size * share)).chunks
    by_number = {page.number: page.text for page in text.pages}
    seen: dict[int, set[int]] = {page.number: set() for page in text.pages}
    for index, each in enumerate(made):
        assert each.text == text_at(text.pages, each.spans)
        assert each.text.strip()
        assert each.tokens == count(each.text)
        assert each.tokens <= size or len(each.text) == 1
        assert each.index == index
        assert each.previous == (made[index - 1].id if index else None)
        assert each.next == (made[index + 1].id if index + 1 < len(made) else None)
        for span in each.spans:
            seen[span.page] |= set(range(span.start, span.end))
    assert len({each.id for each in made}) == len(made)
    for number, page in by_number.items():  # nothing is lost
        assert {at for at, letter in enumerate(page) if not letter.isspace()} <= seen[number]


def _crossings(text: Text, each: Chunk) -> list[tuple[int, int]]:
    """Return the pairs (section before, section that begins) within a chunk, as numbers of titles."""
    starts = [(element.span.page, element.span.start) for element in text.elements if element.kind == "title"]
    inside = sorted({sum(start <= (span.page, span.start) for start in starts) for span in each.spans})
    return list(itertools.pairwise(inside))


@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), min_size=2, max_size=12), size=st.integers(24, 80)
)
def test_no_chunk_crosses_to_the_same_or_a_higher_level_unless_a_section_is_tiny(
    shape: list[tuple[int, int]], size: int
) -> None:
    parts: list[Part] = []
    for level, n_sentences in shape:
        parts += [title("H", level), ("text", None, prose(n_sentences, 3))]
    text = document(parts)
    own = [0, *(1 + 1 + 3 * n + 1 for _, n in shape)]  # title and text, one each for what joins them
    levels = [0, *(level for level, _ in shape)]
    for each in chunk(text, words, size, 0).chunks:
        pairs = _crossings(text, each)
        for before, entered in pairs:
            below = itertools.takewhile(lambda n, top=levels[entered]: levels[n] > top, range(entered + 1, len(levels)))  # type: ignore[misc]
            deep = own[entered] + sum(own[n] for n in below)
            earlier = {number for pair in pairs for number in pair if number <= before}
            tiny = deep * TINY < size or all(own[number] * TINY < size for number in earlier)
            assert levels[entered] > levels[before] or tiny


def test_a_path_of_headings_is_bounded() -> None:
    parts = [part for level in range(1, 400) for part in (title("t" * 5000, level), ("text", None, "word."))]
    made = chunk(document(parts), words, 16, 0)
    assert max(len(each.heading) for each in made.chunks) <= MAX_LEVEL * 203


def _pages(n: int) -> Text:
    """Return a document as reports are: headings, paragraphs, lists, a long table, a paragraph without an end."""
    chance = random.Random(7)

    def some(length: int) -> str:
        return prose(max(1, length // 9), 9, f"p{chance.randrange(10**6)}")

    made: list[list[Part]] = []
    for number in range(n):
        parts: list[Part] = [title(f"Chapter {number}", 1 + number % 3)] if number % 2 else []
        parts += [("text", None, some(chance.randrange(30, 300))) for _ in range(4)]
        parts += [("list", None, some(12)) for _ in range(4)]
        parts.append(("table", None, "\n".join(some(9) for _ in range(chance.randrange(2, 30)))))
        parts.append(("text", None, some(400).replace(".", "")))
        made.append(parts)
    return document(*made)


def test_the_characters_counted_grow_linearly_from_10_to_1000_pages() -> None:
    points = []
    for n in (10, 100, 1000):
        counted = [0]

        def count(text: str, counted: list[int] = counted) -> int:
            counted[0] += len(text)
            return (len(text) + 3) // 4

        text = _pages(n)
        chunk(text, count, 256, 32)
        characters_in_all = sum(len(page.text) for page in text.pages)
        assert counted[0] < 4 * characters_in_all
        points.append((math.log(characters_in_all), math.log(counted[0])))
    (x0, y0), _, (x1, y1) = points
    assert (y1 - y0) / (x1 - x0) <= 1.02


@pytest.mark.parametrize("kind", ["text", "table", "title"])
def test_one_element_of_any_length_is_counted_linearly(kind: Kind) -> None:
    for body in ("x" * 200_000, "ab " * 70_000, "Ab. " * 50_000, "a\tb\n" * 50_000, "好" * 100_000):
        counted = [0]

        def count(text: str, counted: list[int] = counted) -> int:
            counted[0] += len(text)
            return len(text.encode())

        made = chunk(document([(kind, None, body)]), count, 256, 32)
        assert counted[0] < 12 * len(body)
        assert all(each.tokens <= 256 for each in made.chunks)


def test_a_chunk_does_not_begin_in_the_middle_of_a_sentence_that_a_page_parts() -> None:
    before, after = "One two. Three four five", "six seven. Eight nine ten."
    made = chunk(document([("text", None, before)], [("text", None, after)]), words, 8, 0).chunks
    assert [each.text for each in made] == ["One two. Three four five", "six seven. Eight nine ten."]
    made = chunk(document([("text", None, before)], [("text", None, after)]), words, 16, 0).chunks
    assert [each.text for each in made] == [f"{before}\n{after}"]
    long = "One two. " * 6 + "Three four five"
    made = chunk(document([("text", None, long)], [("text", None, after)]), words, 16, 0).chunks
    assert [each.text for each in made] == [long, f"Three four five\n{after}"]
