"""Where words stand: every blob, record, document, file and log line of a stack, and every process that it runs."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from contracts.ports import BlobNotFoundError
from infra.runtime.folding import ALL
from infra.runtime.replay import records
from infra.runtime.world import World
from tests.e2e import support
from tests.stack import Stack

Found = set[tuple[str, str]]
"""(name of what was looked for, where it stands)."""
CACHES = ("models", "harness", "tokenizers")
LOOK_EVERY = 0.1
"""Seconds between two looks at the processes."""


def spellings(secret: str) -> tuple[bytes, ...]:
    """A secret as it is, in hexadecimal digits, and as it stands in base64 wherever it begins."""
    raw = secret.encode()
    coded = (base64.b64encode(b"\0" * start + raw)[4:-4] for start in range(3))  # the ends depend on what is beside
    return (raw, raw.hex().encode(), *coded)


def said_at(stack: Stack, needle: str) -> list[str]:
    """Every blob, record, document, file and log line that holds these words."""
    return sorted(place for _, place in places(stack, {"": (needle.encode(),)}))


def places(stack: Stack, wanted: Mapping[str, tuple[bytes, ...]]) -> Found:
    """Where the spellings of each name stand: blobs, records with their headers, documents, files."""
    found: Found = support.in_world(stack, lambda here: _stores(here, wanted))
    began = psutil.Process(stack.up.pid).create_time()
    for folder in (stack.home, *(stack.settings.cache / name for name in CACHES)):
        for path in _files(folder):
            with suppress(OSError):  # it went meanwhile, or is a socket
                if path.stat().st_ctime >= began:  # what others had cached before is as they left it
                    found |= {(name, str(path)) for name in _held(path.read_bytes(), wanted)}
    return found


def _held(content: bytes, wanted: Mapping[str, tuple[bytes, ...]]) -> Iterator[str]:
    return (name for name, spelled in wanted.items() if any(each in content for each in spelled))


async def _stores(here: World, wanted: Mapping[str, tuple[bytes, ...]]) -> Found:
    found = {(name, key) async for key, content in _blobs(here) for name in _held(content, wanted)}
    async for record in records(str(here.settings.kafka_bootstrap), ALL):
        content = (record.key or b"") + b"\n" + (record.value or b"")
        content += b"".join(name.encode() + b":" + (value or b"") for name, value in record.headers)
        found |= {(name, f"kafka {record.topic} {record.offset}") for name in _held(content, wanted)}
    for collection in await here.db.list_collection_names():
        async for document in here.db[collection].find():
            found |= {(name, f"mongo {collection}") for name in _held(repr(document).encode(), wanted)}
    return found


async def _blobs(here: World) -> AsyncIterator[tuple[str, bytes]]:
    for key in await here.blobs.list(""):
        with suppress(BlobNotFoundError):  # it went meanwhile
            yield f"/{key}", await here.blobs.get(key)


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):  # which passes over what goes meanwhile
        if "/.minio.sys/tmp/.trash" in place:  # nobody can read it; MinIO empties it every five minutes
            continue
        # Kafka's indices are numbers, in files of ten megabytes that are empty but for them
        yield from (Path(place) / name for name in names if not name.endswith((".index", ".timeindex")))


class Processes:
    """What the processes of a stack were seen with: their command lines, and the environments they began with."""

    def __init__(self, stack: Stack, wanted: Mapping[str, tuple[bytes, ...]]) -> None:
        self._up, self._wanted = psutil.Process(stack.up.pid), wanted
        self._ended = threading.Event()
        self.lines: Found = set()
        """(name, command line) that holds it."""
        self.environments: Found = set()
        """(name, command line of the process whose environment holds it)."""
        self.seen: set[str] = set()
        """The command lines."""
        self._known: set[tuple[psutil.Process, str]] = set()

    def _look(self) -> None:
        for process in self._up.children(recursive=True):
            with suppress(psutil.Error, OSError):
                line = " ".join(process.cmdline())
                if (process, line) in self._known:  # neither changes but by becoming another program
                    continue
                if line == " ".join((process.parent() or process).cmdline()):  # it has not become what it is to be
                    continue
                self.seen.add(line)
                self.lines |= {(name, line) for name in _held(line.encode(), self._wanted)}
                told = Path(f"/proc/{process.pid}/environ").read_bytes()
                self.environments |= {(name, line) for name in _held(told, self._wanted)}
                if told:
                    self._known.add((process, line))

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            self._look()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at them all the time until the block ends."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
