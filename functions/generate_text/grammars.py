"""Answers that are held to a grammar: which tokens may come next, by llguidance.

A grammar is written in llguidance's dialect of Lark, with JSON schemas in it. It is compiled beside the event loop,
once for all requests that have the same; each choice has its own state, which the engine's thread moves on.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from llguidance import LLExecutor, LLMatcher, LLTokenizer
from numpy.typing import NDArray
from torch import Tensor

from functions.generate_text.grammar_trial import Trial, compiled

_KEPT = 256
"""Compiled grammars."""
_NEEDED = [bytes([letter]) for letter in range(0x20, 0x7F)]
_MASKS, _AHEAD = LLExecutor(), ThreadPoolExecutor(1, "masks")
_BESIDE = 2**14
"""Tokens to look at, of all choices, from which other threads are worth their hand-over: that takes as long."""
COMPILER = ThreadPoolExecutor(2, "grammar")
"""A tenant has one of its threads at most: others' grammars go on beside it, as do the event loop and the batch."""


_OWN = threading.local()


class GrammarError(Exception):
    """A grammar that cannot be followed; the message says why."""


class _Tokens:
    """A tokenizer as llguidance takes it: the bytes of each token."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokens: list[bytes], special: list[int], eos: int) -> None:
        self.tokens, self.special_token_ids, self.eos_token_id = tokens, special, eos
        by_bytes = {token: id for id, token in enumerate(tokens) if id not in set(special)}
        self._by_bytes, self._longest = by_bytes, max(map(len, by_bytes), default=1)

    def __call__(self, text: str | bytes) -> list[int]:
        """Tokens of a text, the longest first: how a text is cut is only of use where tokens are forced."""
        rest, ids = text.encode() if isinstance(text, str) else text, list[int]()
        while rest:
            size = next((n for n in range(min(self._longest, len(rest)), 0, -1) if rest[:n] in self._by_bytes), 0)
            if size:
                ids.append(self._by_bytes[rest[:size]])
            rest = rest[size or 1 :]
        return ids


class Vocabulary:
    """The tokens of a model, and what of them ends an answer."""

    def __init__(
        self, tokens: Sequence[bytes | None], special: dict[str, int], stops: frozenset[int], spaced: bool
    ) -> None:
        """`tokens` has each token's bytes, None where it writes no text; `special` are those by name.

        `spaced`: a text's first word has a space before it. Raises GrammarError where the tokens write not every text.
        """
        self.size, self.stops, self.special, self.spaced = len(tokens), stops, special, spaced
        silent = [id for id, token in enumerate(tokens) if not token]
        shown = [token or f"<{id}>".encode() for id, token in enumerate(tokens)]
        writable = {token for token in tokens if token}
        if missing := [byte.decode() for byte in _NEEDED if byte not in writable]:
            raise GrammarError(f"the model's tokenizer has no tokens for {' '.join(missing[:8])}")
        self.whole = all(bytes([byte]) in writable for byte in range(128, 256) if byte not in _NO_BYTES)
        self._writable = writable
        ends = sorted(stops) or silent[:1] or [self.size - 1]
        wrapped: Any = _Tokens(shown, silent, ends[0])
        self.tokenizer = LLTokenizer(wrapped, eos_token=ends, slices=LLTokenizer.json_slices())
        self._kept: OrderedDict[str, LLMatcher | str] = OrderedDict()
        self._lock = threading.Lock()

    def constraint(self, rules: str) -> Callable[[], Constraint]:
        """Return what gives each choice a state of its own; raises GrammarError. In the compiler's thread alone."""
        with self._lock:
            found = self._kept.pop(rules, None)
        if found is None:
            found = self.compile(rules)
        with self._lock:
            self._kept[rules] = found
            while len(self._kept) > _KEPT or sum(map(len, self._kept)) > _KEPT * 2**15:
                self._kept.popitem(last=False)
        if isinstance(found, str):
            raise GrammarError(found)
        return lambda: Constraint(found.deep_copy(), self)

    def problem(self, rules: str) -> str:
        """Return why a grammar does not compile, empty where it does."""
        return self._tried(rules)

    def takes(self, rules: str, ids: list[int]) -> bool:
        """Whether a grammar compiles and takes these tokens."""
        found = self.compile(rules)
        return not isinstance(found, str) and found.try_consume_tokens(ids) == len(ids) and found.is_accepting()

    def _tried(self, rules: str) -> str:
        if not hasattr(_OWN, "trial"):
            _OWN.trial = Trial()
        told: str = _OWN.trial.problem(rules)
        return told

    def compile(self, rules: str) -> LLMatcher | str:
        """Return a grammar, or why it is none."""
        if told := self._tried(rules):
            return told
        matcher = compiled(self.tokenizer, rules)
        if matcher.is_error():
            return matcher.get_error() or "it cannot be compiled"
        first = Constraint(matcher.deep_copy(), self)
        first.banned()
        return f"nothing can be of it ({first.error})" if first.error else matcher

    def lacks(self, text: str) -> str:
        """Return the first character of a text that no tokens write."""
        if self.whole:
            return ""
        return next((each for each in text if not each.isascii() and each.encode() not in self._writable), "")

    def literal(self, text: str) -> str:
        """Return a text in a grammar, its special tokens as such; empty of an empty one."""
        found, rest = list[str](), text
        while rest:
            at, name = min(
                ((place, -len(each), each) for each in self.special if (place := rest.find(each)) >= 0),
                default=(len(rest), 0, ""),
            )[::2]
            if at:
                found.append(json.dumps(rest[:at], ensure_ascii=False))
            if name:
                found.append(f"<[{self.special[name]}]>")
            rest = rest[at + len(name) :]
        return " ".join(found)


_NO_BYTES = frozenset((0xC0, 0xC1, *range(0xF5, 0x100)))
"""Bytes that stand in no UTF-8 text."""


class Constraint:
    """The state of one choice within a grammar; everything but its making belongs to the engine's thread."""

    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary) -> None:
        self.matcher, self.size, self._stops = matcher, vocabulary.size, vocabulary.stops
        self._banned: Tensor | None = None
        self._coming: Future[None] | None = None
        self.error: str | None = None
        """Why it cannot go on."""

    @property
    def ended(self) -> bool:
        """Whether nothing may follow, or nothing could say that it ends here."""
        return self.matcher.is_stopped() or (not self._stops and self.matcher.is_accepting())

    @property
    def due(self) -> bool:
        """Whether nobody has begun to compute what may come next."""
        return self._banned is None and self._coming is None

    def come(self, coming: Future[None]) -> None:
        """Wait for `coming` before what may come next is looked at."""
        self._coming = coming

    def computed(self, banned: Tensor, possible: bool) -> None:
        """File what may not come next; `possible`: something may."""
        if self.matcher.is_error() or not possible:
            self.error = self.matcher.get_error() or "no token may follow"
            banned[:] = False
        self._banned = banned

    def banned(self) -> Tensor:
        """Tokens that may not come next, as booleans [vocabulary]; the same until `took` is called."""
        if self._coming is not None:
            self._coming.result()
        if self._banned is None:
            _compute([self])
        assert self._banned is not None
        return self._banned

    def took(self, token: int) -> None:
        """Move on by the token chosen."""
        self._banned = self._coming = None
        if self.error is None and token not in self._stops and not self.matcher.consume_token(token):
            self.error = self.matcher.get_error() or "the token is not in the grammar"


def ahead(constraints: Sequence[Constraint]) -> None:
    """Compute what may come next in these choices, in one call; what takes long beside the model's step."""
    due = [each for each in constraints if each.due]
    if not due:
        return
    if not _is_long(due):
        _compute(due)
        return
    coming = _AHEAD.submit(_compute, due)
    for each in due:
        each.come(coming)


def _is_long(group: Sequence[Constraint]) -> bool:
    return len(group) * group[0].size >= _BESIDE


def _compute(group: Sequence[Constraint]) -> None:
    """Compute what may come next in choices of one model."""
    size = group[0].size
    bits: NDArray[np.int32] = np.zeros((len(group), (size + 31) // 32), dtype=np.int32)
    at, row_bytes = bits.ctypes.data, bits.shape[1] * 4
    if _is_long(group):
        rows = [(each.matcher, row) for row, each in enumerate(group)]
        _MASKS.unsafe_compute_mask_ptr(rows, at, row_bytes, len(group))
    else:
        for row, each in enumerate(group):
            each.matcher.unsafe_compute_mask_ptr(at + row * row_bytes, row_bytes)
    unset = np.unpackbits(~bits.view(np.uint8), axis=1, count=size, bitorder="little")
    banned = torch.from_numpy(unset).view(torch.bool)
    for each, row, possible in zip(group, banned, np.any(bits, axis=1).tolist(), strict=True):
        each.computed(row, possible)
