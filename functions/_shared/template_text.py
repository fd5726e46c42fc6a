"""What a template's text shows of messages, on a fixed day where it shows the day."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from functions._shared import sandbox

DATE = "strftime_now"
"""The variable that pins the day which a template shows, as `2026-11-27`: a model is asked as it was trained."""
_NOW = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def shown_by(
    tokenizer: Any,
    source: str,
    messages: Sequence[dict[str, Any]],
    tools: Any,
    variables: Mapping[str, Any],
    *,
    prompt: bool,
) -> str:
    """Return messages as a template shows them, with a generation prompt or without; raises whatever it raises."""
    values = dict(variables)
    day = values.get(DATE) or datetime.now(UTC).date().isoformat()
    if values.pop(DATE, None):
        source = _dated(source, day)
    if wants_date(source):
        values.setdefault("datetime", day)
    if sandbox.is_needed(source):
        named = {**tokenizer.special_tokens_map, "add_generation_prompt": prompt, **values}
        return sandbox.render(source, messages, tools, named)
    text: str = tokenizer.apply_chat_template(
        list(messages), tools=tools, chat_template=source, tokenize=False, add_generation_prompt=prompt, **values
    )
    return text


def wants_date(source: str) -> bool:
    """Whether a template adds the variable `datetime` to its text."""
    return re.search(r"\+\s*datetime\b", source) is not None


@lru_cache(maxsize=64)
def _dated(source: str, day: str) -> str:
    """Return a template that shows a fixed day."""
    at = datetime.fromisoformat(day)
    return _NOW.sub(lambda found: json.dumps(at.strftime(found[2])), source)
