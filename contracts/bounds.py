"""Bounds of what events say, so that whatever is recorded can be published and whatever is published can be read.

Names and numbers beyond a bound are refused. Sentences are for people: they are shortened where they are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

LARGEST = 2**53 - 1
"""The largest whole number that every reader of JSON keeps as it is."""
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")


def shortened(limit: int) -> Callable[[Any], Any]:
    """Return what makes a text fit for an event: whole characters, at most `limit` of them."""

    def shorten(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        said = _UNSPEAKABLE.sub("\ufffd", value)
        return said if len(said) <= limit else said[: limit - 1] + "…"

    return shorten


Sentence = Annotated[str, BeforeValidator(shortened(2000)), Field(max_length=2000)]
"""What happened and what to do, for a person."""
Phrase = Annotated[str, BeforeValidator(shortened(400)), Field(max_length=400)]
"""The same where an event has a hundred of them."""
Place = Annotated[str, BeforeValidator(shortened(128)), Field(max_length=128)]
"""Where in a row or request; its end may be missing."""
Title = Annotated[str, BeforeValidator(shortened(200)), Field(max_length=200)]
"""What somebody called something, or who did it, as a reader sees it."""
Code = Annotated[str, Field(max_length=64)]
"""A word for machines."""
Id = Annotated[str, Field(max_length=128)]
"""Of a file, job, benchmark, archive."""
Name = Annotated[str, Field(max_length=512)]
"""By which something is called."""
Key = Annotated[str, Field(max_length=1024)]
"""Of a blob, a path in an archive, an address: what object stores allow."""
Hash = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Share = Annotated[float, Field(ge=0, le=1)]
_Switch = bool | Annotated[int, Field(ge=-LARGEST, le=LARGEST)] | Number | Annotated[str, Field(max_length=256)]
Switches = Annotated[dict[Code, _Switch], Field(max_length=16)]
"""Variables of a chat template: `chat_template_kwargs`."""
