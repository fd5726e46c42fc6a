"""Calls that a model writes as Python does: `name(key='value', other=7)`. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from functions.generate_text.call_syntax import Call, IncompleteError, NoCallError, Parameters, made_call

_SPLITS = 64
"""Places at which a text without escapes may end that are tried before it is no call."""
_CALLED = re.compile(r"[\w.:-]+\(")
_KEY = re.compile(r"[\s,]*([^\s=,()\[\]{}\"']{1,256})\s*=\s*")
_NO_MORE = re.compile(r"[\s,]*\)")
_PIECE = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\[\](){},"']+|[\[\](){},]""", re.DOTALL)
"""A part of a value in Python: a string, a bracket, a comma, or what stands between them."""


@dataclass(frozen=True, slots=True)
class PythonForm:
    """`name(key='value', other=7)`."""

    raw: bool = False
    """Whether what stands in the quotes of a text is not escaped."""
    marks = ()

    def take(self, text: str, at: int, types: Parameters) -> tuple[Call, int]:
        found = _CALLED.search(text, at)
        if found is None:
            raise IncompleteError
        arguments, end = self._rest(text, found.end(), {}, [_SPLITS])
        return made_call(found.group()[:-1], arguments), end

    def _rest(self, text: str, at: int, told: dict[str, Any], tries: list[int]) -> tuple[dict[str, Any], int]:
        """Return all arguments and the call's end; where a text in quotes is not escaped, the first that fit.

        `tries` is how many ends of texts are still tried.
        """
        if last := _NO_MORE.match(text, at):
            return told, last.end()
        key = _KEY.match(text, at)
        if key is None:
            raise IncompleteError if len(text) - at < 256 and "=" not in text[at:] else NoCallError
        if self.raw and key[1] in told:
            raise NoCallError
        failed: IncompleteError | NoCallError = NoCallError()
        for value, end in self._values(text, key.end()):
            tries[0] -= 1
            try:
                return self._rest(text, end, {**told, key[1]: value}, tries)
            except RecursionError:
                raise NoCallError from None
            except (IncompleteError, NoCallError) as error:
                failed = error if isinstance(error, IncompleteError) or tries[0] < 0 else failed
                if tries[0] < 0:
                    break
        raise failed

    def _values(self, text: str, at: int) -> Iterator[tuple[Any, int]]:
        """Yield the values that may begin here, each with where it ends; raises IncompleteError or NoCallError."""
        if not (self.raw and text.startswith(("'", '"'), at)):
            yield self._value(text, at)
            return
        for end in re.compile(rf"{text[at]}(?=\s*(?:\)|,\s*[\w.-]+\s*=))").finditer(text, at + 1):
            yield text[at + 1 : end.start()], end.end()
        raise IncompleteError

    def _value(self, text: str, at: int) -> tuple[Any, int]:
        pieces, depth, place = list[str](), 0, at
        while (piece := _PIECE.match(text, place)) and (depth or piece[0] not in ",)"):
            depth += (piece[0] in "[({") - (piece[0] in "])}")
            pieces.append(
                piece[0].replace("\n", "\\n") if piece[0][0] in "\"'" else piece[0]
            )  # as templates leave them
            place = piece.end()
        if piece is None:
            raise IncompleteError
        try:
            return _plain(ast.parse("".join(pieces).strip(), mode="eval").body), place
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            raise NoCallError from None


def _plain(node: ast.expr) -> Any:
    """Return a value as Python or JSON writes it."""
    if isinstance(node, ast.Dict):
        return {_plain(key): _plain(item) for key, item in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    return ast.literal_eval(node)
