"""An invented benchmark, drawn by chance: it looks like a real one and nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from contracts.benchmarks import Item, Kind, Loss, Result, Side, TaskResult
from functions.benchmark_model.score import METRICS
from functions.benchmark_model.summary import noted, summarise
from functions.benchmark_model.verdict import verdict

PAGES = {
    "manual/pumps.pdf": 14,
    "manual/safety.docx": 6,
    "contracts/2026/very-long-name-of-a-supplier-agreement.pdf": 31,
    "faq.md": 1,
    "prices.csv": 1,
}
WORDS = ("valve", "pump", "seal", "filter", "motor", "bearing", "housing", "gasket", "impeller", "sensor", "relay")
REFUSAL = "The context does not say."


def synthetic(
    seed: int = 7, *, base: float = 0.14, tuned: float = 0.62, n: int = 4, judged: bool = False
) -> tuple[Result, list[Item]]:
    """Return a result and its items; `base` and `tuned` are how often each is right."""
    rng = Random(seed)
    items: list[Item] = []
    tasks: list[TaskResult] = []

    def task(name: str, kind: Kind, title: str, drawn: list[Item], metric: str = "exact_match") -> None:
        items.extend(drawn)
        scorer = "exact match (no judge)" if metric != "judge" else "judge: house-judge-70b"
        tasks.append(summarise(drawn, name=name, kind=kind, title=title, metric=metric, scorer=scorer))

    task("held_out", "documents", "Questions on held-out passages", _asked(rng, "held_out", n, base, tuned, judged),
         "judge" if judged else "exact_match")  # fmt: skip
    task(
        "trained", "trained", "Training questions asked again", _asked(rng, "trained", 2 * n, base, min(1, tuned + 0.2))
    )
    task(
        "closed_book",
        "closed_book",
        "The same without any passage",
        _asked(rng, "closed_book", n, 0.02, 0.03 + tuned / 6),
    )
    task("needle", "needle", "Needle in a haystack", _grid(rng, base, tuned))
    task("no_context", "no_context", "Control: no passage shown", _asked(rng, "no_context", 1, 0.0, 0.01))
    task("absent", "absent", "Control: the right passage is missing", _absent(rng, tuned), "refusal")
    task("general", "forgetting", "General knowledge (forgetting)", _asked(rng, "general", 2, 0.41, 0.39))
    marked = noted(tasks)
    found, sentence = verdict(marked)
    return (
        Result(
            benchmark="bench-synthetic",
            job="ftjob-synthetic",
            models={"base": "temper-demo-1m", "tuned": "ft:temper-demo-1m:acme:pumps:7f3a9c"},
            created_at="2026-11-21 17:04 UTC",
            verdict=found,
            sentence=sentence,
            config={"seed": 7, "temperature": 0, "few-shot examples": 0, "max tokens": 64, "template": "9f2c" * 16,
                    "judge": "house-judge-70b" if judged else None, "items": len(items)},
            tasks=marked,
            losses=_losses(rng),
            dataset={"rows": 1834, "held_out_rows": 109, "coverage": 0.93, "generator": "extractive", "documents": 5},
        ),
        items,
    )  # fmt: skip


def _item(rng: Random, task: str, key: str, shares: Mapping[Side, float], source: Mapping[str, str | int],
          by: Mapping[str, str | int], judged: bool = False, answer: str = "") -> Item:  # fmt: skip
    word, other = rng.sample(WORDS, 2)
    right = answer or f"{rng.randint(2, 980)} kg"
    said = {side: right if rng.random() < share else f"{rng.randint(2, 980)} kg" for side, share in shares.items()}
    metrics = ("refusal",) if answer else ("exact_match", "f1", "rouge_l")
    scores: dict[Side, dict[str, float | None]] = {
        side: {metric: METRICS[metric](text, right) for metric in metrics} for side, text in said.items()
    }
    errors: dict[Side, str] = {}
    if judged:
        for side, text in said.items():
            scores[side]["judge"] = round(min(1, max(0, rng.gauss(0.9 if text == right else 0.2, 0.1))), 1)
        if rng.random() < 0.03:
            scores["tuned"]["judge"], errors["tuned"] = None, "the judge's reply is not JSON: 'I think that …'"
    context = tuple(
        f"The {name} of line {rng.randint(1, 9)} weighs {rng.randint(2, 980)} kg." for name in (other, word)
    )
    return Item(
        id=f"{task}/{key}",
        task=task,
        question=f"How heavy is the {word} of line {rng.randint(1, 9)}?",
        context=() if task in ("closed_book", "no_context") else (*context, f"The {word} weighs {right}."),
        answer=right,
        source=source,
        by=by,
        said=said,
        scores=scores,
        errors=errors,
    )


def _asked(rng: Random, task: str, n: int, base: float, tuned: float, judged: bool = False) -> list[Item]:
    drawn = []
    for path, pages in PAGES.items():
        for page in range(1, pages + 1):
            learnt = 0.0 if page % 9 == 5 and task != "general" else tuned  # a page that was not learnt
            for turn in range(1 + rng.randrange(n)):
                source: dict[str, str | int] = {
                    "path": path,
                    "page": page,
                    "document": f"doc-{path}",
                    "chunk": f"chunk-{path}-{page}",
                }
                shares: dict[Side, float] = {"base": base, "tuned": learnt}
                drawn.append(_item(rng, task, f"{path}/{page}/{turn}", shares, source, {}, judged))
    return drawn


def _grid(rng: Random, base: float, tuned: float) -> list[Item]:
    return [
        _item(
            rng,
            "needle",
            f"{length}/{chunks}/{position}/{kind}/{turn}",
            {"base": base * 256 / length, "tuned": tuned - 0.05 * math.log2(length / 256) - 0.1 * (kind == "hard")},
            {"path": "manual/pumps.pdf", "page": 1 + turn},
            {"length": length, "chunks": chunks, "position": position, "distractors": kind},
        )
        for length in (256, 512, 1024)
        for chunks in (2, 4, 8)
        for position in ("begin", "middle", "end")
        for kind in ("random", "hard")
        for turn in range(6)
    ]


def _absent(rng: Random, tuned: float) -> list[Item]:
    shares: dict[Side, float] = {"base": 0.05, "tuned": tuned}
    return [_item(rng, "absent", str(turn), shares, {}, {}, answer=REFUSAL) for turn in range(40)]


def _losses(rng: Random) -> tuple[Loss, ...]:
    def at(step: int) -> float:
        return 0.35 + 2.6 * math.exp(-step / 180) + rng.gauss(0, 0.06)

    return tuple(
        Loss(step=step, train_loss=at(step), valid_loss=at(step) + 0.12 if step % 60 == 0 else None)
        for step in range(1, 901)
    )
