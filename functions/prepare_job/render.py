"""One row as the model's own chat template renders it: its text, and where the trained turns stand in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from contracts.wire.chat import plain, refusal
from functions.prepare_job.labels import Span, UnlabelledError, turn_span

Messages = list[dict[str, Any]]
_MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A row as text."""

    messages: Messages
    """As the row has them and a request would send them."""
    tools: list[Any] | None
    text: str
    spans: tuple[Span, ...]
    """Of the assistant turns that are trained on."""
    first_trained: int
    """Index of the first message that is trained on; what is before it is its prompt."""


class Template:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        template = tokenizer.chat_template
        self.source: str = (template.get("default", "") if isinstance(template, dict) else template) or ""
        special = sorted((token for token in tokenizer.all_special_tokens if token.strip()), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special))) if special else None

    def text(self, messages: Sequence[dict[str, Any]], tools: list[Any] | None, prompt: bool = False) -> str:
        """Return the rendered chat, with the generation prompt if `prompt`; raises UnlabelledError when it refuses."""
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                list(messages), tools=tools, tokenize=False, add_generation_prompt=prompt
            )
        except Exception as error:  # whatever a template raises is its refusal
            text = f"the model's chat template refuses it: {refusal(error)}."
            raise UnlabelledError("template_failed", text) from error
        return rendered

    def marks(self, messages: Messages, tools: list[Any] | None) -> list[Span]:
        """Return what the template marks as generated, one span a turn; none where it carries no such marks."""
        if not _MARKED.search(self.source):
            return []
        _, marks = render_jinja_template(
            conversations=[messages],
            tools=tools,
            chat_template=self._tokenizer.get_chat_template(None, tools),
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return [(start, end) for start, end in marks[0]]

    def render(self, row: dict[str, Any]) -> Rendered:
        """Return a row of the canonical kind as text; raises UnlabelledError with the reason when it cannot be."""
        messages, tools = plain(row["messages"]), row.get("tools")
        text = self.text(messages, tools)
        self._check(messages, tools, text)
        turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        marks = self.marks(messages, tools)
        spans, trained = [], []
        for turn, index in enumerate(turns):
            if row["messages"][index].get("weight") == 0:
                continue
            if index == 0:
                raise UnlabelledError(
                    "no_prompt", "its first message is the assistant's, without a prompt; give it weight 0."
                )
            prompt = self.text(messages[:index], tools, prompt=True)
            upto = text if index == len(messages) - 1 else self.text(messages[: index + 1], tools)
            mark = marks[turn] if len(marks) == len(turns) else None
            spans.append(turn_span(text, prompt, upto, messages[index].get("content", ""), mark))
            trained.append(index)
        return Rendered(row["messages"], tools, text, tuple(spans), trained[0])

    def _check(self, messages: Messages, tools: list[Any] | None, text: str) -> None:
        """Refuse what the template would leave out, and text that would become a control token."""
        if tools and self.text(messages, None) == text:
            raise UnlabelledError(
                "tools_unsupported", "it has tools, but the model's chat template does not show them."
            )
        if any("tool_calls" in message for message in messages):
            without = [{name: value for name, value in message.items() if name != "tool_calls"} for message in messages]
            if self.text([{"content": "", **message} for message in without], tools) == text:
                raise UnlabelledError(
                    "tools_unsupported", "it calls tools, but the model's chat template leaves calls out."
                )
        for index, message in enumerate(messages):
            content = message.get("content", "")
            if self._special and (found := self._special.search(content)):
                raise UnlabelledError(
                    "special_token",
                    f"message {index + 1} holds {found.group()!r}, which is a control token of the model. Reword it.",
                )
            if message["role"] != "assistant" and content.strip() not in text:
                raise UnlabelledError(
                    "message_left_out",
                    f"the model's chat template leaves out or changes message {index + 1} (role {message['role']}).",
                )
