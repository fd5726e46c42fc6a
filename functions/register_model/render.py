"""Try a base's tokenizer and chat template: `python -m functions.register_model.render spec.json`.

The spec names `tokenizer` (tokenizer.json), `template` and `tokens` (name → text). Printed is {"refused": why or null}.
A process of its own, because a template is a program and may not end.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from functions._shared.chat_template import ChatTemplate
from functions._shared.turns import TemplateRefusalError

QUESTION, ANSWER = "What opens gate 7?", "The red key."
CHAT = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]


def refused(spec: dict[str, Any]) -> str | None:
    """Return in a sentence what keeps the tokenizer and the template from showing a question and its answer."""
    try:
        Tokenizer.from_file(spec["tokenizer"])
    except Exception as error:  # noqa: BLE001  the library raises nothing narrower
        return f"tokenizer.json cannot be read: {error}."
    why = _as_it_is(spec) if spec["template"] else None
    if why is None:
        return None
    try:  # many templates want a chat in a way of their own
        ChatTemplate(_Tokens(spec), frozenset()).turn(CHAT, None, {})
    except TemplateRefusalError:
        return why
    return None


class _Tokens:
    """What a template is rendered with, of a tokenizer."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.chat_template: str = spec["template"]
        self.special_tokens_map: dict[str, str] = spec["tokens"]
        self.eos_token = spec["tokens"].get("eos_token") or "</s>"

    def apply_chat_template(self, chat: Any, *, tokenize: bool, **said: Any) -> str:
        texts, _ = render_jinja_template(conversations=[chat], **{**self.special_tokens_map, **said})
        return str(texts[0])

    def get_added_vocab(self) -> dict[str, int]:
        return {}


def _as_it_is(spec: dict[str, Any]) -> str | None:
    for chat in (CHAT[:1], CHAT):
        try:
            shown = _render(spec, chat)
        except Exception as error:  # noqa: BLE001  whatever a template raises is its refusal
            return f"The chat template cannot show {_said(chat)}: {str(error).rstrip('.')}."
        for message in chat:
            if message["content"] not in shown:
                return f"The chat template leaves out what the {message['role']} says."
    return None


def _render(spec: dict[str, Any], chat: list[dict[str, str]]) -> str:
    """Return a chat as serving asks for it (a question) or as training does (with its answer)."""
    texts, _ = render_jinja_template(
        conversations=[chat],
        chat_template=spec["template"],
        add_generation_prompt=chat[-1]["role"] == "user",
        **spec["tokens"],
    )
    text: str = texts[0]
    return text


def _said(chat: list[dict[str, str]]) -> str:
    return "a question" if len(chat) == 1 else "a question and its answer"


if __name__ == "__main__":
    print(json.dumps({"refused": refused(json.loads(Path(sys.argv[1]).read_text()))}))
