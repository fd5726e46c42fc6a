"""What the way from a ZIP of documents to a data set costs: time beside its stages, growth with pages, memory.

- Wall: from the first byte of an upload until the API calls the file processed ÷ the same stages run by hand one after
  another (`by_hand.py`: same code, children and stores, no log, leases or sweeps), rows equal byte for byte.
  At most 1.3, the upper bound; both read 100 pages in ten documents.
- Growth: processor seconds of the worker and its children for archives of 10, 100 and 1,000 pages in documents of ten;
  the slope of their logarithms (least squares) is at most 1.05. Said beside it: the slope of wall time, and that
  between the two largest, which the cost of starting hides least of.
- Memory: the worker grows by at most 64 MiB while an archive of 2 GB passes through: documents of hundreds of MB, which
  are copied, stored and fetched whole, and members of which nothing is made. It comes from outside over the store,
  for the API takes 512 MiB.

The target model is not asked for answers without context (`TEMPER_CLOSED_BOOK=false`): its answers cost many times what
all the rest does, the same for each question, and would hide both the platform's share and any growth beside it.

`python -m tests.benchmarks.ingest_wall [--quick]`
"""

import argparse
import asyncio
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from openai import OpenAI

from contracts.envelope import derived_id, make
from contracts.events.corpus import DatasetAssembled, ZipUploaded
from infra.demo.archive import zipped
from infra.runtime.world import World, new_id, world
from tests.benchmarks import by_hand
from tests.benchmarks.large_archive import write_large
from tests.benchmarks.papers import paper
from tests.stack import Stack, running_stack

MIB = 2**20
DOCUMENT_PAGES = 10
ROUNDS = 5
GATES = {"wall": 1.3, "slope": 1.05, "growth_mib": 64}
POLL_S = 0.05
PATIENCE_S = 500.0


@dataclass
class Memory:
    """The most that was resident, in bytes."""

    before: int
    worker: int = 0
    children: dict[str, int] = field(default_factory=dict)
    """By the module that each runs."""


def archive(pages: int, seed: int) -> bytes:
    """Return a ZIP of PDFs of ten pages each."""
    documents = range(pages // DOCUMENT_PAGES)
    return zipped((f"report-{each}.pdf", paper(DOCUMENT_PAGES, seed=1000 * seed + each)) for each in documents)


def processor_seconds(pid: int) -> float:
    """Return what a process and the children that it has reaped have used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def by_platform(stack: Stack, content: bytes) -> tuple[str, float, float]:
    """Upload an archive; returns its id, the seconds until its data set is there and the worker's processor seconds."""
    pid = stack.process("worker").pid
    assert pid
    with OpenAI(base_url=stack.base_url, api_key=stack.api_key) as client:
        used, began = processor_seconds(pid), time.perf_counter()
        file = client.files.create(file=("archive.zip", content), purpose="fine-tune")
        while file.status == "uploaded":
            assert time.perf_counter() - began < PATIENCE_S, f"{file.id} does not end"
            time.sleep(POLL_S)
            file = client.files.retrieve(file.id)
        took = time.perf_counter() - began
    assert file.status == "processed", file.status_details
    return file.id, took, processor_seconds(pid) - used


async def compare_by_hand(here: World, file: str, content: bytes, scratch: Path) -> tuple[dict[str, float], int]:
    """Run the stages by hand; returns their seconds and how many rows they made, which the platform made as well."""
    event, seconds = await by_hand.dataset(file, content, here, scratch)
    assert isinstance(event.data, DatasetAssembled), event
    view = await here.documents.get("archives", file)
    assert view
    said = DatasetAssembled.model_validate(view["assembled"])
    assert (event.data.blob.sha256, event.data.rows) == (said.blob.sha256, said.rows)
    return dict(seconds), said.rows


def in_world(stack: Stack, what: Any) -> Any:
    """Run `what(world)` with the stores of a stack."""

    async def run_it() -> Any:
        async with world(stack.settings.model_copy(update={"closed_book": False})) as here:
            return await what(here)

    return asyncio.run(run_it())


def wall(stack: Stack, scratch: Path, rounds: int, pages: int = 100) -> dict[str, Any]:
    """Let the arms take turns, each time with other documents; the platform goes first, for its rows are compared."""
    ratios, seconds, stages, rows = [], [], [], 0
    for number in range(rounds + 1):
        content = archive(pages, number)
        file, took, _ = by_platform(stack, content)
        found, rows = in_world(stack, lambda here, f=file, c=content: compare_by_hand(here, f, c, scratch))
        if number:  # the first warms both up
            ratios.append(took / sum(found.values()))
            seconds.append((round(took, 2), round(sum(found.values()), 2)))
            stages.append(found)
    low, *_, high = statistics.quantiles(ratios, n=10, method="inclusive")
    return {
        "ratio": {"median": round(statistics.median(ratios), 3), "p10": round(low, 3), "p90": round(high, 3)},
        "seconds": seconds,
        "by_hand_stages": {name: round(statistics.median(each[name] for each in stages), 2) for name in stages[0]},
        "pages": pages,
        "rows": rows,
        "gate": GATES["wall"],
        "passed": high <= GATES["wall"],
    }


def slope(costs: dict[int, float]) -> float:
    """Return the slope of log cost over log pages by least squares."""
    fit = statistics.linear_regression(
        [math.log(pages) for pages in costs], [math.log(cost) for cost in costs.values()]
    )
    return fit.slope


def growth(stack: Stack, repeats: dict[int, int]) -> dict[str, Any]:
    """Measure archives of each number of pages as often as `repeats` says; medians count."""
    processor: dict[int, float] = {}
    walls: dict[int, float] = {}
    for pages, count in repeats.items():
        measured = [by_platform(stack, archive(pages, 100 + number)) for number in range(count)]
        walls[pages] = statistics.median(took for _, took, _ in measured)
        processor[pages] = statistics.median(used for _, _, used in measured)
    largest = dict(sorted(processor.items())[-2:])
    return {
        "processor_seconds": {pages: round(cost, 2) for pages, cost in processor.items()},
        "wall_seconds": {pages: round(took, 2) for pages, took in walls.items()},
        "slope": round(slope(processor), 3),
        "slope_of_the_two_largest": round(slope(largest), 3),
        "slope_of_wall": round(slope(walls), 3),
        "repeats": repeats,
        "gate": GATES["slope"],
        "passed": slope(processor) <= GATES["slope"],
    }


@contextmanager
def watched(pid: int) -> Iterator[Memory]:
    """Note the most that a process and each kind of its children have resident while the block runs."""
    process, over = psutil.Process(pid), threading.Event()
    memory = Memory(process.memory_info().rss)

    def watch() -> None:
        while not over.wait(0.02):
            memory.worker = max(memory.worker, process.memory_info().rss)
            for child in process.children(recursive=True):
                try:
                    module = next((each for each in child.cmdline() if each.startswith("functions.")), "starting")
                    memory.children[module] = max(memory.children.get(module, 0), child.memory_info().rss)
                except psutil.Error:  # it has ended
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


async def from_outside(here: World, path: Path) -> str:
    """Put an archive where outside publishers put files, say so, and return its id once the data set is there."""
    archive = f"file-{new_id().replace('-', '')}"
    blob = await here.blobs.store(f"local/ingest/{archive}.zip", path, "application/zip")
    path.unlink()  # there is no need for it any more, and the disk has others
    uploaded = ZipUploaded(blob=blob, filename="large.zip", purpose="fine-tune")
    await here.emit(make(uploaded, subject=archive, tenant="local", id=derived_id(archive, "file.uploaded")))
    began = time.perf_counter()
    while True:
        found = await here.documents.get("archives", archive)
        if found and (found["assembled"] or found["failed"]):
            assert found["assembled"], found["failed"]
            return archive
        assert time.perf_counter() - began < PATIENCE_S, f"{archive} does not end"
        await asyncio.sleep(0.2)


def memory(stack: Stack, folder: Path, size: int) -> dict[str, Any]:
    """Send an archive of `size` bytes through a worker that has seen documents before."""
    by_platform(stack, archive(100, 90))
    pid = stack.process("worker").pid
    assert pid
    members = write_large(folder / "large.zip", size)
    size = (folder / "large.zip").stat().st_size
    with watched(pid) as seen:
        began = time.perf_counter()
        file = in_world(stack, lambda here: from_outside(here, folder / "large.zip"))
        took = time.perf_counter() - began
    assert stack.process("worker").pid == pid, "the worker was started anew"

    async def looked(here: World) -> Any:
        found = await here.documents.get("archives", file)
        assert found
        assert found["extracted"]["taken"] == members.documents
        assert found["extracted"]["skipped"] == members.others
        await here.blobs.delete(f"local/{file}/")
        await here.blobs.delete(f"local/ingest/{file}.zip")

    in_world(stack, looked)
    grown = (seen.worker - seen.before) / MIB
    return {
        "archive_mb": round(size / 1e6),
        "seconds": round(took, 1),
        "worker_mib": {"before": round(seen.before / MIB, 1), "most": round(seen.worker / MIB, 1)},
        "growth_mib": round(grown, 1),
        "children_mib": {module: round(most / MIB, 1) for module, most in sorted(seen.children.items())},
        "gate": GATES["growth_mib"],
        "passed": grown <= GATES["growth_mib"],
    }


def run(quick: bool = False) -> dict[str, Any]:
    """Measure all three on one stack."""
    with (
        tempfile.TemporaryDirectory(prefix="temper-bench-") as name,
        running_stack(Path(name) / "home", env={"TEMPER_CLOSED_BOOK": "false"}) as stack,
    ):
        folder = Path(name)
        found = {
            "memory": memory(stack, folder, 200 * 10**6 if quick else 2 * 10**9),
            "wall": wall(stack, folder / "scratch", *((2, 20) if quick else (ROUNDS, 100))),
            "growth": growth(stack, {10: 1, 100: 1} if quick else {10: 3, 100: 3, 1000: 1}),
        }
    return {
        "what": "documents to a data set: wall ÷ stages by hand, growth of cost with pages, memory over 2 GB",
        **found,
        "passed": all(each["passed"] for each in found.values()),
        "versions": {"python": platform.python_version()},
        "machine": {"cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 MB, fewer rounds, up to 100 pages")
    result = run(parser.parse_args().quick)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    sys.exit(0 if result["passed"] else 1)
