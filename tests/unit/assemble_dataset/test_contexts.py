"""Which passages may stand together, whatever the ranking offers."""

from contracts.corpus import Chunks, CorpusPlan, Example
from functions.assemble_dataset.contexts import drafts
from functions.assemble_dataset.core import Passage, RowSettings, passages, select
from functions.assemble_dataset.report import coverage, covered_by
from tests.unit.assemble_dataset.archive import Archive, archive, chunk, example, name, planned


def passages_of(made: Archive) -> list[Passage]:
    return passages(made.plan, made.documents)


def alone(*texts: str, asked: int = 1) -> Archive:
    """Return one document for training with a question about its first chunk."""
    parts = [chunk(name("doc", 1), at, text) for at, text in enumerate(texts)]
    document = Chunks(document=name("doc", 1), path="a", sha256="b", chunks=tuple(parts))
    plans = (*planned("train", parts[:1]), *planned("train", parts[1:], asked))
    plan = CorpusPlan(seed=3, chunks=plans, dropped=(), rejected_documents=())
    return Archive(plan, (document,), (example(parts[0], texts[0], "What is said first?", texts[0]),))


def drawn(made: Archive, **settings: float) -> list[tuple[int, ...]]:
    """Return what each training row shows where the ranking offers every passage of every split."""
    own, chosen = passages_of(made), RowSettings.model_validate(settings)
    selection = select(made.examples, {passage.chunk.id: passage for passage in own}, chosen)

    def everything(_: Example) -> range:
        return range(len(own))

    return [draft.shown for draft in drafts(selection, own, everything, chosen, made.plan.seed)["train"]]


def test_a_ranking_that_offers_the_other_split_is_not_followed() -> None:
    made = archive(documents=4, held_out=2)
    own = passages_of(made)
    rows = drawn(made, hard=6, random=2)
    assert len(rows) > 32
    assert {own[place].split for row in rows for place in row} == {"train"}


def test_the_same_words_are_not_shown_twice() -> None:
    rows = drawn(
        alone("One thing.", "Another thing.", "another  thing!", "A third."), hard=4, random=4, absent_share=0.5
    )
    assert {frozenset(row) for row in rows} <= {frozenset(s) for s in ((0, 1, 3), (0, 2, 3), (1, 3), (2, 3))}


def test_an_example_with_nothing_beside_it_has_one_row_and_no_refusal() -> None:
    assert drawn(alone("One thing."), variants=4, absent_share=0.5) == [(0,)]


def test_chunks_that_nothing_was_asked_of_do_not_lower_coverage() -> None:
    for asked, chunks in ((1, 3), (0, 1)):
        made = alone("One thing.", "Another thing.", "A third.", asked=asked)
        own = passages_of(made)
        selection = select(made.examples, {passage.chunk.id: passage for passage in own}, RowSettings())
        made_rows = drafts(selection, own, lambda _: (), RowSettings(), 1)["train"]
        assert coverage(own, covered_by(selection, made_rows), "train") == (1, chunks)
