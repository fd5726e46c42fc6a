"""Bring files and jobs here, in an order in which an interruption loses nothing and a second run doubles nothing."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from infra.importing import shapes
from infra.importing.shapes import MARK, Line
from infra.importing.source import GoneError, Source, reason
from infra.local.errors import UserError

Object = dict[str, Any]
ROWS, RESULTS = "fine-tune", "ingestion"
"""Purposes here: of rows, and of what is stored as it is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be brought."""

    origin: str
    """The other server's base URL."""
    base: str | None = None
    """The base model here; None: no job is created."""
    statuses: Collection[str] = ("succeeded",)
    """Of jobs there."""
    jobs: Collection[str] = ()
    """Only these; none named: all."""
    dry_run: bool = False


@dataclass
class Import:
    """One run; `record` is what is known of earlier ones, and is written after every step."""

    source: Source
    target: httpx.AsyncClient
    asked: Asked
    record: Path
    say: Callable[[str], None] = lambda _text: None
    lines: list[Line] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Id there → id here; of a dry run the same id."""
    known: Object = field(default_factory=dict)

    async def run(self) -> list[Line]:
        """Bring it all; returns what became of each; raises UserError."""
        empty: Object = {"origin": self.asked.origin, "files": {}, "jobs": {}, "results": {}, "checkpoints": {}}
        known = _read(self.record)
        self.known = empty | known if known.get("origin") == self.asked.origin else empty
        self.say("reading the list of jobs")
        try:
            jobs = [each async for each in self.source.items("/fine_tuning/jobs", limit="100") if self._meant(each)]
            named = {id for job in jobs for id in (job.get("training_file"), job.get("validation_file")) if id}
            listed = {each["id"]: each async for each in self.source.items("/files", purpose=ROWS)}
        except GoneError as error:
            raise UserError(f"{self.asked.origin} does not list its jobs and files: {error}") from error
        if self.asked.jobs:
            listed = {id: file for id, file in listed.items() if id in named}
        for id in [*listed, *sorted(named - set(listed))]:
            await self._file(id, listed.get(id))
        for job in reversed(jobs):  # the oldest first, as they were made
            await self._job(job)
        return self.lines

    def _meant(self, job: Object) -> bool:
        if self.asked.jobs:
            return job["id"] in self.asked.jobs
        return job.get("status") in self.asked.statuses

    # --- files

    async def _file(self, id: str, listed: Object | None) -> None:
        try:
            file = listed or await self.source.get(f"/files/{quote(id, safe='')}")
        except GoneError as error:
            self.lines.append(Line("file", id, "", "gone", (str(error),)))
            return
        name = str(file.get("filename") or f"{id}.jsonl")
        if self.asked.dry_run:
            self.files[id] = id
            self.lines.append(Line(f"file {name}", id, "", "would come"))
            return
        here = await self._still("files", id, "/files")
        state: shapes.State = "was here"
        if here is None:
            self.say(f"file {name}")
            try:
                here, state = await self._brought(id, name, ROWS)
            except GoneError as error:
                self.lines.append(Line(f"file {name}", id, "", "gone", (str(error),)))
                return
            except RefusedError as error:
                self.lines.append(Line(f"file {name}", id, "", "refused", (str(error),)))
                return
        self.files[id] = here
        self._remember("files", id, {"id": here, "there": file})
        self.lines.append(Line(f"file {name}", id, here, state))

    async def _brought(self, id: str, name: str, purpose: str) -> tuple[str, shapes.State]:
        """Return the id of the same bytes under the same name here, and whether they came now."""
        with tempfile.TemporaryDirectory(prefix="temper-import-") as folder:
            path = Path(folder) / "content"
            await self.source.fetch(id, path)
            if purpose == RESULTS:
                plain = shapes.results(path.read_bytes())
                path.write_bytes(plain)
                name += ".jsonl" if plain.startswith(b"{") else ".csv"
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            async for each in self._here("/files", purpose=purpose):
                if (each["checksum"], each["filename"]) == (digest, name):
                    return each["id"], "was here"
            with path.open("rb") as content:
                headers = {"idempotency-key": f"import-{hashlib.sha256(f'{id} {digest}'.encode()).hexdigest()}"}
                form = {"purpose": purpose}
                made = await self._post("/files", headers, data=form, files={"file": (name, content)})
        return made["id"], "came"

    # --- jobs

    async def _job(self, job: Object) -> None:
        what = f"job on {job.get('model')}"
        why = "no --base is given" if self.asked.base is None else shapes.left_out(job, self.files)
        found = await self._results(job) if not self.asked.dry_run else {}
        if why is not None or self.asked.base is None:
            self.lines.append(Line(what, job["id"], "", "left out", (why or "",)))
            return
        wanted = shapes.wanted(job, self.asked.base, self.files, self.asked.origin, found)
        if self.asked.dry_run:
            self.lines.append(Line(what, job["id"], "", "would come", wanted.differs))
            return
        async for each in self._here("/fine_tuning/jobs", **{f"metadata[{MARK}]": job["id"]}):
            self._remember("jobs", job["id"], {"id": each["id"], "there": job, "metrics": found})
            self.lines.append(Line(what, job["id"], each["id"], "was here"))
            return
        self.say(f"job {job['id']}")
        key = hashlib.sha256(f"{self.asked.origin} {job['id']}".encode()).hexdigest()
        try:
            made = await self._post("/fine_tuning/jobs", {"idempotency-key": f"import-{key}"}, json=wanted.body)
        except RefusedError as error:
            self.lines.append(Line(what, job["id"], "", "refused", (str(error),)))
            return
        self._remember("jobs", job["id"], {"id": made["id"], "there": job, "metrics": found})
        self.lines.append(Line(what, job["id"], made["id"], "came", wanted.differs))

    async def _results(self, job: Object) -> Object:
        """Keep the job's results files and checkpoints; returns the metrics of its last step."""
        metrics: Object = {}
        for id in job.get("result_files") or ():
            here = await self._still("results", id, "/files")
            name, state = f"{job['id']}-{id}", "was here"
            try:
                if here is None:
                    here, state = await self._brought(id, name, RESULTS)
                content = await self.target.get(f"files/{here}/content")
                metrics = metrics or shapes.last_metrics(content.content)
            except (GoneError, RefusedError) as error:
                self.lines.append(Line("results", id, "", "gone", (str(error),)))
                continue
            self._remember("results", id, {"id": here, "job": job["id"]})
            self.lines.append(Line(f"results of {job['id']}", id, here, "came" if state == "came" else "was here"))
        path = f"/fine_tuning/jobs/{quote(job['id'], safe='')}/checkpoints"
        try:
            kept = [each async for each in self.source.items(path)]
        except GoneError:
            kept = []
        if kept:
            self._remember("checkpoints", job["id"], {"there": kept})
        return metrics

    # --- here

    async def _still(self, kind: str, id: str, path: str) -> str | None:
        """Return the id here that an earlier run made of something, if it is still there."""
        here = self.known[kind].get(id, {}).get("id")
        if here is None:
            return None
        return here if (await self._answered("GET", f"{path}/{here}")).is_success else None

    async def _here(self, path: str, **query: str) -> Any:
        after: dict[str, str] = {}
        while True:
            response = await self._answered("GET", path, params={**query, **after, "limit": "100"})
            if response.is_error:
                raise UserError(reason(response))
            page = response.json()
            for each in page["data"]:
                yield each
            if not page["has_more"]:
                return
            after = {"after": page["last_id"]}

    async def _post(self, path: str, headers: dict[str, str], **body: Any) -> Object:
        response = await self._answered("POST", path, headers=headers, **body)
        if response.status_code >= 500 or response.status_code in (401, 429):
            raise UserError(f"Temper answers {response.status_code}: {reason(response)} Run it again when it is well.")
        if response.is_error:
            raise RefusedError(reason(response))
        made: Object = response.json()
        return made

    async def _answered(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            return await self.target.request(method, path.removeprefix("/"), **given)
        except httpx.TransportError as error:
            raise UserError(
                f"The edge does not answer: {error}. Look at `temper status`, then run it again."
            ) from error

    def _remember(self, kind: str, id: str, what: Object) -> None:
        self.known[kind][id] = what
        self.record.parent.mkdir(parents=True, exist_ok=True)
        beside = self.record.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text(json.dumps(self.known, ensure_ascii=False, indent=1))
        beside.replace(self.record)


class RefusedError(Exception):
    """Temper does not take it; says why."""


def _read(path: Path) -> Object:
    try:
        found: Object = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is no record of an import: {error}. Move it away, then run it again.") from error
    return found
