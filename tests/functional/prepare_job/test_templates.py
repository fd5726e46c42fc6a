"""Every chat template: the answers are trained on and nothing else is, serving asks the same ids, and the model stops.

`TEMPER_TEMPLATES` names another folder of templates than the one beside the checkout.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest

from infra.runtime.bootstrap import DEMO_FOLDER
from tests.functional.prepare_job import table
from tests.functional.prepare_job.chats import CASES, Case
from tests.functional.prepare_job.matrix import judge
from tests.functional.prepare_job.subject import Subject, served
from tests.functional.prepare_job.table import FILES, KNOWN

NO_FOLDER = "official templates lie beside the checkout on some machines"
TURNS = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
CHATML = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.mark.skipif(not FILES, reason=NO_FOLDER)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_template_is_trained_as_it_is_served_and_as_its_page_says(file: Path, tmp_path: Path) -> None:
    found = table.verdicts(file, tmp_path)
    assert {name: each.wrong for name, each in found.items() if each.wrong} == {}
    told = table.line(file.stem, found)
    assert told in table.PAGE.read_text(), "stale: python -m tests.functional.prepare_job.table"


@pytest.mark.skipif(not FILES, reason=NO_FOLDER)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_template_whose_model_names_another_end_is_trained_as_it_is_served(file: Path, tmp_path: Path) -> None:
    several_turns, tools = CASES[2], CASES[6]
    assert wrong(Subject(tmp_path, file.read_text(), foreign=True), (several_turns, tools)) == {}


@pytest.mark.skipif(not FILES, reason=NO_FOLDER)
def test_chats_and_calls_of_tools_are_trained_on_with_nearly_every_template() -> None:
    shown = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in table.PAGE.read_text().splitlines()}
    assert set(shown) >= {file.stem for file in FILES}
    for case in (0, 1, 2, 5, 6, 8):
        assert sum(shown[file.stem][case][0].isdigit() for file in FILES) >= len(FILES) - 2


UNJUDGED = {"llava_next": {"reasoning"}}
"""Its template raises at a content that is a text, so that nobody can say what it shows of a thought beside it."""
OTHERS = [file for file in KNOWN if file not in FILES]


@pytest.mark.parametrize("file", OTHERS, ids=[file.stem for file in OTHERS])
def test_templates_that_are_on_every_machine_are_trained_as_they_are_served(file: Path, tmp_path: Path) -> None:
    found = table.verdicts(file, tmp_path)
    assert {name for name, each in found.items() if each.wrong} == UNJUDGED.get(file.stem, set())


def wrong(subject: Subject, cases: Iterable[Case]) -> dict[str, str]:
    """What is not right, by case."""
    verdicts = {case.name: judge(subject, case) for case in cases}
    return {name: each.wrong for name, each in verdicts.items() if each.wrong}


def test_the_demo_bases_own_template_is_trained_as_it_is_served(tmp_path: Path) -> None:
    subject = Subject(tmp_path, (DEMO_FOLDER / "chat_template.jinja").read_text())
    found = {case.name: judge(subject, case) for case in CASES[:4]}
    assert {name: (each.wrong, each.why) for name, each in found.items()} == {c.name: ("", "") for c in CASES[:4]}


def test_the_matrix_sees_a_prompt_that_serving_renders_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(tmp_path, CHATML)
    assert judge(subject, CASES[1]).wrong == ""
    other = copy.deepcopy(subject.tokenizer)
    other.chat_template = CHATML.replace("assistant\n{% endif", "assistant\n\n{% endif")
    monkeypatch.setattr(subject, "served", lambda switches: served(other, subject.folder, switches))
    assert "serving sends" in judge(subject, CASES[1]).wrong


def test_the_matrix_sees_a_model_that_would_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(tmp_path, CHATML)
    model = served(subject.tokenizer, tmp_path, {})
    model.stops = dataclasses.replace(model.stops, ids=frozenset(), texts=())
    monkeypatch.setattr(subject, "served", lambda _: model)
    assert "serving does not stop" in judge(subject, CASES[0]).wrong


def test_the_matrix_takes_only_a_refusal_that_is_true(tmp_path: Path) -> None:
    short = CHATML.replace("m.content", "(m.content[:9] if m.role == 'user' else m.content)", 1)
    subject = Subject(tmp_path, short)
    verdict = judge(subject, CASES[0])
    assert (verdict.code, verdict.wrong) == ("message_left_out", "")
    subject.tokenizer = copy.deepcopy(subject.tokenizer)  # the one that is asked for the truth, not the job's
    subject.tokenizer.chat_template = CHATML
    assert "refused though the template shows it" in judge(subject, CASES[0]).wrong
