"""Nine chats through one chat template: what becomes of each, and what is wrong with that.

What is right is not taken from the code under test: every word that matters is a made-up one, and the template itself,
asked through transformers alone, says which of them it can show. Then what the tokens of preparation say is held
against that, and against the serving process's own code, fed with exactly what was trained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from functions.prepare_job.tokenise import FailedError
from tests.functional.prepare_job.chats import ASK, CALL, Case, words
from tests.functional.prepare_job.subject import Run, Subject
from tests.functional.prepare_job.truth import Shown, shown


@dataclass(frozen=True)
class Verdict:
    """What becomes of a case."""

    examples: int
    """0: refused."""
    why: str = ""
    """The refusal's sentence."""
    code: str = ""
    wrong: str = ""
    """What is not right; empty: all is."""
    written: bool = False
    """Something of it that the template does not show stands in a message's text."""


def judge(subject: Subject, case: Case) -> Verdict:
    """Prepare a chat and say what is wrong with what came of it."""
    can = {turn: shown(subject.tokenizer, case, turn) for turn in case.trained}
    cannot = next((each for each in can.values() if not each.texts), None)
    try:
        examples = subject.prepare(case)
    except FailedError as error:
        why = re.sub(r"^.*Example 1 \(line 1\): ", "", error.fail.message)
        return Verdict(
            0, why, error.fail.code, _untrue(subject.tokenizer, subject.ends, case, cannot, error.fail.code, why)
        )
    try:
        _check(subject, case, examples, can)
    except AssertionError as error:
        return Verdict(len(examples), wrong=str(error).split("\n")[0])
    return Verdict(len(examples), written=bool(case.tools and cannot and cannot.missing))


def _untrue(tokenizer: Any, ends: Sequence[str], case: Case, cannot: Shown | None, code: str, why: str) -> str:
    """Return what is not true of a refusal; empty: it is true of the template."""
    if why.endswith("ends a thought with what ends a turn."):
        wholes = [shown(tokenizer, case, turn).texts[0] for turn in case.trained]
        inside = [text[text.find("zqthought") : text.rfind("zq")] for text in wholes]
        return "" if any(end in each for each in inside for end in ends) else f"refused though no end is inside: {why}"
    if cannot is None:
        return f"refused though the template shows it: {why}"
    if code == "tools_unsupported":
        tries = (Case("", [ASK], case.tools), Case("", [ASK, CALL], case.tools))
        true = not all(shown(tokenizer, each, len(each.messages)).texts for each in tries)
        return "" if true else f"refused though the template shows calls: {why}"
    named = re.search(r"message (\d+)", why)
    lost = {
        "message_left_out": words(case.messages[int(named[1]) - 1]) if named else set(),
        "reasoning_unsupported": words([m.get("reasoning_content") for m in case.messages]),
    }
    true = bool(lost[code] & cannot.missing) if code in lost else code == "template_failed" and bool(cannot.raised)
    return "" if true else f"refused for another reason than that the template {cannot.why_not}: {why}"


def _check(subject: Subject, case: Case, examples: list[list[Run]], can: dict[int, Shown]) -> None:
    """Raise AssertionError with what is wrong."""
    left = list(case.trained)
    for run in (run for example in examples for run in example):
        text, before = subject.tokenizer.decode(run.ids), subject.tokenizer.decode(run.before)
        said = words(text)
        turn = next((turn for turn in left if words(case.messages[turn]) & said), None)
        assert turn is not None, f"trains on what is no answer, or twice on one: {text[:80]!r}"
        left.remove(turn)
        message = case.messages[turn]
        assert words(message) == said, f"of message {turn + 1} it trains on {sorted(said)} only: {text[:120]!r}"
        prompt_words = words([*case.messages[:turn], case.tools or []])
        assert prompt_words <= words(before), f"the prompt lacks {sorted(prompt_words - words(before))}"
        _check_end(subject, text, can[turn].texts)
        prompt, choice = subject.ask(case, turn, run.ids)
        sent = subject.tokenizer.decode(prompt)
        assert prompt == run.before, f"serving sends {sent[-80:]!r} where training has {before[-80:]!r}"
        _check_reply(choice, message)
    assert not left, f"does not train on message {left[0] + 1}"


def _check_end(subject: Subject, text: str, whole: list[str]) -> None:
    """What follows an answer's last word in training is what the template itself writes there, or eos where nothing."""
    last = re.findall(r"zq[a-z]+", text)[-1]
    end, tails = text[text.rfind(last) :].rstrip(), [each[each.rfind(last) :] for each in whole]
    added = subject.tokenizer.get_added_vocab()
    # nothing that the template does not write, but for a token that ends the turn where it writes none
    same = [next((n for n, (a, b) in enumerate(zip(tail, end, strict=False)) if a != b), len(tail)) for tail in tails]
    rest = [end[n:] for n in same]
    assert not whole or any(not each or each in added for each in rest), f"an answer ends with {end[-60:]!r}"


def _check_reply(choice: dict[str, Any], message: dict[str, Any]) -> None:
    """Serving stops where the trained text ends, and what it answers is what the row says."""
    reply, finish = choice["message"], choice["finish_reason"]
    told = json.dumps(choice)
    assert finish in ("stop", "tool_calls"), "serving does not stop where the trained text ends"
    assert "zqbeyond" not in told, "serving goes on behind the trained text"
    calls = [
        (each["function"]["name"], json.loads(each["function"]["arguments"])) for each in reply.get("tool_calls", ())
    ]
    wanted = [
        (each["function"]["name"], json.loads(each["function"]["arguments"])) for each in message.get("tool_calls", ())
    ]
    assert calls == wanted, f"serving answers the calls {calls!r}"
    if calls:
        assert (finish, reply["content"]) == ("tool_calls", None), f"serving answers {reply['content']!r} beside calls"
        return
    assert (reply["content"] or "").strip() == message["content"], f"serving answers {reply['content']!r}"
    reasoning, found = message.get("reasoning_content", ""), reply.get("reasoning_content") or ""
    assert found.strip() == reasoning, f"serving answers the reasoning {found!r}"
