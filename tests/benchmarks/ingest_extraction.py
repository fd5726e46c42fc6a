"""Pages/s of extraction and chunking ÷ those of unstructured's `partition_pdf(strategy="fast")` and `chunk_by_title`.

Ours is the work of the two functions as the worker runs it, from the blob of the PDF to the blob of its chunks: fetch
and store, a child process for each function with its start-up, limits and the file between them; places of every
line, chunks measured in the target model's tokens. The peer is one warm process that is given the file and keeps all
in memory (`peers/unstructured_fast.py` says what was done for its speed). Both read documents one after another.

Before anything is timed the text must be equal: words of both, in order on each page, 99 % alike (difflib; columns,
which the two read in different orders, as a multiset), and the words of chunks the same but for the running lines,
which ours leave out. The gate (at least 5, the lower bound) is on documents of 100 pages and more; 10 pages, where the
start of two processes counts most, are reported.

`python -m tests.benchmarks.ingest_extraction [--quick]`
"""

import argparse
import asyncio
import difflib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import infra.demo
from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.corpus import Chunks, Text, document_id
from contracts.events.corpus import DocumentChunked, DocumentExtracted
from functions.chunk_text import work as chunking
from functions.chunk_text.settings import ChunkSettings
from functions.extract_text import core
from functions.extract_text import work as extraction
from infra.adapters.memory import MemoryBlobs
from infra.children.child import ProcessChild
from infra.settings import of_function
from tests.benchmarks.papers import FOOTER, Kind, paper
from tests.environments import environment
from tests.leases import held

PEERS = Path(__file__).parent / "peers"
TOKENIZER = Path(infra.demo.__file__).parent / "base" / "tokenizer.json"
ARCHIVE, TENANT = "file-" + "b" * 32, "bench"
CHARACTERS = 500
"""Longest chunk of the peer: its default, with which both make about as many."""
QUIET = {"DO_NOT_TRACK": "1", "SCARF_NO_ANALYTICS": "true", "UNSTRUCTURED_DISABLE_NOTICE": "1"}
GATE = 5.0
ALIKE = 0.99
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Case:
    """A document of the comparison."""

    pages: int
    kind: Kind
    rounds: int
    gated: bool


CASES = {
    "10 pages": Case(10, "text", 7, gated=False),
    "100 pages": Case(100, "text", 5, gated=True),
    "100 pages, columns and tables": Case(100, "mixed", 5, gated=True),
    "1000 pages": Case(1000, "text", 3, gated=True),
}
QUICK = {"10 pages": Case(10, "text", 2, gated=False), "100 pages": Case(100, "text", 2, gated=True)}


@dataclass(frozen=True)
class Read:
    """What was read of a document."""

    pages: dict[int, list[str]]
    """Words of each page, in order."""
    chunks: list[str]
    """Words of all chunks."""
    n_chunks: int


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return _WORD.findall(text)


@dataclass(frozen=True)
class Cost:
    """What reading a document took."""

    seconds: float
    processor_seconds: float
    """Of all processes that took part; the machine's other work hardly changes them."""


async def by_temper(pdf: Path, scratch: Path) -> tuple[Cost, Read]:
    """Return what it took from the PDF's blob to that of its chunks, and what they hold."""
    blobs, child, data = MemoryBlobs(), ProcessChild(), pdf.read_bytes()
    document = document_id(ARCHIVE, sha256(data))
    blob = await blobs.put(core.content_key(TENANT, ARCHIVE, document), data)
    inputs = core.document_inputs(ARCHIVE, pdf.name, "pdf", blob, "e1")
    began, used = time.perf_counter(), sum(os.times()[:4])
    (said,) = await extraction.work(held(document, TENANT, "", inputs), blobs, child, scratch)
    assert isinstance(said.data, DocumentExtracted), said
    cut = held(f"{document}/chunks", TENANT, "", {"event_id": said.id, **said.data.model_dump(mode="json")})
    chosen = of_function(ChunkSettings)
    size, overlap = chosen.chunk_tokens, chosen.chunk_overlap
    (ended,) = await chunking.work(cut, blobs, child, scratch, TOKENIZER, size, overlap)
    took = Cost(time.perf_counter() - began, sum(os.times()[:4]) - used)
    assert isinstance(ended.data, DocumentChunked), ended
    return took, await _read(blobs, said.data.text, ended.data.chunks)


async def _read(blobs: MemoryBlobs, text_ref: BlobRef, chunks_ref: BlobRef) -> Read:
    text = Text.model_validate_json(await blobs.get(text_ref.key))
    chunks = Chunks.model_validate_json(await blobs.get(chunks_ref.key)).chunks
    pages = {page.number: words(page.text) for page in text.pages}
    return Read(pages, words("\n".join(chunk.text for chunk in chunks)), len(chunks))


class Peer:
    """The peer's process."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        self._process = process
        self._output = scratch / "peer.json"

    def read(self, pdf: Path) -> tuple[Cost, Read]:
        """Return what a PDF took it, and what it read."""
        assert self._process.stdin
        assert self._process.stdout
        request = {"pdf": str(pdf), "characters": CHARACTERS, "output": str(self._output)}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the peer ended; what it said is above"
        found = json.loads(self._output.read_text(encoding="utf-8"))
        pages: dict[int, list[str]] = {}
        for number, text in found["elements"]:
            pages.setdefault(number, []).extend(words(text))
        said = json.loads(line)
        return Cost(said["seconds"], said["processor_seconds"]), Read(
            pages, words("\n".join(found["chunks"])), len(found["chunks"])
        )


@contextmanager
def peer(scratch: Path) -> Iterator[Peer]:
    """Run the peer in its environment until the block ends."""
    python = environment(PEERS / "unstructured.txt", "benchmarks")
    process = subprocess.Popen(
        [python, PEERS / "unstructured_fast.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(scratch), **QUIET},
    )
    try:
        yield Peer(process, scratch)
    finally:
        process.kill()
        process.communicate()


def likeness(ours: Read, other: Read, kind: Kind) -> dict[str, float]:
    """Return how alike two readings are, 1 for equal; asserts that they are alike enough.

    `in_order`: words of each page by difflib, 2·matches ÷ both, over all pages. `multiset`: the same whatever the
    order. `chunks`: share of the words in the peer's chunks that are in ours too, running lines left out.
    """
    assert ours.pages.keys() == other.pages.keys()
    matched = total = both = 0
    for number, mine in ours.pages.items():
        theirs = other.pages[number]
        matcher = difflib.SequenceMatcher(None, mine, theirs, autojunk=False)
        matched += sum(block.size for block in matcher.get_matching_blocks())
        both += (Counter(mine) & Counter(theirs)).total()
        total += len(mine) + len(theirs)
    running = Counter(word for number in ours.pages for word in words(f"{FOOTER} Page {number}"))
    wanted = Counter(other.chunks) - running
    found = {
        "in_order": 2 * matched / total,
        "multiset": 2 * both / total,
        "chunks": (wanted & Counter(ours.chunks)).total() / wanted.total(),
    }
    for name, value in found.items():
        assert value >= ALIKE or (name == "in_order" and kind == "mixed"), found
    return {name: round(value, 5) for name, value in found.items()}


def compare(case: Case, folder: Path, other: Peer) -> dict[str, Any]:
    """Let the arms take turns, each round on a new document; the ratio is that of each round's seconds."""
    pdf = folder / f"{case.kind}-{case.pages}.pdf"
    pdf.write_bytes(paper(case.pages, 0, case.kind))
    scratch = folder / "scratch"
    ours, theirs = asyncio.run(by_temper(pdf, scratch))[1], other.read(pdf)[1]  # the first warms both up
    alike = likeness(ours, theirs, case.kind)
    costs: dict[str, list[Cost]] = {"temper": [], "unstructured": []}
    for number in range(case.rounds):
        pdf.write_bytes(paper(case.pages, number + 1, case.kind))  # the peer remembers paragraphs that it has seen
        for arm in list(costs) if number % 2 == 0 else list(costs)[::-1]:
            took, _ = asyncio.run(by_temper(pdf, scratch)) if arm == "temper" else other.read(pdf)
            costs[arm].append(took)
    pairs = list(zip(costs["temper"], costs["unstructured"], strict=True))
    ratios = [peer.seconds / own.seconds for own, peer in pairs]
    low, *_, high = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "pages_per_s": {
            arm: round(case.pages / statistics.median(cost.seconds for cost in each), 1) for arm, each in costs.items()
        },
        "ratio": {"median": round(statistics.median(ratios), 2), "p10": round(low, 2), "p90": round(high, 2)},
        "processor_seconds": {
            arm: round(statistics.median(cost.processor_seconds for cost in each), 2) for arm, each in costs.items()
        },
        "alike": alike,
        "words": sum(map(len, ours.pages.values())),
        "chunks": {"temper": ours.n_chunks, "unstructured": theirs.n_chunks},
        "gate": GATE if case.gated else None,
        "passed": low >= GATE or not case.gated,
        "rounds": case.rounds,
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Compare on each document."""
    pinned = dict(line.split("==") for line in (PEERS / "unstructured.txt").read_text().split() if "==" in line)
    with tempfile.TemporaryDirectory(prefix="temper-bench-") as name:
        folder = Path(name)
        with peer(folder) as other:
            found = {name: compare(case, folder, other) for name, case in (QUICK if quick else CASES).items()}
    return {
        "row": "7",
        "what": "pages/s of extraction and chunking ÷ unstructured fast and chunk_by_title",
        "documents": found,
        "passed": all(each["passed"] for each in found.values()),
        "versions": {name: version(name) for name in ("pypdfium2", "tokenizers")}
        | {f"peer {name}": pinned[name] for name in ("unstructured", "pdfminer-six", "spacy")}
        | {"python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 and 100 pages, two rounds")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(0 if result["passed"] else 1)
