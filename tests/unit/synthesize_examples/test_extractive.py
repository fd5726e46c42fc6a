"""Questions by rule: good English, about something named, each answer words of the sentence that is quoted."""

import time

import pytest

from contracts.corpus import text_at
from functions.synthesize_examples.core import places
from functions.synthesize_examples.extractive import Extractor
from tests.unit.synthesize_examples.corpus import document


def asked(body: str, heading: str = "Rules of the house") -> list[tuple[str, str]]:
    """Return question and answer of every candidate, having checked that its quote is verbatim at its span."""
    text, chunks, plan = document({heading: body})
    found = []
    for place in places(plan.chunks, chunks, text.pages):
        for candidate in Extractor(text).candidates(place):
            assert candidate.span is not None
            assert text_at(text.pages, [candidate.span]) == candidate.quote
            assert candidate.answer in candidate.quote
            found.append((candidate.question, candidate.answer))
    return found


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "The building manager is responsible for the evacuation plan.",
            "Who is responsible for the evacuation plan?",
            "The building manager",
        ),
        (
            "A warden is a trained employee who checks one floor.",
            "What is a warden?",
            "a trained employee who checks one floor",
        ),
        (
            '"Covered Work" shall mean any work of authorship made available under the License.',
            'What does "Covered Work" mean?',
            "any work of authorship made available under the License",
        ),
        ("Invoices must be kept for ten years.", "For how long must invoices be kept?", "for ten years"),
        (
            "Extinguishers are inspected every six months by Brandt Safety GmbH.",
            "How often are extinguishers inspected by Brandt Safety GmbH?",
            "every six months",
        ),
        ("The fire drill takes place twice a year.", "How often does the fire drill take place?", "twice a year"),
        (
            "Lost badges must be reported to reception within 24 hours.",
            "Within what time must lost badges be reported to reception?",
            "within 24 hours",
        ),
        (
            "The policy was approved by the data protection officer on 3 March 2024.",
            "Who was the policy approved by?",
            "the data protection officer",
        ),
        ("The maximum occupancy of the canteen is 180 people.", "What is the maximum occupancy of the canteen?",
         "180 people"),
        ("Every floor must keep at least two fire extinguishers.", "How many fire extinguishers must every floor keep?",
         "at least two fire extinguishers"),
        (
            "Employees may work from home up to three days a week.",
            "How many days a week may employees work from home?",
            "up to three days",
        ),
        (
            "The assembly point is located in the car park behind Hall 3.",
            "Where is the assembly point located?",
            "in the car park behind Hall 3",
        ),
        (
            "The window is limited to 4 hours because the tape library is shared with accounting.",
            "Why is the window limited to 4 hours?",
            "because the tape library is shared with accounting",
        ),
        (
            "When the alarm sounds, all staff must leave the building by the nearest exit.",
            "What must all staff do when the alarm sounds?",
            "leave the building by the nearest exit",
        ),
        ("The line manager must approve every request for leave.", "Who must approve every request for leave?",
         "The line manager"),
        ("The control unit consists of a sensor board and a relay.", "What does the control unit consist of?",
         "a sensor board and a relay"),
    ],
)  # fmt: skip
def test_a_sentence_becomes_a_question_in_good_english(sentence: str, question: str, answer: str) -> None:
    assert (question, answer) in asked(sentence)


@pytest.mark.parametrize("when", ["on 22 April 2021", "in March 2019"])
def test_a_date_is_no_place(when: str) -> None:
    assert asked(f"The boiler was installed {when}.") == [("When was the boiler installed?", when)]


def test_a_sentence_without_a_rule_becomes_a_blank_over_its_name_or_number() -> None:
    said = "The tapes with yearly backups travel to the vault under Mount Pilatus in a locked case."
    question = (
        'According to "Rules of the house", which words fill the blank: "The tapes with yearly backups travel to the '
        'vault under ____ in a locked case."?'
    )
    assert asked(said) == [(question, "Mount Pilatus")]


def test_a_sentence_without_names_and_numbers_is_asked_for_as_a_whole() -> None:
    said = "The service lift is not usable for heavy or bulky furniture."
    assert asked(said) == [('What does "Rules of the house" say about the service lift?', said)]


@pytest.mark.parametrize(
    "sentence",
    [
        "It is responsible for the evacuation plan of the whole site.",
        "This policy was approved by the data protection officer.",
        "They must be kept for ten years in the archive.",
        "However, such invoices must be kept for ten years.",
        "Travel between 5 and 10 km is not paid for by anybody.",
        "See the following section for the period of 10 days.",
        "Is the warden responsible for the evacuation plan?",
        "THE SOFTWARE IS PROVIDED AS IS BY THE COPYRIGHT HOLDERS.",
        "an unfinished part of a sentence that was cut off by",
        "Copyright (c) 2016 by Facebook Inc and its contributors.",
        "Der Brandschutzbeauftragte ist für den Räumungsplan zuständig.",
    ],
)
def test_what_leans_on_other_words_or_is_no_english_sentence_is_left_out(sentence: str) -> None:
    assert asked(sentence) == []


def test_headings_are_not_asked_about() -> None:
    assert asked("Short.", heading="The archive is a room of the town hall in Bern.") == []


def test_rows_of_a_table_are_asked_by_what_names_them() -> None:
    rows = "Part number: P-101; Unit price: 40 EUR; Stock: -\n\nPart number: P-205; Unit price: 12 EUR; Stock: 7"
    assert asked(rows) == [
        ("What is the unit price of part number P-101?", "40 EUR"),
        ("What is the unit price of part number P-205?", "12 EUR"),
        ("What is the stock of part number P-205?", "7"),
    ]


def test_a_table_with_a_row_of_names_is_read_like_one_with_named_cells() -> None:
    rows = "Name | Office | Phone\n\nAda Byron | Room 12 | 4711\n\nAlan Turing | Room 14 | 4712"
    assert ("What is the office of Alan Turing?", "Room 14") in asked(rows)
    assert ("What is the phone of Ada Byron?", "4711") in asked(rows)


def test_a_value_that_stands_in_two_rows_names_neither() -> None:
    rows = "Site: Lyon; Floor: 1\n\nSite: Lyon; Floor: 2"
    assert asked(rows) == []


def test_a_list_is_read_item_by_item_and_lines_are_joined() -> None:
    body = "- Invoices must be\n  kept for ten years.\n- Visitors must wear a badge at all times.\n2. Doors are red."
    questions = [question for question, _ in asked(body)]
    assert "For how long must invoices be kept?" in questions


def test_every_sentence_is_asked_once_before_any_is_asked_twice() -> None:
    body = (
        "The safety officer is responsible for the fire drill. The key to the roof is kept in the safe. "
        "The pump was built in 2019 by Meyer AG."
    )
    answers = [answer for _, answer in asked(body)]
    assert len(answers) > 3
    assert {"The safety officer", "in the safe", "in 2019"} == set(answers[:3])


@pytest.mark.parametrize(
    "hostile",
    [
        "A " * 200_000,
        "is a " * 100_000,
        '"' * 300_000,
        ". " * 200_000,
        " " * 10**6 + ".",
        "1" * 10**6,
        "a: b; " * 10**5,
    ],
)
def test_hostile_text_costs_linear_time(hostile: str) -> None:
    began = time.process_time()
    asked(hostile)
    assert time.process_time() - began < 10
