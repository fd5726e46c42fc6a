"""P5, P7: archives and documents made to do harm are refused in time; nothing else on the stack notices them."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

import openai
import psutil
import pytest
from openai.types import FileObject

from contracts.corpus import Member
from infra.runtime.world import World
from tests.e2e import support
from tests.e2e.support import User
from tests.e2e.test_documents import archive, checked, upload, validation
from tests.functional.test_extract_text import HOSTILE as DOCUMENTS
from tests.stack import Stack
from tests.unit.extract_text.documents import word_bomb
from tests.unit.extract_zip.archives import HOSTILE as ARCHIVES
from tests.unit.extract_zip.archives import TEXT, Raw, packed
from tests.unit.extract_zip.archives import archive as raw_archive

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 30.0
MEMORY_BYTES = 2**30
ALONE = ("docx", "pdf")
"""What comes as a document by itself; the other formats come as rows then."""

TEXTS = ("rows", "format")
"""What is hostile under the name of its format alone: by content it is plain text."""


@dataclass
class Watch:
    """The memory of the worker and its children, looked at every few milliseconds."""

    worker: psutil.Process
    peak: int = 0
    """Bytes of the worker and the largest child together: what one upload may take; beside it others are read."""
    largest: int = 0
    """Bytes of the largest child."""
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until `ended` is set."""
        while not self.ended.wait(0.02):
            children = []
            for child in self.worker.children(recursive=True):
                try:
                    children.append(child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, self.worker.memory_info().rss + max(children, default=0))
            self.largest = max(self.largest, *children, 0)


@contextmanager
def watched(stack: Stack) -> Iterator[Watch]:
    """Watch the worker; afterwards it is the same process as before."""
    before = stack.process("worker")
    watch = Watch(psutil.Process(before.pid))
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.ended.set()
        thread.join()
    after = stack.process("worker")
    assert (after.pid, after.restarts, after.state) == (before.pid, before.restarts, "up")


@dataclass(frozen=True)
class Verdict:
    """How an upload ended."""

    code: str
    message: str
    seconds: float
    file: str | None
    """None: the edge refused it."""


def verdict(user: User, content: bytes, name: str) -> Verdict:
    """Upload it and wait for its end."""
    began = monotonic()
    try:
        file = upload(user, content, name)
    except openai.BadRequestError as refused:
        return Verdict(str(refused.code), refused.message, monotonic() - began, None)

    def ended() -> FileObject | None:
        found = user.client.files.retrieve(file)
        return found if found.status != "uploaded" else None

    found = support.until(ended, f"the end of {name}", within=10 * SECONDS)
    seconds = monotonic() - began
    said = validation(found)
    assert found.status == "error", f"{name} was {found.status}: {said}"
    assert found.status_details
    return Verdict(said["code"], found.status_details, seconds, file)


def codes_of(user: User, file: str) -> dict[str, str]:
    """Path → code of the documents of a file that were rejected."""
    found = user.get("/lineage", params={"file": file, "limit": "100"}).raise_for_status().json()["data"]
    return {each["path"]: each["rejected"]["code"] for each in found if each["rejected"]}


def show(name: str, found: Verdict, watch: Watch, code: str = "") -> None:
    code = code or found.code
    figures = f"{found.seconds:5.1f} s {watch.peak / 2**20:6.0f} MiB {watch.largest / 2**20:6.0f} MiB"
    print(f"{name:52} {code:24} {figures}")


@contextmanager
def others_go_on(user: User, seed: int) -> Iterator[None]:
    """Somebody else's documents, uploaded at the same time, become a data set."""
    began = monotonic()
    file = upload(user, archive(seed))
    yield
    checked(user, file)
    print(f"an ordinary archive beside them: a data set within {monotonic() - began:.1f} s")


def test_hostile_archives_are_refused_with_a_code_within_limits(user: User, stack: Stack) -> None:
    print(f"\n{'':52} {'code':24} {'verdict':>7} {'peak':>10} {'child':>10}")
    with others_go_on(user, 21):
        for name, (make, code) in ARCHIVES.items():
            content = make()
            with watched(stack) as watch:
                found = verdict(user, content, "hostile.zip")
            show(name, found, watch)
            assert found.code == code, name
            assert found.message.endswith("."), name
            assert found.seconds < SECONDS * support.overload(), name
            assert watch.peak <= MEMORY_BYTES, name


def alone() -> Iterator[tuple[str, str, Callable[[], bytes], set[str]]]:
    """Name, format, bytes and the codes that one of them must end with."""
    for name, (format, content, codes) in DOCUMENTS.items():
        if format in ALONE:
            yield name, format, lambda content=content: content, codes  # type: ignore[misc]
    yield "unpacks to 400 MB", "docx", word_bomb, {"document_too_complex"}


def test_hostile_documents_are_refused_with_a_code_within_limits(user: User, stack: Stack) -> None:
    print(f"\n{'':52} {'code':24} {'verdict':>7} {'peak':>10} {'child':>10}")
    with others_go_on(user, 22):
        for name, format, make, codes in alone():
            content = make()
            with watched(stack) as watch:
                found = verdict(user, content, f"hostile.{format}")
            code = codes_of(user, found.file).get(f"hostile.{format}", found.code) if found.file else found.code
            show(name, found, watch, code)
            assert code in (codes if found.file else {"unsupported_file"}) | {"archive_broken"}, name
            assert "/etc" not in found.message, name
            assert found.seconds < SECONDS * support.overload(), name
            assert watch.peak <= MEMORY_BYTES, name


def test_hostile_documents_in_an_archive_leave_the_others(user: User, stack: Stack) -> None:
    hostile = {f"{name}.{format}": content for name, (format, content, _) in DOCUMENTS.items() if name not in TEXTS}
    with zipfile.ZipFile(io.BytesIO(archive(23))) as ordinary:
        sound = {each: ordinary.read(each) for each in ("manual.pdf", "manual.docx", "notes.md")}
    began = monotonic()
    with watched(stack) as watch:
        file = upload(user, packed(hostile | sound, zipfile.ZIP_STORED))  # unpacked as they are: packed, they are bombs
        checked(user, file)
    seconds = monotonic() - began
    refused = codes_of(user, file)
    skipped = {each.path: each.code for each in members(stack, file) if each.code}
    print(f"\n{len(hostile)} hostile documents with {len(sound)} others: {seconds:.1f} s, {watch.peak / 2**20:.0f} MiB")
    for name in sorted(hostile):
        print(f"{name:52} {refused.get(name) or skipped.get(name)}")
    assert set(hostile) <= set(refused) | set(skipped)
    assert not set(sound) & (set(refused) | set(skipped))
    assert watch.peak <= MEMORY_BYTES
    assert seconds < SECONDS * len(hostile) * support.overload()


def members(stack: Stack, file: str) -> list[Member]:
    """What became of each member of an archive."""

    async def look(here: World) -> list[Member]:
        listed = await here.blobs.get(f"local/{file}/members.json")
        return [Member.model_validate(each) for each in json.loads(listed)]

    found: list[Member] = support.in_world(stack, look)
    return found


def test_names_that_lead_out_of_the_archive_are_written_nowhere(user: User, stack: Stack, tmp_path: Path) -> None:
    mark = f"climbed-{uuid4().hex}"
    ups = [f"{'../' * count}{mark}-{count}.txt" for count in range(1, 16)]
    backs = [f"{'..' + chr(92)}{mark}-back.txt", f"deep/../../{mark}-deep.txt"]
    roots = [f"/{mark}-root.txt", f"/tmp/{mark}-tmp.txt", f"{tmp_path}/{mark}-own.txt", f"C:\\{mark}-drive.txt"]
    hostile = [*ups, *backs, *roots]
    with zipfile.ZipFile(io.BytesIO(archive(24))) as ordinary:
        sound = [Raw(b"manual.pdf", ordinary.read("manual.pdf")), Raw(b"notes.md", ordinary.read("notes.md"))]
    content = raw_archive([*(Raw(name.encode(), name.encode() + TEXT) for name in hostile), *sound])
    with watched(stack) as watch:
        file = upload(user, content)
        checked(user, file)
    found = members(stack, file)
    assert watch.peak <= MEMORY_BYTES
    assert len(found) == len(hostile) + len(sound)
    assert [each.code for each in found if mark in each.path].count("unsafe_path") == len(ups) + len(backs)
    assert not [each.path for each in found if each.path.startswith("/") or ".." in each.path.split("/")]
    assert not [path for folder in reachable(stack, tmp_path) for path in folder.glob(f"{mark}*")]
    assert not list(stack.home.rglob(f"*{mark}*"))


def reachable(stack: Stack, *more: Path) -> set[Path]:
    """The folders that such a name leads to, from wherever the worker and its children stand."""
    worker = psutil.Process(stack.process("worker").pid)
    stands = {Path(worker.cwd()), stack.home, stack.home / "scratch", Path.home(), Path("/tmp"), *more}
    return {folder for each in stands for folder in (each, *each.parents) if os.access(folder, os.R_OK)}
