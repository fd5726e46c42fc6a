"""Track in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contracts.tracking import Ending, Point, Run, Tracked, Tracker


@dataclass
class TrackedRun:
    """What is kept of one run."""

    run: Run
    points: set[Point] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    ended: tuple[Ending, int] | None = None


class MemoryTrack:
    """The `Track` port in dictionaries: runs by their key, which is their id, and tuned models by their base."""

    name: Tracker = "mlflow"

    def __init__(self) -> None:
        self.runs: dict[str, TrackedRun] = {}
        self.models: dict[str, dict[str, str]] = {}

    async def run(self, run: Run) -> Tracked:
        """Return the run with this key, which is begun where there is none."""
        self.runs.setdefault(run.key, TrackedRun(run))
        return Tracked(run.key, f"memory:{run.key}")

    async def log(self, run: str, points: Sequence[Point]) -> None:
        """Add points to a run's metrics."""
        self.runs[run].points.update(points)

    async def keep(self, run: str, files: Mapping[str, bytes]) -> None:
        """Put artefacts beside a run, by their paths."""
        self.runs[run].files.update(files)

    async def erase(self, run: Run, files: Sequence[str] = ()) -> None:
        """Delete a run's artefacts of these paths, or all of them; a run that is not there has none."""
        if run.key in self.runs:
            kept = self.runs[run.key].files
            self.runs[run.key].files = {name: kept[name] for name in kept if files and name not in files}

    async def register(self, run: str, base: str, model: str, key: str) -> None:
        """List a tuned model under its base; `key` is its manifest's."""
        self.models.setdefault(base, {}).setdefault(model, key)

    async def end(self, run: str, ending: Ending, at: int) -> None:
        """Close a run; `at` is in ms since the epoch."""
        self.runs[run].ended = (ending, at)
