"""What assembly refuses, and how it compares wordings."""

import pytest

from contracts.corpus import Chunks, CorpusPlan
from functions.assemble_dataset.core import RowSettings, draw, messages, needle, normal, passages, refusal
from tests.unit.assemble_dataset.archive import archive, chunk, example, name, planned


@pytest.mark.parametrize(
    ("text", "answer", "there"),
    [
        ("It weighs 20 kg.", "20 KG", True),
        ("It weighs 120 kg.", "20 kg", False),
        ("The  valve,\nclosed", "valve closed", True),
        ("Der Schlüssel liegt im Büro", "büro.", True),
        ("阀门重二十公斤", "二十公斤", True),
        ("ﬁlter", "Filter", True),
    ],
)
def test_an_answer_is_found_whatever_its_case_marks_and_script(text: str, answer: str, there: bool) -> None:
    assert (needle(answer) in f" {normal(text)} ") is there


def test_draws_are_fixed_for_ever_and_differ_by_key() -> None:
    assert draw(7, "row-1", 0) == 18339428672096085972
    assert len({draw(seed, name, turn) for seed in range(10) for name in "abc" for turn in range(10)}) == 300


def refused(**given: int) -> tuple[str, str, float | None] | None:
    counts = {"rows": 100, "covered": 40, "chunks": 50, "examples": 50, **given}
    required = RowSettings(coverage_required=True)
    found = refusal(**counts, dropped={"unfaithful": 4, "duplicate": 2}, settings=required)
    return None if found is None else (found.code, found.message, found.coverage)


def test_what_is_whole_enough_is_not_refused() -> None:
    assert refused() is None
    assert refused(covered=25, rows=10) is None


def test_low_coverage_is_no_refusal_unless_somebody_asked_for_more() -> None:
    counts = {"rows": 100, "covered": 4, "chunks": 50, "examples": 50}
    assert refusal(**counts, dropped={}, settings=RowSettings()) is None
    found = refusal(**counts, dropped={}, settings=RowSettings(coverage_required=True))
    assert found is not None
    assert found.code == "coverage_too_low"


def test_each_refusal_has_a_code_its_numbers_and_what_to_do() -> None:
    low = refused(covered=24)
    assert low is not None
    assert (low[0], low[2]) == ("coverage_too_low", 0.48)
    assert "24 of 50 training chunks have a row (48%; 50% needed)" in low[1]
    assert "2 duplicate, 4 unfaithful" in low[1]
    assert "min_coverage" in low[1]
    few = refused(rows=9)
    assert few is not None
    assert (few[0], few[2]) == ("too_few_rows", 0.8)
    assert "9 training rows; 10 are needed" in few[1]
    none = refused(examples=0, rows=0, covered=0)
    assert none is not None
    assert (none[0], none[2]) == ("no_examples", 0.0)


def test_a_plan_with_a_chunk_that_no_document_has_is_an_error() -> None:
    made = archive()
    with pytest.raises(ValueError, match="the plan names 8 chunks that no document has, such as chunk-"):
        passages(made.plan, made.documents[1:])


def test_dropped_chunks_are_no_passages() -> None:
    made = archive(documents=2, held_out=0)
    plan = CorpusPlan(seed=1, chunks=made.plan.chunks[:5], dropped=(), rejected_documents=())
    found = passages(plan, made.documents)
    assert {passage.chunk.id for passage in found} == {part.chunk for part in plan.chunks}


def test_overlapping_held_out_spans_keep_their_neighbours_out() -> None:
    """Spans are [start, end): one that ends where the other begins shares nothing."""
    document = name("doc", 1)
    texts = {0: 10, 8: 30, 10: 5, 40: 4, 37: 3, 60: 2}
    parts = [chunk(document, at, "x" * length, start=start) for at, (start, length) in enumerate(texts.items())]
    parts = [part.model_copy(update={"spans": (part.spans[0].model_copy(update={"page": 1}),)}) for part in parts]
    plan = CorpusPlan(
        seed=1,
        chunks=(*planned("held_out", parts[:3]), *planned("train", parts[3:])),
        dropped=(),
        rejected_documents=(),
    )
    file = Chunks(document=document, path="a", sha256="b", chunks=tuple(parts))
    leaks = {passage.chunk.spans[0].start: passage.leaks for passage in passages(plan, [file])}
    assert leaks == {0: False, 8: False, 10: False, 40: False, 37: True, 60: False}


def test_the_form_of_a_row_is_the_one_that_the_demo_base_knows() -> None:
    part = chunk(name("doc", 1), 0, "The pump weighs 20 kg.\nIt is red.")
    plan = CorpusPlan(seed=1, chunks=tuple(planned("train", [part])), dropped=(), rejected_documents=())
    shown = passages(plan, [Chunks(document=name("doc", 1), path="a", sha256="b", chunks=(part,))])
    brief = messages(example(part, "The pump weighs 20 kg.", "What does the pump weigh?", "20 kg"), shown, False)
    assert [(turn["role"], turn["content"]) for turn in brief] == [
        ("system", "Answer briefly from the context."),
        ("user", "Context:\n[1] The pump weighs 20 kg. It is red.\n\nQuestion: What does the pump weigh?"),
        ("assistant", "20 kg"),
    ]
    quoted = messages(example(part, "It is red.", "Which colour is it?", "It is red."), shown, False)
    assert quoted[0]["content"] == "Answer with the sentence from the context."


def test_a_heading_stands_once_before_its_text_and_apart_from_the_first_sentence() -> None:
    texts = ("The pump\nIt weighs 20 kg.", "It is red.", "The pump is old.", "The pump")
    parts = [chunk(name("doc", 1), at, text, heading="Manual › The pump") for at, text in enumerate(texts)]
    plan = CorpusPlan(seed=1, chunks=tuple(planned("train", parts)), dropped=(), rejected_documents=())
    file = Chunks(document=name("doc", 1), path="a", sha256="b", chunks=tuple(parts))
    assert [passage.shown for passage in passages(plan, [file])] == [
        "Manual › The pump: It weighs 20 kg.",
        "Manual › The pump: It is red.",
        "The pump is old.",
        "The pump",
    ]
    assert [passage.shown for passage in passages(plan, [file], headings=1)][:2] == [
        "The pump: It weighs 20 kg.",
        "The pump: It is red.",
    ]
    assert [passage.shown for passage in passages(plan, [file], headings=0)][:2] == ["It weighs 20 kg.", "It is red."]
