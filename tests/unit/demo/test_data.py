"""The demo's data: the same by seed, tests apart from training, deranged answers never one's own."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from infra.demo import data, text


@pytest.fixture(scope="module")
def sets() -> tuple[data.DemoSet, data.DemoSet, data.DemoSet]:
    return data.make_sets(0)


def asked(row: data.Row) -> str:
    return json.dumps(data.prompt(row))


def context_lines(row: data.Row) -> set[str]:
    """Return the paragraphs of a row's context without their numbers."""
    context = data.prompt(row)[-1]["content"].split("\n\nQuestion: ")[0]
    return {line.split("] ", 1)[1] for line in context.splitlines()[1:]}


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert data.make_sets(3) == data.make_sets(3)
    assert not {asked(row) for part in data.make_sets(3) for row in part.test} & {
        asked(row) for part in data.make_sets(4) for row in part.test
    }
    assert data.training_rows(data.make_sets(3), 1) == data.training_rows(data.make_sets(3), 1)


def test_each_set_has_enough_questions(sets: tuple[data.DemoSet, ...]) -> None:
    assert [part.name for part in sets] == ["memorised", "reread", "unseen"]
    assert all(len(part.test) >= 100 for part in sets)
    assert not sets[2].train
    assert all(len({asked(row) for row in part.test}) == len(part.test) for part in sets)


def test_memorised_rows_are_asked_as_trained_and_have_answers_of_their_own(sets: tuple[data.DemoSet, ...]) -> None:
    memorised = sets[0]
    assert {json.dumps(row) for row in memorised.train} == {json.dumps(row) for row in memorised.test}
    assert len({data.answer(row) for row in memorised.test}) == len(memorised.test)


def test_memorised_facts_stand_in_no_context(sets: tuple[data.DemoSet, ...]) -> None:
    machines = {data.prompt(row)[-1]["content"].split("the ")[-1] for row in sets[0].test}
    contexts = "\n".join(asked(row) for part in sets[1:] for row in (*part.train, *part.test))
    assert not [row for row in sets[0].test if data.answer(row) in contexts and " " in data.answer(row)]
    assert machines


def test_reread_questions_are_trained_but_meet_new_distractors(sets: tuple[data.DemoSet, ...]) -> None:
    shown: dict[str, set[str]] = {}
    for row in sets[1].train:
        shown.setdefault(data.prompt(row)[-1]["content"].split("Question: ")[1], set()).update(context_lines(row))
    for row in sets[1].test:
        trained = shown[data.prompt(row)[-1]["content"].split("Question: ")[1]]
        again = context_lines(row) & trained
        assert len(again) == 1
        assert data.answer(row) in again.pop()


def test_unseen_documents_share_no_machine_and_no_sentence_with_training(sets: tuple[data.DemoSet, ...]) -> None:
    trained = {line for row in sets[1].train for line in context_lines(row)}
    assert not trained & {line for row in sets[2].test for line in context_lines(row)}
    prompts = {asked(row) for part in sets for row in part.train}
    assert not prompts & {asked(row) for part in sets[1:] for row in part.test}


def test_every_reading_answer_stands_in_its_context(sets: tuple[data.DemoSet, ...]) -> None:
    for part in sets[1:]:
        for row in (*part.train, *part.test):
            assert sum(data.answer(row) in line for line in context_lines(row)) == 1
            assert len(context_lines(row)) == 3


def test_rows_survive_a_jsonl_file(sets: tuple[data.DemoSet, ...]) -> None:
    rows = data.training_rows(sets)
    assert [json.loads(line) for line in data.jsonl(rows).decode().splitlines()] == rows
    assert sorted(map(json.dumps, rows)) == sorted(json.dumps(row) for part in sets for row in part.train)


@pytest.mark.parametrize("seed", range(20))
def test_no_row_keeps_its_own_answer_when_deranged(seed: int, sets: tuple[data.DemoSet, ...]) -> None:
    rows = data.training_rows(sets[:2], seed)
    deranged = data.derange(rows, seed)
    assert [asked(row) for row in deranged] == [asked(row) for row in rows]
    assert not [row for row, other in zip(rows, deranged, strict=True) if data.answer(row) == data.answer(other)]
    assert deranged == data.derange(rows, seed)


def test_deranged_facts_keep_all_answers_and_copies_stay_copies(sets: tuple[data.DemoSet, ...]) -> None:
    rows = list(sets[0].train)
    deranged = data.derange(rows, 1)
    assert {data.answer(row) for row in deranged} == {data.answer(row) for row in rows}
    assert len({json.dumps(row) for row in deranged}) == len(sets[0].test)
    assert deranged != data.derange(rows, 2)


def test_answers_that_repeat_are_deranged_too_until_one_has_the_majority() -> None:
    def rows(answers: str) -> list[data.Row]:
        return [
            {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": letter}]}
            for n, letter in enumerate(answers)
        ]

    for answers in ("aabb", "aaabc" + "d", "abcabcaa", "ab"):
        for seed in range(10):
            moved = data.derange(rows(answers), seed)
            assert all(data.answer(row) != own for row, own in zip(moved, answers, strict=True))
    with pytest.raises(ValueError, match="3 of 5 rows share one answer"):
        data.derange(rows("aaabc"), 0)
    assert data.derange([], 0) == []


def test_pretraining_text_is_the_same_by_seed_and_quotes_its_context() -> None:
    first, second = (text.reading_chat(Random(7), 6, 4, kind="quote") for _ in range(2))
    assert first == second
    turns = [message for message in first if message["role"] != "system"]
    assert len(turns) == 8
    context = turns[0]["content"]
    for question, reply in list(pairwise(turns))[::2]:
        assert (question["role"], reply["role"]) == ("user", "assistant")
        assert reply["content"] in context


def test_some_pretraining_chats_have_no_system_message_and_some_no_context() -> None:
    chats = [text.reading_chat(Random(seed), 4, 2) for seed in range(300)]
    without = [chat for chat in chats if chat[0]["role"] == "user"]
    assert 5 < len(without) < 60
    closed = [text.closed_chat(Random(seed)) for seed in range(20)]
    assert {chat[0]["role"] for chat in closed} == {"system", "user"}
    assert all("\n" not in message["content"] for chat in closed for message in chat)


def test_the_word_list_is_clean() -> None:
    assert len(text.words()) == len(set(text.words())) == 1800
    assert all(word.isalpha() and word.islower() for word in text.words())
