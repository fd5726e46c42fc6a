"""One row as the examples that a model is trained on: their texts, and where the answers stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contracts.wire.chat import plain
from functions._shared.chat_template import ChatTemplate
from functions._shared.dialect import REASONING, as_text
from functions._shared.model_files import special_ids
from functions._shared.template_text import DATE
from functions._shared.turns import TemplateRefusalError
from functions.prepare_job.labels import Span, UnlabelledError


@dataclass(frozen=True, slots=True)
class RenderedExample:
    """A prompt with its answer; and what follows, as long as the chat goes on as it is."""

    text: str
    trained: tuple[Span, ...]
    """Where the answers stand, each with the end of its turn."""
    messages: list[dict[str, Any]]
    """Of the first prompt, as a request would send them."""
    tools: list[Any] | None
    switches: Mapping[str, Any]
    """`chat_template_kwargs` of its prompts."""


class Template:
    """A tokenizer's chat template; `eos` are the tokens at which generation ends.

    `switches` are the template's for all rows; None: those that ask for an answer as it is, with reasoning or without.
    `day` is what a template shows that shows the day, as `2026-11-27`.
    """

    def __init__(
        self,
        tokenizer: Any,
        eos: frozenset[int] | None = None,
        switches: Mapping[str, Any] | None = None,
        day: str | None = None,
    ) -> None:
        own = frozenset({tokenizer.eos_token_id} - {None})
        self.chat = ChatTemplate(tokenizer, own if eos is None else eos)
        self.source = self.chat.source
        self._tokenizer = tokenizer
        self._switches, self._day = switches, day
        tokens = tokenizer.convert_ids_to_tokens(sorted(special_ids(tokenizer)))
        special = sorted((token for token in tokens if token.strip()), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special))) if special else None

    def examples(self, row: Mapping[str, Any]) -> tuple[RenderedExample, ...]:
        """Return what a row of the canonical kind trains; raises UnlabelledError with the reason when it cannot be.

        A chat of n trained turns is one example, or n where a later prompt does not begin with the earlier text.
        """
        messages, tools = plain(row["messages"]), row.get("tools")
        self._check(messages)
        if not self.source:
            return (self._untemplated(row),)
        made: list[RenderedExample] = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant" or row["messages"][index].get("weight") == 0:
                continue
            if index == 0:
                text = "its first message is the assistant's, without a prompt; give it weight 0."
                raise UnlabelledError("no_prompt", text)
            switches = self.switches(message)
            try:
                turn = self.chat.turn(messages[: index + 1], tools, switches)
            except TemplateRefusalError as error:
                raise UnlabelledError(error.code, str(error)) from error
            text, span = turn.prompt + turn.answer, (len(turn.prompt), len(turn.prompt) + len(turn.answer))
            if made and made[-1].switches == switches and turn.prompt.startswith(made[-1].text):
                made[-1] = replace(made[-1], text=text, trained=(*made[-1].trained, span))
            else:
                made.append(RenderedExample(text, (span,), row["messages"][:index], tools, switches))
        return tuple(made)

    def _untemplated(self, row: Mapping[str, Any]) -> RenderedExample:
        """Return a prompt with its completion as they are, for a base without a chat template."""
        messages = row["messages"]
        if [each["role"] for each in messages] != ["user", "assistant"] or row.get("tools"):
            text = "the model has no chat template, so it can be trained on prompts with completions only."
            raise UnlabelledError("no_chat_template", text)
        eos = self._tokenizer.eos_token
        if not eos:
            text = "the model's tokenizer has no token that ends a text, so it would never learn to end an answer."
            raise UnlabelledError("no_end_of_turn", text)
        prompt, answer = messages[0]["content"], f"{messages[1]['content']}{eos}"
        return RenderedExample(prompt + answer, ((len(prompt), len(prompt + answer)),), messages[:1], None, {})

    def switches(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the switches with which an answer is asked for."""
        asked = self._switches
        if asked is None:
            asked = self.chat.switches_for(self.chat.reasons(dict(message)))
        return {**({DATE: self._day} if self._day and self.chat.shows_date else {}), **asked}

    def _check(self, messages: list[dict[str, Any]]) -> None:
        """Refuse text that would become a control token."""
        for index, message in enumerate(self.chat.split(messages)):
            for text in _texts(message):
                if self._special and (found := self._special.search(text)):
                    said = f"message {index + 1} holds {found.group()!r}, which is a control token of the model."
                    raise UnlabelledError("special_token", f"{said} Reword it.")


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    yield as_text(message.get("content"))
    yield from (message[name] for name in REASONING if isinstance(message.get(name), str))
