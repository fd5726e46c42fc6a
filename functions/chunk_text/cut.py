"""Cut a document's text into chunks: `python -m functions.chunk_text.cut spec.json`.

The spec names three paths: `text` (a `contracts.corpus.Text`), `tokenizer` (the target model's tokenizer.json) and
`chunks` (a `contracts.corpus.Chunks` is written there), and has `size` and `overlap` in tokens. How many chunks and
tokens there are is printed as one JSON object.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from contracts.canonical import compact
from contracts.corpus import Text
from functions.chunk_text.core import chunk

TOO_COMPLEX = 3
"""Exit status when memory runs out."""


def counter(path: Path) -> Callable[[str], int]:
    """Return what counts the tokens of a text, special tokens left out, by the tokenizer.json at `path`."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode_batch_fast([text], add_special_tokens=False)[0])


def main(spec_path: str) -> int:
    """Cut the text that the spec names and print the counts."""
    gc.disable()  # nearly all lives until the end: looking for what does not would cost more with every page
    spec = json.loads(Path(spec_path).read_text())
    count = counter(Path(spec["tokenizer"]))
    try:
        text = Text.model_validate_json(Path(spec["text"]).read_bytes())
        made = chunk(text, count, spec["size"], spec["overlap"])
        Path(spec["chunks"]).write_bytes(compact(made.model_dump(mode="json")))
    except MemoryError:
        return TOO_COMPLEX
    print(json.dumps({"chunks": len(made.chunks), "tokens": sum(each.tokens for each in made.chunks)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
