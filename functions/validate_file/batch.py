"""What a line of a batch's file may be: one request, `{"custom_id", "method": "POST", "url", "body"}`. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from contracts.wire.asked import PASSED_ON
from functions.validate_file.row import Checked, Fault, kind_of, short, shown

_KEYS = frozenset({"custom_id", "method", "url", "body"})
_LONGEST_ID = 512
_LONGEST_MODEL = 512


class Requests:
    """The lines of one file, which all ask the same path and model."""

    def __init__(self) -> None:
        self.url: str | None = None
        self.model: str | None = None
        self._seen: dict[bytes, int] = {}
        """Hash of each custom_id → its line."""

    def check(self, value: object, number: int, line: int) -> Checked:
        """Return the request with everything that is wrong with it; `encoded` is what is asked."""
        row = Checked(number, line)
        if isinstance(value, Fault):
            row.wrong(value.code, value.message)
        elif not isinstance(value, dict):
            row.wrong("not_an_object", "is no JSON object; a line is one request.")
        else:
            for name in sorted(value.keys() - _KEYS)[:3]:
                row.wrong("unknown_key", f"has '{short(name)}'; known are custom_id, method, url, body.", short(name))
            self._custom_id(row, value.get("custom_id"))
            if value.get("method") != "POST":
                row.wrong("invalid_method", f"has the method {shown(value.get('method'))}; it must be POST.", "method")
            self._url(row, value.get("url"))
            self._body(row, value.get("body"))
        if not row.errors and isinstance(value, dict):
            self._encode(row, value)
        return row

    def _custom_id(self, row: Checked, id: object) -> None:
        if not isinstance(id, str) or not 0 < len(id) <= _LONGEST_ID:
            text = f"needs a custom_id of 1 to {_LONGEST_ID} characters, by which its answer is found."
            row.wrong("invalid_custom_id", text, "custom_id")
            return
        digest = hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=16).digest()
        before = self._seen.setdefault(digest, row.line)
        if before != row.line:
            row.wrong("duplicate_custom_id", f"has the custom_id {shown(id)} of line {before}.", "custom_id")

    def _url(self, row: Checked, url: object) -> None:
        if not isinstance(url, str) or url not in PASSED_ON:
            row.wrong("invalid_url", f"asks {shown(url)}; supported are {', '.join(PASSED_ON)}.", "url")
            return
        self.url = self.url or url
        if url != self.url:
            row.wrong("mismatched_url", f"asks {url}, and lines before it {self.url}; a batch asks one.", "url")

    def _body(self, row: Checked, body: object) -> None:
        if not isinstance(body, dict):
            row.wrong("invalid_body", f"needs a body, the request as an object, not {kind_of(body)}.", "body")
            return
        model = body.get("model")
        if not isinstance(model, str) or not 0 < len(model) <= _LONGEST_MODEL:
            row.wrong("missing_model", "names no model.", "body.model")
            return
        self.model = self.model or model
        if model != self.model:
            text = f"asks the model {shown(model)}, and lines before it {shown(self.model)}; a batch asks one."
            row.wrong("mismatched_model", text, "body.model")
        if body.get("stream"):
            row.wrong("stream", "asks for a stream, which no file can hold. Leave 'stream' out.", "body.stream")

    def _encode(self, row: Checked, value: Mapping[str, Any]) -> None:
        asked = {"custom_id": value["custom_id"], "line": row.line, "body": value["body"]}
        try:
            row.encoded = msgspec.json.encode(asked)
        except UnicodeEncodeError:
            text = "has half a surrogate pair (such as \\ud800), which is no text. Remove it or write the character."
            row.wrong("lone_surrogate", text)
        except (RecursionError, msgspec.MsgspecError, ValueError, OverflowError) as error:
            row.wrong("invalid_json", f"cannot be written as JSON again: {short(str(error))}.")
