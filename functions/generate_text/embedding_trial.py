"""Whether serving embeds with a model exactly: `python -m functions.generate_text.embedding_trial spec.json`.

The spec's `model` is a sentence-transformers folder. Printed is {"refused": why or null, "notes": what a user should
know, "dimensions", "context", "parameters"}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from functions._shared.child import answer
from functions.generate_text.embedder import NEAR, EmbeddingModel, InputRow

TEXTS = ("Gate", "The red key opens gate 7.", "Das Schloß №7 öffnet um 12:30 Uhr, 日本語.", "x = 1\n\ty = 2")
LONG = 2048
"""Tokens up to which it is tried whether the model reads as many as it says."""
MODULES = frozenset({"Transformer", "Pooling", "Normalize", "Dense", "Dropout", "LayerNorm"})


class _RefusedError(Exception):
    """It cannot be served; the text is a sentence."""


@torch.inference_mode()
def trial(spec: dict[str, Any]) -> dict[str, Any]:
    """Return in a sentence what keeps serving from embedding with a model, or what it makes."""
    folder = Path(spec["model"])
    try:
        model = _loaded(folder, 1)
        vectors = _vectors(model)
        again = _vectors(_loaded(folder, 2))
        context = _context(model)
        _check(model, vectors, again)
    except _RefusedError as error:
        return {"refused": str(error)}
    notes = [] if _normalised(vectors) else ["its vectors do not have length 1: compare them by cosine"]
    return {
        "refused": None,
        "notes": notes,
        "dimensions": model.dimensions,
        "context": context,
        "parameters": sum(p.numel() for p in model.model.parameters()),
    }


def _loaded(folder: Path, seed: int) -> EmbeddingModel:
    torch.manual_seed(seed)  # weights that are missing would be random
    try:
        model = EmbeddingModel(folder, torch.device("cpu"))
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _RefusedError(f"sentence-transformers cannot load it: {first[:200].rstrip('.: ')}.") from error
    odd = {type(module).__name__ for module in model.model.children()} - MODULES
    if odd:
        raise _RefusedError(f"modules.json names {', '.join(sorted(odd))}, which is not served.")
    return model


def _vectors(model: EmbeddingModel) -> np.ndarray[Any, Any]:
    return np.concatenate([model.embed([row]) for row in model.read(TEXTS)])


def _check(model: EmbeddingModel, vectors: np.ndarray[Any, Any], again: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(vectors).all():
        raise _RefusedError("Its vectors are not finite: model.safetensors holds NaN or infinity, or overflows.")
    if not np.abs(vectors).max(axis=1).all() or np.abs(vectors[0] - vectors[1]).max() <= NEAR:
        raise _RefusedError("It makes the same vector of every text, or one of zeros.")
    scale = max(1.0, float(np.abs(vectors).max()))
    if np.abs(vectors - again).max() > NEAR * scale:
        raise _RefusedError("Two loads of it embed differently: some of its weights are missing; fetch it again.")
    if "Normalize" in {type(module).__name__ for module in model.model.children()} and not _normalised(vectors):
        raise _RefusedError("modules.json says that it normalises, but its vectors do not have length 1.")
    encoded = model.model.encode(list(TEXTS), batch_size=1, show_progress_bar=False)  # it cuts: nothing is read after
    if np.abs(vectors - encoded).max() > NEAR * scale:
        raise _RefusedError("Serving reads texts differently from sentence-transformers' encode for this model.")


def _normalised(vectors: np.ndarray[Any, Any]) -> bool:
    return bool(np.abs(np.linalg.norm(vectors, axis=1) - 1).max() <= 1e-3)


def _context(model: EmbeddingModel) -> int:
    """The tokens that it reads: positions of some families begin behind the padding's, so that two fewer are there."""
    if model.context > LONG:
        return model.context
    ids = model.read([TEXTS[1]])[0].ids
    for context in (model.context, model.context - 2):
        row = [ids[0], *[ids[len(ids) // 2]] * (context - 2), ids[-1]]
        try:
            model.embed([InputRow(row)])
            return context
        except (IndexError, RuntimeError):
            continue
    raise _RefusedError(f"It cannot read the {model.context} tokens that its max_seq_length promises.")


if __name__ == "__main__":
    sys.exit(answer(trial))
