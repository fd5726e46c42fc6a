"""From token ids to the text that a client may see: whole characters only, and nothing of a stop sequence. Pure."""

from collections.abc import Callable, Sequence

_HALF = "\ufffd"
_LONGEST_RUN = 8


class Detokeniser:
    """Decodes token by token, holding back bytes that are only a part of a character.

    Decoding a token alone is wrong (spaces, bytes), decoding all of them each time is quadratic; so a window of the
    last whole characters' tokens is decoded, as serving systems commonly do.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._old = 0  # tokens at the front of the window whose text was told
        self._told = 0  # characters of the window's text that were told

    def add(self, token: int) -> str:
        """The text that became certain with this token, perhaps none."""
        self._ids.append(token)
        text = self._decode(self._ids)
        whole = text.rstrip(_HALF)
        if len(text) - len(whole) > _LONGEST_RUN:
            whole = text[:-1]  # too long to be a character's beginning: these bytes are simply no text
        fresh = whole[self._told :]
        self._told = max(self._told, len(whole))
        if len(whole) == len(text) and fresh:
            self._ids = self._ids[self._old :]
            self._old = len(self._ids)
            self._told = len(self._decode(self._ids))
        return fresh

    def end(self) -> str:
        """What is left, without the unfinished character."""
        fresh = self._decode(self._ids)[self._told :] if self._ids else ""
        return fresh.rstrip(_HALF)


class StopMatcher:
    """Lets text pass up to the first stop sequence, holding back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """The text that may be told now."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            told, self._held = self._held[: min(found)], ""
            return told
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        told, self._held = self._held[:cut], self._held[cut:]
        return told

    def end(self) -> str:
        """What was held back, once no more text comes."""
        told, self._held = self._held, ""
        return told

    def _overlap(self, stop: str) -> int:
        """Characters at the end of the held text that a stop sequence begins with."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)


class Answer:
    """One choice being told: tokens in; text, and how many of its tokens are told with it, out."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str]) -> None:
        self._detokeniser = Detokeniser(decode)
        self._matcher = StopMatcher(stops)
        self._starts: list[int] = []  # where each token's text begins, in characters
        self._read = 0  # characters decoded
        self._passed = 0  # characters told
        self.visible = 0
        """Tokens that have a part in the text told; those of a stop sequence have none."""

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence was met: nothing that follows is told."""
        return self._matcher.stopped

    def add(self, token: int) -> str:
        """The text to tell now."""
        if self.stopped:
            return ""
        self._starts.append(self._read)
        fresh = self._detokeniser.add(token)
        self._read += len(fresh)
        return self._tell(self._matcher.add(fresh))

    def end(self) -> str:
        """The rest of the text, at the end of the tokens."""
        if self.stopped:
            return ""
        fresh = self._matcher.add(self._detokeniser.end())
        told = self._tell(fresh + ("" if self.stopped else self._matcher.end()))
        if not self.stopped:
            self.visible = len(self._starts)
        return told

    def _tell(self, text: str) -> str:
        self._passed += len(text)
        while self.visible < len(self._starts) and self._starts[self.visible] < self._passed:
            self.visible += 1
        return text
