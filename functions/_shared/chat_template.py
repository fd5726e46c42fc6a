"""A model's chat template: what a chat's prompt is, what the answer to it is, and where that ends.

One code path for preparation, proof and serving: a model is trained on the tokens of `prompt`, of the answer to it, and
of the end of a turn, and is asked with the tokens of `prompt`. What a template wants is found by rendering probes.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from contracts.wire.chat import refusal
from functions._shared import dialect
from functions._shared.dialect import (
    ANSWER,
    ASKED,
    CALL,
    CALLED,
    REASONING,
    THOUGHT,
    TOOL,
    VALUE,
    Dialect,
    Messages,
    as_text,
    folded,
    lost,
    merged,
    reasoning_of,
    words_missing,
)
from functions._shared.template_text import DATE, shown_by, wants_date
from functions._shared.turns import (
    NOTHING,
    Join,
    Marks,
    Stops,
    Switches,
    TemplateRefusalError,
    Thinking,
    Turn,
    alike,
    apart,
    end_of,
    is_partly_missing,
    marks_around,
    marks_before,
    marks_of_nothing,
    opened,
)

_THINKS = re.compile("think|thought|reason", re.IGNORECASE)
_NAMES = ("enable_thinking", "thinking", "reasoning_effort", "thinking_mode", "reasoning", "think")
_OFF, _ON = (False, "none", "off", "disabled", "chat", "low"), (True, "high", "on", "enabled", "thinking", "medium")
_FIELDS = (*REASONING, "parts")
_WAYS: tuple[Callable[[Messages], Messages], ...] = (list, merged, lambda chat: merged(folded(chat)))
"""A chat as it is, and as a template that is strict about roles and their order takes it."""

_NO_REASONING = "it has reasoning, which the model's chat template does not show before such an answer."
_NO_TOOLS = "it has tools, but the model's chat template does not show all of them."

Tools = Sequence[Any] | None


class ChatTemplate:
    """The chat template of a tokenizer; `eos` are the tokens that end a text. Messages are those of `plain`."""

    def __init__(self, tokenizer: Any, eos: frozenset[int]) -> None:
        self._tokenizer, self.eos = tokenizer, eos
        own = tokenizer.chat_template
        named = own if isinstance(own, dict) else {"default": own}
        self.source: str = named.get("default") or ""
        self._source_for_tools: str = named.get("tool_use") or self.source
        self._joins: dict[str, Join] = {}
        self._leads: dict[str, tuple[str, str]] = {}

    # Prompts

    def prompt(self, messages: Sequence[dict[str, Any]], tools: Tools, switches: Switches) -> str:
        """Return what the model is asked with; raises TemplateRefusalError where the template shows no such chat."""
        return self._prompt(self.split(messages), tools, switches)[0]

    def left_open(self, prompt: str) -> Marks | None:
        """Return the marks of what is to be thought, where a prompt opens them last."""
        shown = prompt.rstrip()
        if (known := self.thinking.marks) and shown.endswith(known.open):
            return known
        return opened(shown)

    def switches_for(self, reasons: bool) -> Switches:
        """Return the switches with which an answer that reasons, or one that does not, is asked for."""
        return (self.thinking.switches or {}) if reasons else self._quiet

    def _prompt(self, messages: Messages, tools: Tools, switches: Switches) -> tuple[str, int]:
        """Return the prompt, and which of `_WAYS` shows all of the chat, the first where none does."""
        shaped = self._shaped(messages, tools)
        found: list[tuple[str, int]] = []
        refused: Exception | None = None
        for way, change in enumerate(_WAYS):
            chat = change(shaped)
            if way and chat == shaped:
                continue
            try:
                text = self._render(chat, tools, switches, prompt=True)
            except Exception as error:  # noqa: BLE001  whatever a template raises is its refusal
                refused = refused or error
                continue
            found.append((text, way))
            if lost(chat, text) is None:
                return self._checked(text, messages, tools, switches), way
        if not found:
            assert refused is not None
            text = f"the model's chat template refuses it: {refusal(refused)}."
            raise TemplateRefusalError("template_failed", text) from refused
        text, way = found[0]
        return self._checked(text, messages, tools, switches), way

    def _checked(self, text: str, messages: Messages, tools: Tools, switches: Switches) -> str:
        """Return a prompt in which thinking is closed where it is switched off; raises where tools are not shown."""
        names = [tool.get("function", tool).get("name", "") for tool in tools or ()]
        if not all(name in text for name in names):
            raise TemplateRefusalError("tools_unsupported", _NO_TOOLS, "tools")
        if messages and messages[-1]["role"] == "tool" and not text.endswith(self._header_behind_results):
            text += self._header_behind_results
        if switches.get("enable_thinking") is False and (marks := self.left_open(text)):
            return text + marks.between
        return text

    def split(self, messages: Sequence[dict[str, Any]]) -> Messages:
        """Return the messages, with what stands between marks of thinking in a content apart from it."""
        if self.thinking.switches is None:
            return list(messages)
        return [apart(message) for message in messages]

    # Answers

    def turn(self, messages: Sequence[dict[str, Any]], tools: Tools, switches: Switches) -> Turn:
        """Return the prompt and the answer that the last message is; raises TemplateRefusalError."""
        chat = self.split(messages)
        prompt, way = self._prompt(chat[:-1], tools, switches)
        shown = _WAYS[way](self._shaped(chat[:-1], tools))
        if (index := lost(shown, prompt)) is not None:
            text = f"the model's chat template leaves out or changes message {index + 1} (role {shown[index]['role']})."
            raise TemplateRefusalError("message_left_out", text)
        answer = self._ended(said := self._said(prompt, chat, tools, switches, way))
        if reasoning_of(chat[-1]) and is_partly_missing(chat[-1], answer) and not is_partly_missing(chat[-1], said):
            text = "it has reasoning, but the model's chat template ends a thought with what ends a turn."
            raise TemplateRefusalError("reasoning_unsupported", text)
        if is_partly_missing(chat[-1], answer):
            text = (
                f"the model's chat template leaves out or changes a part of message {len(messages)} (role assistant)."
            )
            raise TemplateRefusalError("message_left_out", text)
        return Turn(prompt, answer)

    def reasons(self, message: dict[str, Any]) -> bool:
        """Whether an answer tells what was thought before it."""
        return bool(reasoning_of(self.split([message])[0]))

    def _said(self, prompt: str, chat: Messages, tools: Tools, switches: Switches, way: int) -> str:
        """Return the answer that the last message is, without looking where it ends."""
        thought = reasoning_of(chat[-1])
        if thought and self.thinking.switches is None:
            raise TemplateRefusalError(
                "reasoning_unsupported",
                "it has reasoning, which the model's chat template does not show before an answer.",
            )
        marks = self.left_open(prompt)
        answer = self._answer(prompt, chat, tools, switches, way)
        if not words_missing(thought, answer) and (marks is None or marks.close in answer):
            return answer
        bare = [*chat[:-1], {name: value for name, value in chat[-1].items() if name not in REASONING}]
        answer = self._answer(prompt, bare, tools, switches, way)
        if marks:
            return thought.strip() + marks.between + answer.lstrip().removeprefix(marks.close).lstrip()
        if empty := NOTHING.match(answer):
            return answer[: empty.end(1)] + empty[2][:1] + thought.strip() + empty[2][1:] + answer[empty.start(3) :]
        if known := self.thinking.marks:  # the template shows it before calls only
            return known.open + known.after + thought.strip() + known.between + answer
        raise TemplateRefusalError("reasoning_unsupported", _NO_REASONING)

    def _answer(self, prompt: str, chat: Messages, tools: Tools, switches: Switches, way: int) -> str:
        """Return what the template writes of the last message behind the prompt."""
        shaped = _WAYS[way](self._shaped(chat, tools))
        try:
            full = self._render(shaped, tools, switches, prompt=False)
        except Exception as error:
            text = f"the model's chat template refuses it: {refusal(error)}."
            raise TemplateRefusalError("template_failed", text) from error
        if full.startswith(prompt):
            return full[len(prompt) :]
        if self._trailer:
            full = full.removesuffix(self._trailer)
        join = self._join(switches, bool(reasoning_of(chat[-1])))
        before = as_text(shaped[-2].get("content")).strip() if len(shaped) > 1 else ""
        for core in self._cores(prompt, join):
            if full.startswith(core) and not is_partly_missing(chat[-1], rest := full[len(core) :]):
                return rest.removeprefix(join.lead)
        tail = prompt.removesuffix(join.extra).rpartition(before)[2] if before else ""
        for begin in filter(None, (join.header, before and before + tail)):
            at = full.rfind(begin)
            while at >= 0:
                rest = full[at + len(begin) :]
                if not is_partly_missing(chat[-1], rest) and not (before and before in rest.removesuffix(before)):
                    return rest.removeprefix(join.lead)
                at = full.rfind(begin, 0, at)
        raise TemplateRefusalError(
            "template_unsupported",
            "the model's chat template shows a prompt in another way once its answer follows, so that the answer "
            "cannot be found.",
        )

    def _cores(self, prompt: str, join: Join) -> Iterator[str]:
        """Yield what a prompt is without the end that the template writes in another way once an answer follows."""
        core = prompt.removesuffix(join.extra)
        yield core
        if (marks := self.thinking.marks) and (at := prompt.rfind(marks.open)) >= 0:
            yield prompt[:at]
        if join.header:
            yield core.removesuffix(join.header)

    def _ended(self, answer: str) -> str:
        """Return an answer up to and with the end of its turn."""
        ends = [at + len(stop) for stop in self.stops.shown if (at := answer.find(stop)) >= 0]
        if ends:
            return answer[: min(ends)]
        eos = self._tokenizer.eos_token
        if not eos:
            text = (
                "the model's chat template does not close an assistant turn, and its tokenizer has no token that ends "
                "a text, so it would never learn to end an answer."
            )
            raise TemplateRefusalError("no_end_of_turn", text)
        return answer.rstrip() + str(eos)

    # What the template is like

    @cached_property
    def thinking(self) -> Thinking:
        """How the template shows what is thought."""
        if not _THINKS.search(self.source + self._source_for_tools):
            return Thinking()
        said = {"role": "assistant", "content": ANSWER, REASONING[0]: THOUGHT}
        on: list[Switches] = [{}, *self._switched(_ON)]
        ways = [*itertools.product(_FIELDS, on), *itertools.product((None,), on), *itertools.product(("inline",), on)]
        for form, switches in ways:
            with suppress(Exception):  # whatever a template raises is its refusal
                known = replace(self._dialect_of_chats, reasoning=form)
                prompt = self._probe(known, [ASKED], switches, prompt=True)
                full = self._probe(known, [ASKED, said], switches, prompt=False)
                if form == "inline" and "</think>" in (prompt[-20:] if "</think>" in self.source else "</think>"):
                    continue
                marks = marks_around(prompt, full) if form else opened(prompt) or marks_of_nothing(prompt, full)
                if marks:
                    return Thinking(form, marks, switches)
        return self._thinking_before_calls(on)

    def _thinking_before_calls(self, on: list[Switches]) -> Thinking:
        """Return how the template shows what is thought before calls."""
        for form, switches in itertools.product(_FIELDS, on):
            with suppress(Exception):
                known = replace(self._dialect_of_chats, reasoning=form)
                prompt = self._probe(known, [ASKED], switches, prompt=True)
                chats: tuple[Messages, ...] = ([ASKED, CALLED], [ASKED, {**CALLED, REASONING[0]: THOUGHT}])
                if marks := marks_before(prompt, *(self._probe(known, chat, switches, prompt=False) for chat in chats)):
                    return Thinking(form, marks, switches)
        return Thinking()

    def _join(self, switches: Switches, reasons: bool) -> Join:
        """Return how prompts end that the template writes in another way once their answer follows."""
        key = json.dumps([switches, reasons], sort_keys=True, default=str)
        if key not in self._joins:
            said = {"role": "assistant", "content": ANSWER, **({REASONING[0]: THOUGHT} if reasons else {})}
            bare = self._render(self._shaped([ASKED], None), None, switches, prompt=False)
            prompt = self.prompt([ASKED], None, switches)
            full = self._render(self._shaped([ASKED, said], None), None, switches, prompt=False)
            same = alike(prompt, full)
            lead = full[same:].partition(THOUGHT if reasons and THOUGHT in full else ANSWER)[0]
            header = prompt[len(bare) : same] if prompt.startswith(bare) else ""
            self._joins[key] = Join(prompt[same:], lead if same < len(prompt) else "", header.rstrip() and header)
        return self._joins[key]

    def lead(self, switches: Switches) -> str:
        """Return what the template puts before an answer, behind the prompt."""
        return self._around(switches)[0]

    def tail(self, switches: Switches) -> str:
        """Return what the template puts behind an answer, before what ends the turn."""
        behind = self._around(switches)[1]
        return next((behind.removesuffix(stop) for stop in self.stops.shown if behind.endswith(stop)), "")

    def _around(self, switches: Switches) -> tuple[str, str]:
        key = json.dumps(switches, sort_keys=True)
        if key not in self._leads:
            before, behind = "", ""
            with suppress(Exception):
                said = {"role": "assistant", "content": ANSWER}
                before, _, behind = self.turn([ASKED, said], None, switches).answer.partition(ANSWER)
            self._leads[key] = (before, behind)
        return self._leads[key]

    @cached_property
    def _quiet(self) -> Switches:
        """The switches with which a model is asked for an answer without a thought."""
        for switches in [{}, *self._switched(_OFF)]:
            with suppress(Exception):
                if not self.left_open(self._probe(self._dialect_of_chats, [ASKED], switches, prompt=True)):
                    return switches
        return {"enable_thinking": False}

    def _switched(self, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
        names = [name for name in _NAMES if re.search(rf"\b{name}\b", self.source)]
        return ({name: value} for name, value in itertools.product(names, values))

    @cached_property
    def stops(self) -> Stops:
        """Where an answer ends: the tokens that end a text, and what the template writes behind an answer."""
        added = self._added
        eos = {self._tokenizer.convert_ids_to_tokens(id): id for id in self.eos}
        ids, texts = dict(eos), list[str]()
        answers = list(self._answers_of_probes())
        within = {token for before, _, calls in answers if calls for token in added if token in before}
        for before, tail, calls in answers:
            for token in [each for each in ids if each in before and len(ids) > 1]:
                del ids[token]  # it stands within answers
            end = end_of(tail, ids, added, fixed=self._always_prompts)
            if end in added and end not in before and end not in within:
                ids[end] = added[end]
            elif end and not calls and end not in added:
                texts.append(end)
        return Stops(frozenset(ids.values()), tuple(dict.fromkeys(texts)), (*ids, *dict.fromkeys(texts)))

    def _answers_of_probes(self) -> Iterator[tuple[str, str, bool]]:
        """Yield what stands before and behind the last word of known answers, and whether they call tools."""
        for chat, tools, last in self._probes() if self.source else ():
            with suppress(Exception):
                switches = self.switches_for(THOUGHT in str(chat))
                prompt, way = self._prompt(chat[:-1], tools, switches)
                before, _, tail = self._said(prompt, chat, tools, switches, way).rpartition(last)
                yield before, tail, bool(tools)

    def _probes(self) -> Iterator[tuple[Messages, Tools, str]]:
        said = {"role": "assistant", "content": ANSWER}
        yield [ASKED, said], None, ANSWER
        if self.thinking.switches is not None:
            yield [ASKED, {**said, REASONING[0]: THOUGHT}], None, ANSWER
        for calls in ([CALL, {**CALL, "id": "call_zq2"}], [CALL]):
            yield [ASKED, {"role": "assistant", "tool_calls": calls}], [TOOL], VALUE

    @cached_property
    def _always_prompts(self) -> bool:
        """Whether the template asks for an answer even where it is not to."""
        own = self._dialect_of_chats
        return self._probe(own, [ASKED], {}, prompt=True) == self._probe(own, [ASKED], {}, prompt=False)

    @cached_property
    def _header_behind_results(self) -> str:
        """What a template writes before an answer to a tool's, and not where it asks for one; empty: it asks so too."""
        with suppress(Exception):
            show = partial(self._rendered, tools=[TOOL], switches=self._quiet)
            chat: Messages = [ASKED, CALLED, {"role": "tool", "tool_call_id": CALL["id"], "content": THOUGHT}]
            said = {"role": "assistant", "content": ANSWER}
            bare, asked = (show(self._shaped([ASKED], [TOOL]), prompt=each) for each in (False, True))
            prompt = show(self._shaped(chat, [TOOL]), prompt=True)
            full = show(self._shaped([*chat, said], [TOOL]), prompt=False)
            header = asked.removeprefix(bare)
            if header.strip() and header != asked and full.startswith(prompt + header + ANSWER):
                return header
        return ""

    @cached_property
    def _trailer(self) -> str:
        """What the template writes behind any chat, though nothing is asked: instructions, not an answer's end."""
        with suppress(Exception):
            own = self._dialect_of_chats
            said = {"role": "assistant", "content": ANSWER}
            chats = ([ASKED], [ASKED, said], [ASKED, said, ASKED])
            ends = [self._probe(own, chat, {}, prompt=False)[::-1] for chat in chats]
            return self._unclosed(ends[0][: min(alike(ends[0], end) for end in ends[1:])][::-1])
        return ""

    def _unclosed(self, trailer: str) -> str:
        """Return a trailer without the end of a turn that it begins with; empty where there is no more than that."""
        found = [match.end() for token in self._added for match in re.finditer(re.escape(token), trailer)]
        begin = min(found, default=len(trailer))
        return trailer[begin:] if trailer[begin:].strip() else ""

    @cached_property
    def _added(self) -> dict[str, int]:
        return dict(self._tokenizer.get_added_vocab())

    @property
    def shows_date(self) -> bool:
        """Whether what it shows depends on the day."""
        return DATE in self.source + self._source_for_tools or wants_date(self.source + self._source_for_tools)

    # Rendering

    def _render(self, chat: Messages, tools: Tools, switches: Switches, *, prompt: bool) -> str:
        try:
            return self._rendered(chat, tools, switches, prompt=prompt)
        except Exception:
            if not tools or (plain := dialect.plainer(tools)) == list(tools):
                raise
            return self._rendered(chat, plain, switches, prompt=prompt)  # of one that reckons with fewer schemas

    def _rendered(self, chat: Messages, tools: Tools, switches: Switches, *, prompt: bool) -> str:
        given, variables = self._dialect(tools).given(tools)
        return self._raw(chat, given, {**variables, **switches}, prompt=prompt, for_tools=bool(tools))

    def _probe(self, known: Dialect, chat: Messages, switches: Switches, *, prompt: bool) -> str:
        given, variables = known.given(None)
        return self._raw(known.shaped(chat, None), given, {**variables, **switches}, prompt=prompt)

    def _raw(
        self, chat: Sequence[dict[str, Any]], tools: Any, variables: Switches, *, prompt: bool, for_tools: bool = False
    ) -> str:
        source = self._source_for_tools if for_tools else self.source
        return shown_by(self._tokenizer, source, chat, tools, variables, prompt=prompt)

    def _shaped(self, chat: Sequence[dict[str, Any]], tools: Tools) -> Messages:
        return self._dialect(tools).shaped(chat, tools)

    def _dialect(self, tools: Tools) -> Dialect:
        return self._dialects[bool(tools)]

    @cached_property
    def _dialects(self) -> tuple[Dialect, Dialect]:
        form = self.thinking.form
        return replace(self._dialect_of_chats, reasoning=form), replace(self._dialect_of_tools, reasoning=form)

    @cached_property
    def _dialect_of_chats(self) -> Dialect:
        return dialect.find(self.source, self._added, partial(self._raw, prompt=True))

    @cached_property
    def _dialect_of_tools(self) -> Dialect:
        if self._source_for_tools == self.source:
            return self._dialect_of_chats
        render = partial(self._raw, prompt=True, for_tools=True)
        return dialect.find(self._source_for_tools, self._added, render)
