"""Nine chats through one chat template: what is trained of each, and what serving sends and reads back.

What is right is not taken from the code under test: every word that matters is a made-up one, and the template itself,
asked through transformers alone, says which of them it can show. Then what the tokens of preparation say is held
against that, and against the serving process's own code, fed with exactly what was trained.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from contracts.canonical import sha256
from contracts.manifest import ManifestRef
from contracts.wire.completions import Chat
from functions._shared.chat_template import ChatTemplate
from functions._shared.model_files import stop_ids
from functions.generate_text import answers
from functions.generate_text.batch import BatchLimits
from functions.generate_text.generation import Generation, Token
from functions.generate_text.models import ServedModel
from functions.generate_text.sampling import Sampling
from functions.prepare_job.core import Fail
from functions.prepare_job.tokenise import FailedError, Tokeniser
from functions.validate_file.core import check
from infra.runtime.bootstrap import DEMO_FOLDER

CONTEXT = 65536
Messages = list[dict[str, Any]]

# --- the chats

_SYSTEM = {"role": "system", "content": "You are zqsystem and terse."}
_DEVELOPER = {"role": "developer", "content": "You are zqdeveloper and terse."}
_ASK = {"role": "user", "content": "What does zqfirst say?"}
_REPLY = {"role": "assistant", "content": 'It says "zqreply": 3 < 4 & ü.\nThen zqline.'}
_AGAIN = {"role": "user", "content": "And zqsecond?"}
_MORE = {"role": "assistant", "content": "That is zqmore."}
_THIRD = {"role": "user", "content": "And zqthird?"}
_LAST = {"role": "assistant", "content": "That is zqlast."}
_CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "zqid12345",
            "type": "function",
            "function": {"name": "zqtool", "arguments": '{"zqplace": "zqoslo", "zqdays": 3}'},
        }
    ],
}
_RESULT = {
    "role": "tool",
    "tool_call_id": "zqid12345",
    "name": "zqtool",
    "content": '{"zqstate": "<zqrain>", "zqdegrees": 4}',
}
_REASONED = {
    "role": "assistant",
    "reasoning_content": "First zqthought, then zqafter.",
    "content": "So it is zqconcluded.",
}
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "zqtool",
            "description": "Tells zqweather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "zqplace": {"type": "string", "description": "Where zqwhere."},
                    "zqdays": {"type": "integer", "description": "How zqlong."},
                },
                "required": ["zqplace"],
            },
        },
    }
]


@dataclass(frozen=True)
class Case:
    """A chat as a user's row has it."""

    name: str
    messages: Messages
    tools: list[Any] | None = None

    @property
    def trained(self) -> list[int]:
        """Indices of the messages that are trained on."""
        return [i for i, m in enumerate(self.messages) if m["role"] == "assistant" and m.get("weight") != 0]


CASES = (
    Case("plain", [_ASK, _REPLY]),
    Case("system", [_SYSTEM, _ASK, _REPLY]),
    Case("turns", [_ASK, _REPLY, _AGAIN, _MORE, _THIRD, _LAST]),
    Case("weight 0", [_ASK, {**_REPLY, "weight": 0}, _AGAIN, _MORE]),
    Case("developer", [_DEVELOPER, _ASK, _REPLY]),
    Case("tool call", [_ASK, _CALL], _TOOLS),
    Case("tool answer", [_ASK, {**_CALL, "weight": 0}, _RESULT, _REPLY], _TOOLS),
    Case("reasoning", [_ASK, _REASONED]),
    Case("tools, two turns", [_SYSTEM, _ASK, _CALL, _RESULT, _REPLY, _AGAIN, _MORE], _TOOLS),
)


def words(value: object) -> set[str]:
    """Return the made-up words of a message or of tools; an id that a template need not show is none."""
    return set(re.findall(r"zq[a-z]+\b", json.dumps(value))) - {"zqid"}


# --- a tokenizer as the template's model has one

_CONTROL = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>\s]{1,40}｜>|<\|[a-z_]{2,20}>|<[a-z_]{2,20}\|>|<(?:start|end)_of_turn>|<SPECIAL_\d+>"
    r"|</?s>|<\[?seed:\w+\]?>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|ARGS)\]"
    r"|\[e~\[|\]~b\]|\]~!b\[|\[gMASK\]|<sop>"
)
_ADDED = re.compile(r"</?(?:think|tool_call|tool_response|arg_key|arg_value|seed:think|seed:tool_call)>|\[/?THINK\]")
ENDS = (
    ("<|return|>", ("<|return|>", "<|call|>")),
    ("<|observation|>", ("<|endoftext|>", "<|user|>", "<|observation|>")),
    ("<|eot_id|>", ("<|eot_id|>", "<|eom_id|>")),
    ("<|im_end|>", ("<|im_end|>",)),
    ("<|eot|>", ("<|eot|>",)),
    ("<|END_OF_TURN_TOKEN|>", ("<|END_OF_TURN_TOKEN|>",)),
    ("<|end_of_text|>", ("<|end_of_text|>",)),
    ("<end_of_turn>", ("<end_of_turn>",)),
    ("<turn|>", ("<turn|>",)),
    ("<seed:eos>", ("<seed:eos>",)),
    ("[e~[", ("[e~[",)),
    ("<｜end▁of▁sentence｜>", ("<｜end▁of▁sentence｜>",)),
    ("<|end|>", ("<|end|>",)),
    ("", ("</s>",)),
)
"""What stands in a template → where its model ends an answer: the first is the tokenizer's eos."""


def ends_of(template: str, foreign: bool) -> tuple[str, ...]:
    """Return the texts of the tokens at which the model stops; a foreign eos stands in no template."""
    return ("<|zz_eos|>",) if foreign else next(ends for mark, ends in ENDS if mark in template)


def save_tokenizer(folder: Path, template: str, foreign: bool = False) -> None:
    """Write the demo base's tokenizer with this template and the control tokens that stand in it."""
    raw = Tokenizer.from_file(str(DEMO_FOLDER / "tokenizer.json"))
    ends = ends_of(template, foreign)
    begin = next((t for t in ("<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<bos>") if t in template), "<s>")
    special = dict.fromkeys([*ends, begin, *_CONTROL.findall(template)])
    raw.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in special])
    raw.add_tokens([AddedToken(each, normalized=False) for each in dict.fromkeys(_ADDED.findall(template))])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=ends[0], bos_token=begin, pad_token="<|pad|>", model_max_length=CONTEXT
    )
    made.chat_template = template
    made.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"eos_token_id": [raw.token_to_id(each) for each in ends]}))


# --- what the template says of itself


def _spelled(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the ways in which templates want a message."""
    plain = {name: value for name, value in message.items() if name != "weight"}
    if message["role"] == "developer":
        return [plain, {**plain, "role": "system"}]
    if "reasoning_content" in message:
        rest = {name: value for name, value in plain.items() if name != "reasoning_content"}
        names = ("reasoning_content", "thinking", "reasoning")
        return [{**rest, name: message["reasoning_content"]} for name in names]
    if "tool_calls" not in message:
        return [plain]
    made = []
    for arguments, content in itertools.product((json.loads, str), (None, "", ...)):
        call = copy.deepcopy(plain)
        for each in call["tool_calls"]:
            each["function"]["arguments"] = arguments(each["function"]["arguments"])
        call["content"] = content
        made.append({name: value for name, value in call.items() if value is not ...})
    return made


def spellings(messages: Messages) -> Iterator[Messages]:
    """Yield a chat in every way in which templates want it, the same way for all its messages of a kind."""
    by_message = [_spelled(message) for message in messages]
    for way in range(max(map(len, by_message), default=1)):
        yield [each[way % len(each)] for each in by_message]


def _given(tools: list[Any] | None) -> list[dict[str, Any]]:
    """Return the ways in which templates are given tools, and what tells them to show a thought."""
    thinking = {"enable_thinking": True, "thinking": True}
    if tools is None:
        return [{"tools": None}, {"tools": []}, {"tools": None, **thinking}, {"functions": "[]", "datetime": "now"}]
    return [
        {"tools": tools},
        {"tools": tools, **thinking},
        {"tools": tools, "functions": json.dumps(tools), "datetime": "now"},
    ]


@dataclass
class Shown:
    """What a template shows of a chat up to and with one trained turn."""

    texts: list[str] = field(default_factory=list)
    """Whole chats in which no word is missing."""
    missing: set[str] = field(default_factory=set)
    """Words that are left out, in whatever spelling."""
    raised: list[str] = field(default_factory=list)
    """What the template said where it refused."""

    @property
    def why_not(self) -> str:
        """Why nothing can be trained of it."""
        if self.missing:
            return f"leaves out {', '.join(sorted(self.missing))}"
        return f"raises {self.raised[0]}"


def shown(tokenizer: Any, case: Case, turn: int) -> Shown:
    """Ask the template itself, in every spelling, for the chat that ends with a turn."""
    found = Shown()
    asked, said = words([*case.messages[:turn], case.tools or []]), words(case.messages[turn : turn + 1])
    for chat, given in itertools.product(spellings(case.messages[: turn + 1]), _given(case.tools)):
        try:
            prompt = tokenizer.apply_chat_template(chat[:turn], tokenize=False, add_generation_prompt=True, **given)
            text = tokenizer.apply_chat_template(chat, tokenize=False, **given)
        except Exception as error:  # noqa: BLE001  whatever a template raises is its refusal
            found.raised.append(f"{type(error).__name__}: {error}")
            continue
        missing = (said - words(text)) | (asked - words(prompt))
        found.missing |= missing
        if not missing:
            found.texts.append(text)
    return found


# --- what preparation and serving make of it


@dataclass
class Run:
    """Tokens in a row that are trained on, and what stands before them."""

    before: list[int]
    ids: list[int]


def runs(ids: Sequence[int], mask: Sequence[int]) -> list[Run]:
    """Return the trained runs of one example."""
    found, start = [], 0
    for trained, group in itertools.groupby(mask):
        size = len(list(group))
        if trained:
            found.append(Run(list(ids[:start]), list(ids[start : start + size])))
        start += size
    return found


class Scripted:
    """In the engine's place: a model that says what it is told to say, and stops only where the engine would."""

    limits = BatchLimits()

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.prompt: list[int] = []

    def vocabulary(self, _base: str) -> int:
        return 2**20

    def submit(
        self, _base: str, _adapter: str | None, prompt: Sequence[int], sampling: Sampling, **_: Any
    ) -> Generation:
        self.prompt = list(prompt)
        generation = Generation(prompt, None, sampling, stream=True)
        for each in self.ids:
            generation.take(Token(each))
            if generation.finish:
                break
        generation.notify()
        return generation


class Subject:
    """A template with its tokenizer, in preparation and in serving."""

    def __init__(self, folder: Path, template: str, foreign: bool = False) -> None:
        save_tokenizer(folder, template, foreign)
        self.folder, self.ends = folder, ends_of(template, foreign)
        spec = {
            "model_dir": str(folder),
            "base_name": "base",
            "context": CONTEXT,
            "base_context": CONTEXT,
            "template_sha256": sha256(template.encode()),
            "overlong": "fail",
            "created": {},
            "day": None,
            "row_shapes": {"training_file": "chat"},
        }
        self.tokeniser = Tokeniser(spec)
        self.tokenizer = self.tokeniser.tokenizer
        self.model = self.served({})

    def served(self, switches: dict[str, Any]) -> ServedModel:
        """Return the model as serving has it, whose manifest names these switches of its template."""
        return served(self.tokenizer, self.folder, switches)

    def prepare(self, case: Case) -> list[list[Run]]:
        """Return the trained runs of every example of a row, as a job prepares it; raises FailedError."""
        row: dict[str, Any] = {"messages": case.messages} | ({"tools": case.tools} if case.tools else {})
        checked = check(json.loads(json.dumps(row)), 1, 1)
        if checked.errors:
            raise FailedError(Fail(checked.errors[0].code, checked.errors[0].message, "training_file"))
        path = self.folder / "rows.jsonl"
        path.write_bytes(checked.encoded + b"\n")
        tokens, found, start = self.tokeniser.file(path, "training_file"), [], 0
        self.model = self.served(json.loads(tokens.switches))
        for length in tokens.lengths:
            found.append(runs(tokens.ids[start : start + length], tokens.mask[start : start + length]))
            start += length
        return found

    def ask(self, case: Case, turn: int, says: list[int]) -> tuple[list[int], dict[str, Any]]:
        """Return the prompt that serving makes of the chat before a turn, and its choice when the model `says` that."""
        after = self.tokenizer("zqbeyond", add_special_tokens=False)["input_ids"]
        engine = Scripted([*says, *after])
        before = [{k: v for k, v in m.items() if k != "weight"} for m in case.messages[:turn]]
        asked = {"model": "m", "messages": before, "max_tokens": len(says) + len(after)}
        wanted = Chat.read(asked | ({"tools": case.tools} if case.tools else {}))
        reply = asyncio.run(
            answers.chat(cast("Any", engine), cast("Any", _Only(self.model)), _REF, wanted, Request(_SCOPE, _waiting))
        )
        return engine.prompt, json.loads(bytes(reply.body))["choices"][0]


def served(tokenizer: Any, folder: Path, switches: dict[str, Any]) -> ServedModel:
    """Return a model without weights."""
    chat = ChatTemplate(tokenizer, stop_ids(folder, tokenizer))
    return ServedModel("0" * 64, "base", None, tokenizer, CONTEXT, chat, switches=switches)


_REF = ManifestRef(key="k", sha256="0" * 64)
_SCOPE = {"type": "http", "headers": []}


async def _waiting() -> Any:
    await asyncio.Event().wait()


class _Only:
    """In the place of the models in memory: this one."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    @asynccontextmanager
    async def use(self, _ref: ManifestRef) -> Any:
        yield self._model


# --- the verdict


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
    return Verdict(len(examples))


def _untrue(tokenizer: Any, ends: Sequence[str], case: Case, cannot: Shown | None, code: str, why: str) -> str:
    """Return what is not true of a refusal; empty: it is true of the template."""
    if why.endswith("ends a thought with what ends a turn."):
        wholes = [shown(tokenizer, case, turn).texts[0] for turn in case.trained]
        inside = [text[text.find("zqthought") : text.rfind("zq")] for text in wholes]
        return "" if any(end in each for each in inside for end in ends) else f"refused though no end is inside: {why}"
    if cannot is None:
        return f"refused though the template shows it: {why}"
    if code == "tools_unsupported":
        tries = (Case("", [_ASK], case.tools), Case("", [_ASK, _CALL], case.tools))
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
