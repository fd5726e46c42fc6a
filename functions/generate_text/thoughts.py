"""What a model thought, what it answers and which tools it calls, told apart by what its template writes. Pure."""

from dataclasses import dataclass, field

from functions._shared.turns import Marks
from functions.generate_text.call_syntax import Call
from functions.generate_text.tool_calls import CallReader


@dataclass(frozen=True, slots=True)
class Told:
    """What is certain of an answer since it was last asked."""

    thought: str
    content: str
    calls: list[Call] = field(default_factory=list)


class AnswerReader:
    """Reads an answer as it comes."""

    def __init__(self, splitter: "Splitter", calls: CallReader | None = None) -> None:
        self._splitter, self._calls = splitter, calls
        self.called = 0
        """Calls told."""

    def add(self, text: str) -> Told:
        """What is told now."""
        return self._told(*self._splitter.add(text), last=False)

    def end(self) -> Told:
        """The rest, once no more text comes."""
        return self._told(*self._splitter.end(), last=True)

    def whole(self, text: str) -> Told:
        """A whole answer."""
        first, rest = self.add(text), self.end()
        return Told(first.thought + rest.thought, first.content + rest.content, first.calls + rest.calls)

    def _told(self, thought: str, content: str, last: bool) -> Told:
        if self._calls is None:
            return Told(thought, content)
        shown, calls = self._calls.add(content)
        if last:
            more, others = self._calls.end()
            shown, calls = shown + more, calls + others
        self.called += len(calls)
        return Told(thought, shown, calls)


class Splitter:
    """Reads an answer as it comes.

    `lead` and `tail` are what the template itself puts before and behind one, `opened` says that a thought was begun in
    the prompt. `again` is how the end of a thought begins where an answer or a call has a header of its own.
    """

    def __init__(self, lead: str, marks: Marks | None, opened: bool, tail: str = "", again: str = "") -> None:
        self._lead, self._marks, self._tail, self._again = lead, marks, tail, again
        self._held = ""
        self._state = "thought" if opened and marks else "begin"
        self._told = False  # something of the part that is read

    def add(self, text: str) -> tuple[str, str]:
        """What is told now: (of the thought, of the answer)."""
        self._held += text
        return self._read(last=False)

    def end(self) -> tuple[str, str]:
        """The rest, once no more text comes."""
        return self._read(last=True)

    def _read(self, last: bool) -> tuple[str, str]:
        if self._state == "begin":
            self._begin(last)
        thought = self._thought(last) if self._state == "thought" else ""
        if self._state in ("begin", "thought"):
            return thought, ""
        if self._state == "behind":
            self._held = self._held.lstrip()
            self._state = "answer" if self._held else "behind"
        answer = self._held
        if last:
            return thought, answer.removesuffix(self._tail)
        kept = len(self._tail) if self._tail and answer.endswith(self._tail) else _overlap(answer, self._tail)
        self._held = answer[len(answer) - kept :]
        return thought, answer[: len(answer) - kept]

    def _begin(self, last: bool) -> None:
        """Find out with what the answer begins, or wait."""
        text, marks = self._held, self._marks
        shown = text.lstrip()
        if marks and shown.startswith(marks.open):
            self._held, self._state = shown[len(marks.open) :], "thought"
        elif text.startswith(self._lead) and (self._lead or not (marks and marks.open.startswith(shown)) or last):
            self._held, self._state = text[len(self._lead) :], "answer"
        elif last or not (self._lead.startswith(text) or (marks and marks.open.startswith(shown))):
            self._state = "answer"

    def _thought(self, last: bool) -> str:
        assert self._marks is not None
        close = self._marks.close
        text = self._held if self._told else self._held.lstrip()
        at = text.find(close)
        if at >= 0:
            self._held, self._state = text[at + len(close) :], "behind"
            return text[:at].rstrip()
        other = text.find(self._again) if self._again else -1
        if other >= 0 and (last or not close.startswith(text[other:])):  # not the answer's header: that of a call
            self._held, self._state = text[other + len(self._again) :], "answer"
            return text[:other].rstrip()
        shown = text if last else text[: len(text) - _overlap(text, close)].rstrip()
        self._held = text[len(shown) :]
        self._told = self._told or bool(shown)
        return shown


def _overlap(text: str, mark: str) -> int:
    """Characters at the end of a text with which a mark begins."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)
