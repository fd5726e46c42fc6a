"""Questions by rule: good English, about something named, each answer words of the sentence that is quoted."""

import time

import pytest

from contracts.corpus import text_at
from functions.synthesize_examples.core import Place, places
from functions.synthesize_examples.english import LANGUAGE as ENGLISH
from functions.synthesize_examples.extractive import Extractor
from functions.synthesize_examples.german import LANGUAGE as GERMAN
from functions.synthesize_examples.language import Language
from functions.synthesize_examples.languages import language_of
from tests.unit.synthesize_examples.corpus import document


def asked(body: str, heading: str = "Rules of the house", language: Language = ENGLISH) -> list[tuple[str, str]]:
    """Return question and answer of every candidate, having checked that its quote is verbatim at its span."""
    text, chunks, plan = document({heading: body})
    found = []
    for place in places(plan.chunks, chunks, text.pages):
        for candidate in Extractor(text, language).candidates(place):
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


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "To load a mouse driver module, you can use the command modconf.",
            "How do you load a mouse driver module?",
            "To load a mouse driver module, you can use the command modconf.",
        ),
        ("Press Enter to save the limits.", "How do you save the limits?", "Press Enter to save the limits."),
        (
            "The media type of a file is discovered by inspecting its extension.",
            "How is the media type of a file discovered?",
            "by inspecting its extension",
        ),
        (
            "The normative tag is used for bugs that change the policy.",
            "What is the normative tag used for?",
            "for bugs that change the policy",
        ),
        (
            "Log files for the pump can be found in the folder /var/log/pump.",
            "Where can log files for the pump be found?",
            "in the folder /var/log/pump",
        ),
        ("The default priority of the installer is high.", "What is the default priority of the installer?", "high"),
        (
            'The "postrm" script is called after the files of the package have been removed.',
            'When is the "postrm" script called?',
            "after the files of the package have been removed",
        ),
        (
            "Every font package must declare a dependency on xfonts-utils.",
            "What must every font package do?",
            "declare a dependency on xfonts-utils",
        ),
        ("A file without an owner is called an orphan.", "What is a file without an owner called?", "an orphan"),
        (
            "If firmware is needed, the installer will prompt you to load firmware.",
            "What happens if firmware is needed?",
            "the installer will prompt you to load firmware",
        ),
        (
            "Note that packages must not include hard links to other folders.",
            "May packages include hard links to other folders?",
            "packages must not include hard links to other folders.",
        ),
        ("The option -n prints the whole plan.", "What does the option -n do?", "prints the whole plan"),
    ],
)  # fmt: skip
def test_what_manuals_say_becomes_what_their_readers_ask(sentence: str, question: str, answer: str) -> None:
    assert (question, answer) in asked(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Logs are rotated every 14 days, except those of the audit server in Lyon.",
        "The service lift is not usable, unless the porter is there and only in the morning.",
        "The boiler was installed in March 2019, but only the upper part of it by Meyer AG.",
    ],
)
def test_what_narrows_a_statement_is_in_question_or_answer(sentence: str) -> None:
    found = asked(sentence)
    assert all(answer == sentence for _, answer in found), found


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("The tapes with yearly backups travel to the vault under Mount Pilatus in a locked case.", 0),
        ("The second value is 4 hours long and stands for nothing else.", 0),
        ("Care must be taken to handle downgrades as well, in that case.", 0),
        ("See Chapter 8 for what you can do if the disc does not boot.", 0),
        ("The program is supported¶ on all platforms of the house.", 0),
        ("The name of the boiler is stored in the file below.", 0),
        ("If you want the large boiler, the small boiler is taken away by the plumber.", 0),
    ],
)
def test_a_sentence_that_nobody_would_ask_for_is_left_alone(sentence: str, left: int) -> None:
    assert len(asked(sentence)) == left


def test_no_question_is_a_gap_or_asks_what_a_heading_says() -> None:
    body = (
        "Many of the programs are licensed under the General Public License. RAID5 consists of at least three disks. "
        "The Emacs policy is available in the file policy.gz of the package emacs-common."
    )
    questions = [question for question, _ in asked(body, heading="NOTE")]
    assert questions
    assert not [question for question in questions if "blank" in question or "____" in question or "NOTE" in question]


def test_a_heading_that_asks_is_answered_by_what_stands_below_it() -> None:
    body = (
        "3.2 Who may enter the vault at night?\n\nOnly the two keepers of the archive may enter it. They wear badges."
    )
    heading = "3.2 Who may enter the vault at night?"
    text, chunks, plan = document({heading: body.partition("\n\n")[2]})
    (place,) = places(plan.chunks, chunks, text.pages)
    titled = place.chunk.model_copy(update={"text": body})
    found = Extractor(text, ENGLISH).candidates(Place(titled, place.planned, place.path, place.pages))
    assert found[0].question == "Who may enter the vault at night?"
    assert found[0].answer == "Only the two keepers of the archive may enter it. They wear badges."


@pytest.mark.parametrize(
    ("language", "heading", "below"),
    [
        (ENGLISH, "Which boiler is better for the house?", "The answer is a bit complicated. It depends on the house."),
        (ENGLISH, "What happens when a boiler is replaced?", "This question will not help you to choose a boiler."),
        (GERMAN, "Welcher Kessel ist besser für das Haus?", "Die Antwort darauf ist ein wenig kompliziert."),
        (GERMAN, "Was geschieht mit dem alten Kessel?", "Diese Frage wird sich früher oder später stellen."),
    ],
)
def test_what_speaks_of_a_question_is_no_answer_to_it(language: Language, heading: str, below: str) -> None:
    text, chunks, plan = document({heading: below})
    (place,) = places(plan.chunks, chunks, text.pages)
    titled = place.chunk.model_copy(update={"text": f"{heading}\n\n{below}"})
    found = Extractor(text, language).candidates(Place(titled, place.planned, place.path, place.pages))
    assert heading not in [each.question for each in found]


def test_a_word_that_answers_an_earlier_question_is_no_part_of_a_sentence() -> None:
    found = asked("No. Packages can be upgraded by the keepers of the archive, even in running systems.")
    assert found
    assert not any("No." in question or answer.startswith("No") for question, answer in found)


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


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "Der Brandschutzbeauftragte ist für den Räumungsplan zuständig.",
            "Wer ist für den Räumungsplan zuständig?",
            "Der Brandschutzbeauftragte",
        ),
        ("Die maximale Belegung der Kantine beträgt 180 Personen.", "Wie hoch ist die maximale Belegung der Kantine?",
         "180 Personen"),
        ("Rechnungen müssen zehn Jahre lang aufbewahrt werden.", "Wie lange müssen Rechnungen aufbewahrt werden?",
         "zehn Jahre lang"),
        ("Der Kessel wird alle sechs Monate von Meyer gewartet.", "Wie oft wird der Kessel von Meyer gewartet?",
         "alle sechs Monate"),
        (
            "Um eine Partition anzulegen, wählen Sie den freien Speicher aus.",
            "Wie kann man eine Partition anlegen?",
            "Um eine Partition anzulegen, wählen Sie den freien Speicher aus.",
        ),
        (
            "Wenn Sie mehrere Netzwerkkarten haben, sollten Sie die Namen der Treiber prüfen.",
            "Was sollten Sie tun, wenn Sie mehrere Netzwerkkarten haben?",
            "Wenn Sie mehrere Netzwerkkarten haben, sollten Sie die Namen der Treiber prüfen.",
        ),
        ("Die Protokolle der Pumpe befinden sich im Ordner /var/log.", "Wo befinden sich die Protokolle der Pumpe?",
         "im Ordner /var/log"),
        ("ISDN wird während der Installation nicht unterstützt.", "Wird ISDN während der Installation unterstützt?",
         "ISDN wird während der Installation nicht unterstützt."),
        ("Pakete dürfen keine Dateien unter /run enthalten.", "Dürfen Pakete Dateien unter /run enthalten?",
         "Pakete dürfen keine Dateien unter /run enthalten."),
        ("Das Mail-System besteht aus drei Programmen.", "Woraus besteht das Mail-System?", "aus drei Programmen"),
        ("Die Auslagerungspartition dient als virtueller Speicher.", "Wozu dient die Auslagerungspartition?",
         "als virtueller Speicher"),
    ],
)  # fmt: skip
def test_a_german_sentence_becomes_a_german_question(sentence: str, question: str, answer: str) -> None:
    assert (question, answer) in asked(sentence, language=GERMAN)


@pytest.mark.parametrize(
    "sentence",
    [
        "Er ist für den Räumungsplan zuständig.",
        "Dies muss zehn Jahre lang aufbewahrt werden.",
        "Beim Starten kann die Datei erst geladen werden, nachdem das Netz steht.",
        "Die Struktur des Archivs können Sie am besten erforschen, indem Sie es öffnen.",
        "MC kann verwendet werden, um über das Netz auf Dateien zuzugreifen.",
        "The warden is a trained employee who checks one floor.",
        "Die Pakete können somit jederzeit fehlerhaft oder nicht verfügbar sein.",
        "Die Pakete können fehlerhaft oder nicht verfügbar sein.",
        "Wenn allerdings die Pumpe ausfällt, sollten Sie den Hersteller anrufen.",
        "Siehe Kapitel 4 für den Wert, der alle sechs Monate geprüft wird.",
    ],
)
def test_a_german_sentence_that_leans_on_others_is_left_alone(sentence: str) -> None:
    assert asked(sentence, language=GERMAN) == []


def test_a_german_table_is_asked_in_german() -> None:
    rows = "Teilenummer: P-101; Stückpreis: 40 EUR; Bestand: -\n\nTeilenummer: P-205; Stückpreis: 12 EUR; Bestand: 7"
    assert ("Was steht bei Teilenummer P-101 unter „Stückpreis“?", "40 EUR") in asked(rows, language=GERMAN)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Invoices must be kept for ten years. The fire drill takes place twice a year.", "en"),
        ("Rechnungen müssen zehn Jahre lang aufbewahrt werden. Die Übung findet zweimal im Jahr statt.", "de"),
        ("Les factures doivent être conservées pendant dix ans dans les archives de Lyon.", "fr"),
        ("Las facturas deben conservarse durante diez años en el archivo de Madrid.", "es"),
        ("P-101 | 40 | 7", "en"),
    ],
)
def test_the_language_of_a_document_is_measured(said: str, code: str) -> None:
    _, chunks, _ = document({"1": said})
    assert language_of(chunks.chunks) == code


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
