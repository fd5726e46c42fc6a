"""Cut a document's text into chunks: `python -m functions.chunk_text.cut spec.json`.

The spec names three paths: `text` (a `contracts.corpus.Text`), `tokenizer` (the target model's tokenizer.json) and
`chunks` (a `contracts.corpus.Chunks` is written there), and has `size` and `overlap` in tokens. How many chunks and
tokens there are is printed as one JSON object.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from contracts.canonical import compact
from contracts.corpus import Text
from functions._shared.child import answer
from functions.chunk_text.core import chunk


def counter(path: Path) -> Callable[[str], int]:
    """Return what counts the tokens of a text, special tokens left out, by the tokenizer.json at `path`."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode_batch_fast([text], add_special_tokens=False)[0])


def main(spec: dict[str, Any]) -> dict[str, int]:
    """Cut the text that the spec names and return the counts."""
    gc.disable()  # nearly all lives until the end: looking for what does not would cost more with every page
    count = counter(Path(spec["tokenizer"]))
    text = Text.model_validate_json(Path(spec["text"]).read_bytes())
    made = chunk(text, count, spec["size"], spec["overlap"])
    Path(spec["chunks"]).write_bytes(compact(made.model_dump(mode="json")))
    return {"chunks": len(made.chunks), "tokens": sum(each.tokens for each in made.chunks)}


if __name__ == "__main__":
    sys.exit(answer(main))
