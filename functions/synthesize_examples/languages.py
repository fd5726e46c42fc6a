"""Which language a document is written in, and whose rules there are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from contracts.corpus import Chunk
from functions.synthesize_examples.english import LANGUAGE as ENGLISH
from functions.synthesize_examples.german import LANGUAGE as GERMAN

LANGUAGES = {language.code: language for language in (ENGLISH, GERMAN)}
_CHARACTERS = 20_000
"""Looked at; from all over the document, as a manual begins with names and a licence in English."""
_CHUNKS = 60
_SURE = 0.5
"""Share from which on a guess is believed; below it, a document is too short or no prose, and English as most are."""


def language_of(chunks: Sequence[Chunk]) -> str:
    """Return the ISO 639-1 code of the language that most of the text is in, as py3langid guesses it."""
    step = max(1, len(chunks) // _CHUNKS)
    sample = "\n".join(chunk.text for chunk in chunks[::step])[:_CHARACTERS]
    code, share = _identifier().classify(sample)
    return str(code) if share >= _SURE else ENGLISH.code


@cache
def _identifier() -> Any:  # the library has no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # half a second, and only where rules write

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
