"""`temper trace`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from contracts.corpus import Chunk, CorpusPlan, Example, RowOrigin, Split
from contracts.ports import BlobNotFoundError, Blobs, Documents, UnavailableError
from contracts.wire import dataset
from functions.edge import lines, provenance
from infra.local.errors import UserError
from infra.settings import Settings
from infra.world import MissingSettingError, world

View = Mapping[str, Any]
QUOTED = 160
"""Characters of a quote or question that are shown."""
WIDE = 10_000
"""Columns where no terminal would break lines: whoever reads it there looks for ids."""


@click.command()
@click.argument("id")
@click.option("--file", "file", metavar="FILE_ID", help="Look for a row or chunk in this file's data set alone.")
def trace(id: str, file: str | None) -> None:
    """Show where a thing came from and what it led to, down to the page and up to the models.

    ID is a file, document, chunk, row, job or model: file-…, doc-…, chunk-…, row-…, ftjob-… or a model's name; with
    --file also a row as the API numbers it, train-12 or held_out-3. Rows and chunks are looked for in every data set
    unless --file names one.
    """

    async def body() -> Tree:
        async with world(Settings()) as here:
            return await Tracer(here.documents, here.blobs).trace(id, file)

    try:
        tree = asyncio.run(body())
    except MissingSettingError as error:
        raise UserError("No stack is known. Start it with `temper up`.") from error
    except UnavailableError as error:
        raise UserError(f"{error}. Look at `temper status`, then try again.") from error
    except BlobNotFoundError as error:
        raise UserError(f"What is known of {id} is not stored any more: {error} is gone.") from error
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(tree, highlight=False)


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk or row in the archive where it is."""

    archive: View
    document: View
    plan: CorpusPlan


@dataclass(frozen=True, slots=True)
class Tracer:
    """Follows ids both ways through the read models and the blobs."""

    documents: Documents
    blobs: Blobs

    async def trace(self, id: str, file: str | None = None) -> Tree:
        """Return the tree of one thing; raises UserError for an id that leads nowhere."""
        kinds = {"file": self._file, "doc": self._document, "ftjob": self._job}
        kind, _, rest = id.partition("-")
        if kind in kinds and rest:
            return await kinds[kind](id)
        if kind == "chunk" and rest:
            return await self._chunk(id, file)
        if kind == "row" and rest:
            return await self._example(id, file)
        if kind in dataset.SPLITS and rest.isdecimal():
            return await self._line(id, file)
        return await self._model(id)

    async def _file(self, id: str) -> Tree:
        file, archive = await self._get("files", id, "file"), await self.documents.get("archives", id)
        tree = Tree(_text(_file_label(file), "bold"))
        if archive is not None:
            above = tree.add(_text(_archive_label(archive)))
            for document in await self.documents.find("documents", {"archive": id}, [("id", 1)]):
                above.add(_text(_document_label(document)))
        return await self._with_jobs(tree, file["tenant"], id)

    async def _document(self, id: str) -> Tree:
        document = await self._get("documents", id, "document")
        tree = Tree(_text(_document_label(document), "bold"))
        await self._add_file(tree.add("comes from"), document["archive"])
        chunks = await provenance.chunks_of(self.blobs, document)
        archive = await self.documents.get("archives", document["archive"])
        assembled = archive["assembled"] if archive else None
        names = [chunk.id for chunk in chunks.chunks] if chunks else []
        origins = await provenance.origins_naming(self.blobs, assembled, names) if assembled else {}
        pages: dict[int, Tree] = {}
        for chunk in chunks.chunks if chunks else ():
            page = chunk.spans[0].page
            if page not in pages:
                pages[page] = tree.add(f"page {page}")
            pages[page].add(_text(f"{_chunk_label(chunk)}: {_mentions(chunk.id, origins)}"))
        return await self._with_jobs(tree, document["tenant"], document["archive"], origins)

    async def _chunk(self, id: str, file: str | None) -> Tree:
        found = await self._planned(id, file)
        chunks = await provenance.chunks_of(self.blobs, found.document)
        chunk = next(each for each in chunks.chunks if each.id == id) if chunks else None
        if chunk is None:
            raise UserError(f"The chunk {id} is planned, but its document's chunks are not known. Try again.")
        tree = Tree(_text(_chunk_label(chunk), "bold"))
        tree.add(_text(_quoted(chunk.text)))
        place = tree.add("comes from")
        for span in chunk.spans:
            place.add(f"page {span.page}, characters {span.start} to {span.end}")
        await self._add_document(place, found.document)
        for dropped in found.plan.dropped:
            if dropped.chunk == id:
                tree.add(f"dropped: it says the same as {dropped.of} (similarity {dropped.similarity:.2f})")
        assembled = found.archive["assembled"]
        origins = await provenance.origins_naming(self.blobs, assembled, [id]) if assembled else {}
        led = tree.add(f"led to {_mentions(id, origins)}")
        for split, own in origins.items():
            for origin in own:
                if origin.chunk == id:
                    led.add(_text(_row_label(origin, split)))
        return await self._with_jobs(tree, found.document["tenant"], found.archive["id"], origins)

    async def _example(self, id: str, file: str | None) -> Tree:
        async for archive in self._archives(file):
            if archive["assembled"]:
                origins = await provenance.origins_naming(self.blobs, archive["assembled"], [id])
                if any(origins.values()):
                    return await self._rows(id, archive, origins)
        async for archive in self._archives(file):
            if (unused := await self._unused(id, archive)) is not None:
                return unused
        raise _unknown("row", id, file)

    async def _line(self, id: str, file: str | None) -> Tree:
        if file is None:
            raise UserError(f"Every data set has a row {id}. Say which with --file FILE_ID.")
        archive = await self._get("archives", file, "archive of documents")
        split: Split = "held_out" if id.startswith("held_out") else "train"
        keys = dataset.blobs(archive["assembled"]).get(split) if archive["assembled"] else None
        if keys is None:
            raise UserError(
                f"The file {file} has no data set with {split} rows. `temper trace {file}` shows its state."
            )
        line = dataset.line_of(id, split)
        read = [RowOrigin.model_validate_json(each) for each in await lines.numbered(self.blobs, keys[1], line, 1)]
        if not read or read[0].line != line:
            raise _unknown("row", id, file)
        return await self._rows(id, archive, {split: read})

    async def _rows(self, id: str, archive: View, origins: Mapping[Split, Sequence[RowOrigin]]) -> Tree:
        """Return the tree of one example's rows, or of one row: all share a chunk."""
        origin = next(each for own in origins.values() for each in own)
        tree = Tree(_text(id, "bold"))
        for split, own in origins.items():
            for each in own:
                tree.add(_text(_row_label(each, split)))
        place = tree.add("comes from")
        if not origin.document:
            place.add(f"a general row against forgetting, of the file with SHA-256 {origin.sha256}")
            return await self._with_jobs(tree, archive["tenant"], archive["id"], origins)
        if origin.span is not None:
            at = f"page {origin.span.page}, characters {origin.span.start} to {origin.span.end}"
            place.add(_text(f"{at}: {_quoted(origin.quote)}"))
        chunk = place.add(origin.chunk)
        chunk.add(_text(f"written by: {origin.generator}{_scores(origin.scores)}"))
        await self._add_document(place, await self._get("documents", origin.document, "document"), origin.sha256)
        return await self._with_jobs(tree, archive["tenant"], archive["id"], origins)

    async def _unused(self, id: str, archive: View) -> Tree | None:
        """Return the tree of a question that no data set holds: it was rejected, or is a duplicate, or still waits."""
        asked = {"archive": archive["id"], "examples": {"$ne": None}}
        for document in await self.documents.find("documents", asked, [("id", 1)]):
            async for line in lines.naming(self.blobs, document["examples"]["examples"]["key"], [id]):
                example = Example.model_validate_json(line)
                tree = Tree(_text(f"{id}: {_quoted(example.question)}", "bold"))
                why = f"rejected: {example.code}: {example.message}" if example.code else "in no data set (yet)"
                tree.add(_text(why))
                place = tree.add("comes from")
                place.add(_text(f"page {example.span.page}: {_quoted(example.quote)}"))
                place.add(_text(f"{example.chunk}, written by: {example.generator} {example.model}".rstrip()))
                await self._add_document(place, document)
                return tree
        return None

    async def _job(self, id: str) -> Tree:
        job = await self._get("jobs", id, "job")
        tree = Tree(_text(_job_label(job), "bold"))
        await self._add_files(tree.add("comes from"), job)
        await self._add_models(tree.add("led to"), {"job": id, "tenant": job["tenant"]})
        return tree

    async def _model(self, name: str) -> Tree:
        found = await self.documents.find("models", {"id": name}, limit=1)
        if not found:
            kinds = "a file, document, chunk, row, job or model"
            raise UserError(f"Nothing is known by the name {name}; it should be {kinds}, see `temper trace --help`.")
        model = found[0]
        tree = Tree(_text(_model_label(model), "bold"))
        if model["job"] is not None:
            job = await self._get("jobs", model["job"], "job")
            above = tree.add("comes from").add(_text(_job_label(job)))
            await self._add_files(above, job)
            return tree
        led = tree.add("led to")
        for job in await self.documents.find("jobs", {"created.model": name}, [("created_at", 1), ("id", 1)]):
            await self._add_models(led.add(_text(_job_label(job))), {"job": job["id"], "tenant": job["tenant"]})
        return tree

    async def _add_files(self, tree: Tree, job: View) -> None:
        for role in ("training_file", "validation_file"):
            if job["created"][role] is not None:
                await self._add_file(tree.add(role.replace("_", " ")), job["created"][role])
        tree.add(_text(f"model {job['created']['model']}"))

    async def _add_file(self, tree: Tree, id: str) -> None:
        file, archive = await self.documents.get("files", id), await self.documents.get("archives", id)
        branch = tree.add(_text(_file_label(file) if file else f"{id}, which nobody has heard of"))
        if archive is not None:
            branch.add(_text(_archive_label(archive)))

    async def _add_document(self, tree: Tree, document: View, sha256: str | None = None) -> None:
        hashed = f", SHA-256 {sha256}" if sha256 else ""
        await self._add_file(tree.add(_text(_document_label(document) + hashed)), document["archive"])

    async def _add_models(self, tree: Tree, where: View) -> None:
        for model in await self.documents.find("models", where, [("step", 1), ("id", 1)]):
            tree.add(_text(_model_label(model)))

    async def _with_jobs(
        self, tree: Tree, tenant: str, file: str, origins: Mapping[Split, Sequence[RowOrigin]] | None = None
    ) -> Tree:
        """Add the jobs on a file and their models; none where `origins` are of rows that are not trained on."""
        if origins is not None and not origins.get("train"):
            tree.add("no job was trained on it")
            return tree
        jobs = await provenance.jobs_using(self.documents, tenant, file)
        led = tree.add("jobs and models" if jobs else "no job was trained on it")
        for job in jobs:
            branch = led.add(_text(f"{job['id']} ({job['status']}, {job['used_as'].replace('_', ' ')})"))
            for model in job["models"]:
                branch.add(_text(model["id"] + (" (deleted)" if model["deleted"] else "")))
        return tree

    async def _planned(self, chunk: str, file: str | None) -> Found:
        async for archive in self._archives(file):
            if archive["planned"] is None:
                continue
            stored = await self.blobs.get(archive["planned"]["plan"]["key"])
            if chunk.encode() in stored:
                plan = CorpusPlan.model_validate_json(stored)
                of = {each.chunk: each.document for each in plan.dropped}
                of |= {each.chunk: each.document for each in plan.chunks}
                if chunk in of:
                    return Found(archive, await self._get("documents", of[chunk], "document"), plan)
        raise _unknown("chunk", chunk, file)

    async def _archives(self, file: str | None) -> AsyncIterator[View]:
        """Yield the archive named, or every one that is not deleted, the newest first."""
        if file is not None:
            yield await self._get("archives", file, "archive of documents")
            return
        for archive in await self.documents.find("archives", {"deleted": False}, [("created_at", -1), ("id", -1)]):
            yield archive

    async def _get(self, model: str, id: str, what: str) -> View:
        found = await self.documents.get(model, id)
        if found is None:
            raise UserError(f"There is no {what} {id}. `temper replay print --subject {id}` shows what is known of it.")
        return found


def _unknown(what: str, id: str, file: str | None) -> UserError:
    where = f"the file {file}" if file else "any file that is not deleted"
    return UserError(f"There is no {what} {id} in {where}.")


def _text(label: str, style: str = "") -> Text:
    """Return a label as it stands: what documents and clients wrote is no markup and moves no cursor."""
    return Text("".join(each if each.isprintable() else " " for each in label), style)


def _quoted(text: str) -> str:
    plain = " ".join(text.split())
    return f"“{plain[:QUOTED]}{'…' if len(plain) > QUOTED else ''}”"


def _file_label(file: View) -> str:
    gone = ", deleted" if file["deleted"] else ""
    return f"{file['id']} {file['filename']} ({file['format']}, {file['purpose']}, tenant {file['tenant']}{gone})"


def _archive_label(archive: View) -> str:
    made, failed = archive["assembled"], archive["failed"]
    if made:
        rows = f"{_count(made['rows'], 'row')}, {made['held_out_rows']} held out"
        return f"data set {made['version'][:12]}: {rows}, coverage {made['coverage']:.0%}, {made['generator']}"
    return f"no data set: {failed['code']}: {failed['message']}" if failed else "no data set yet"


def _document_label(document: View) -> str:
    label = f"{document['id']} {document['path'] or ''}".rstrip()
    if document["rejected"]:
        return f"{label}: rejected: {document['rejected']['code']}: {document['rejected']['message']}"
    pages = f", {_count(document['extracted']['pages'], 'page')}" if document["extracted"] else ""
    chunks = f", {_count(document['chunked']['n_chunks'], 'chunk')}" if document["chunked"] else ""
    kept = f", {_count(document['examples']['kept'], 'question')}" if document["examples"] else ""
    return label + pages + chunks + kept


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _chunk_label(chunk: Chunk) -> str:
    heading = f" {_quoted(chunk.heading)}" if chunk.heading else ""
    return f"{chunk.id}{heading} ({chunk.tokens} tokens)"


def _mentions(chunk: str, origins: Mapping[Split, Sequence[RowOrigin]]) -> str:
    """Return in words how many rows show a chunk, and in what role."""
    counts = Counter(
        "beside another" if origin.chunk != chunk else "trained on" if split == "train" else "held out"
        for split, own in origins.items()
        for origin in own
        if chunk in (origin.chunk, *origin.distractors)
    )
    return (
        ", ".join(f"{_count(count, 'row')} {role}" for role, count in sorted(counts.items(), reverse=True)) or "no rows"
    )


def _row_label(origin: RowOrigin, split: Split) -> str:
    place = "" if origin.position is None else f", shown at place {origin.position + 1}"
    beside = f" of {1 + len(origin.distractors)}" if place else ""
    return f"{dataset.row_id(origin, split)} ({dataset.kind(origin)}, variant {origin.variant}{place}{beside})"


def _scores(scores: Mapping[str, float]) -> str:
    return "".join(f", {name} {value:.2f}" for name, value in sorted(scores.items()))


def _job_label(job: View) -> str:
    return f"{job['id']} ({job['status']}, tenant {job['tenant']})"


def _model_label(model: View) -> str:
    gone = ", deleted" if model["deleted"] else ""
    step = f", step {model['step']}" if model["step"] is not None else ""
    return f"{model['id']} ({model['kind']}{step}, tenant {model['tenant']}{gone})"
