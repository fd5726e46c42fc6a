"""What a model can be exported as, which of its answers are compared, and when an export is called good. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["adapter", "merged", "gguf"]
FORMATS: tuple[Format, ...] = ("adapter", "merged", "gguf")
QUESTIONS = 64
"""Of a benchmark, at most: enough to see that a model is another one."""
TOLERANCE = 0.02
"""By which a mean score may fall short of the served model's: rounded weights turn a word now and then."""

Score = Callable[[Mapping[str, Any], str], float | None]
"""(line of the suite, what was said) → its score; None: nothing is scored by rule."""


class ExportError(Exception):
    """The model cannot be exported like that; says why and what can be done."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What an exported model says beside what the served one said."""

    questions: int
    same: int
    """Answers that are equal, word for word."""
    exported: float | None
    """Mean score by rule; None where nothing is scored so."""
    served: float | None

    @property
    def good(self) -> bool:
        """Whether the export is the model: it says the same, or scores as well where rounding turned a word."""
        if self.same == self.questions:
            return True
        return self.exported is not None and self.served is not None and self.exported >= self.served - TOLERANCE

    def sentence(self) -> str:
        """Return what was found, for the card and the person who waits."""
        said = f"{self.same} of {self.questions} greedy answers equal the served model's"
        if self.exported is not None and self.served is not None:
            said += f"; mean score on its own benchmark {self.exported:.3f} (served {self.served:.3f})"
        return said + "."


def check_format(format: Format, kind: str) -> None:
    """Raise ExportError for a format that this kind of model does not have."""
    if kind == "embedding":
        raise ExportError("This model makes embeddings; take it as it is, by GET /v1/models/{model}/files.")
    if format == "adapter" and kind != "adapter":
        raise ExportError("This model has no adapter: all of its weights are its own. Export it as merged or gguf.")


def compared(lines: Sequence[Mapping[str, Any]], said: Sequence[str], score: Score) -> Compared:
    """Compare answers with the served ones: `lines` are of the suite, each with `served`, what the model said."""
    pairs = [(score(line, now), score(line, line["served"])) for line, now in zip(lines, said, strict=True)]
    scores = [(new, old) for new, old in pairs if new is not None and old is not None]
    same = sum(now.strip() == line["served"].strip() for line, now in zip(lines, said, strict=True))
    exported, served = (sum(each) / len(scores) for each in zip(*scores, strict=True)) if scores else (None, None)
    return Compared(len(lines), same, exported, served)
