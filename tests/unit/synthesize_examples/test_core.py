"""Which candidates are kept, and why the others are not."""

import pytest

from contracts.corpus import Example
from functions.synthesize_examples.core import Candidate, ExampleSelection, Origin, closed_book, places
from tests.unit.synthesize_examples.corpus import document

ORIGIN = Origin("endpoint", "pairs-1", "writer", "key")
RETENTION = (
    "Invoices must be kept for ten years in the archive at Lyon.\n"
    "Backups are written every night.  The archive is open to auditors."
)
QUOTE = "Invoices must be kept for ten years in the archive at Lyon."
GOOD = Candidate("For how long must invoices be kept?", "They are kept for 10 years.", QUOTE)


def examine(*candidates: Candidate, rows: int = 20) -> list[Example]:
    """Return the examples made of candidates about the only chunk of a document."""
    text, chunks, plan = document({"Retention": RETENTION}, rows=rows)
    found = places(plan.chunks, chunks, text.pages)
    return ExampleSelection(found).choose(found[0], candidates, ORIGIN)


def code(question: str = GOOD.question, answer: str = GOOD.answer, quote: str = GOOD.quote) -> str | None:
    """Return why a candidate is rejected."""
    return examine(Candidate(question, answer, quote))[0].code


def test_a_good_candidate_is_kept_with_its_span_and_origin() -> None:
    (example,) = examine(GOOD)
    assert (example.code, example.message, example.scores) == (None, None, {"support": 1.0})
    assert (example.span.start, example.span.end - example.span.start) == (len("Retention\n\n"), len(QUOTE))
    assert (example.generator, example.model, example.prompt, example.reply) == ("endpoint", "writer", "pairs-1", "key")
    assert example.id == examine(GOOD)[0].id != examine(Candidate("Where are invoices kept?", "Lyon", QUOTE))[0].id


def test_a_quote_may_differ_in_white_space_alone() -> None:
    assert code(quote="in the archive at Lyon. Backups are written", answer="the archive at Lyon") is None
    assert code(quote="Invoices must be kept for twelve years") == "quote_not_found"
    assert code(quote="") == "quote_not_found"
    assert code(quote="for ten") == "quote_not_found"


@pytest.mark.parametrize(
    "question",
    [
        "What does the passage say about invoices?",
        "For how long must these invoices be kept?",
        "For how long must they be kept in the archive?",
        "What is mentioned above about invoices?",
        "What rule does this document set for invoices?",
        "Who wrote Hamlet and Macbeth?",
        "Why?",
    ],
)
def test_a_question_that_needs_the_chunk_to_be_understood_is_rejected(question: str) -> None:
    assert code(question=question) == "not_self_contained"


@pytest.mark.parametrize(
    "question",
    [
        "According to the section on invoices, for how long is one archived?",
        "In the document Retention, for how long are invoices kept?",
        "What is the rule of the handbook on invoices?",
    ],
)
def test_a_question_that_names_its_subject_is_kept(question: str) -> None:
    assert code(question=question) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (GOOD.question, "12 years"),
        (GOOD.question, "They need not be kept for ten years."),
        (GOOD.question, "Until the tax office has finished its audit of the company's books."),
        ("For how long must invoices of 2019 be kept?", "ten years"),
        (GOOD.question, "Backups are written every night."),
        (GOOD.question, "Yes."),
    ],
)
def test_an_answer_that_the_quote_does_not_say_is_unfaithful(question: str, answer: str) -> None:
    assert code(question=question, answer=answer) == "unfaithful"


def test_a_question_that_says_its_answer_is_rejected() -> None:
    assert code(question="Which invoices are kept for ten years?", answer="ten years") == "answerable_without_context"


def test_the_second_of_two_same_questions_is_a_duplicate_and_the_same_pair_is_said_once() -> None:
    again = Candidate("for how long must the invoices be kept", "ten years", QUOTE)
    assert [example.code for example in examine(GOOD, again, GOOD)] == [None, "duplicate"]


def test_no_more_is_kept_than_was_asked_for() -> None:
    others = [Candidate("Where are invoices kept?", "Lyon", QUOTE), Candidate("What is open?", "The archive", "x")]
    assert [example.question for example in examine(GOOD, *others, rows=1)] == [GOOD.question]


def test_a_quote_that_also_stands_on_the_other_side_of_the_split_is_rejected_on_both() -> None:
    sections = {
        "Old": f"{RETENTION} Doors are red.",
        "New": f"Windows are green. {QUOTE}",
        "Else": "Roofs are made of blue slate.",
    }
    text, chunks, plan = document(sections, splits={"New": "held_out"})
    found = places(plan.chunks, chunks, text.pages)
    selection = ExampleSelection(found)
    codes = [selection.choose(place, [GOOD], ORIGIN)[0].code for place in found]
    assert codes == ["leaks_held_out", "leaks_held_out", "quote_not_found"]
    apart = Candidate("How often are backups written?", "every night", "Backups are written every night.")
    assert selection.choose(found[0], [apart], ORIGIN)[0].code is None


def test_what_a_model_knows_without_the_context_is_rejected_and_what_it_does_not_know_is_scored() -> None:
    (example,) = examine(GOOD)
    knew = closed_book(example, "I believe they are kept 10 years.")
    assert (knew.code, knew.scores["closed_book"]) == ("answerable_without_context", 1.0)
    for said in ("I do not know.", "They are kept for 7 years.", ""):
        missed = closed_book(example, said)
        assert (missed.code, missed.scores["closed_book"] < 0.8) == (None, True)
