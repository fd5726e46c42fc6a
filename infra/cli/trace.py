"""`temper trace`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass

import click
from rich.console import Console
from rich.tree import Tree

from contracts.corpus import CorpusPlan, Example, RowOrigin, Split
from contracts.ports import BlobNotFoundError, Blobs, Documents, UnavailableError
from contracts.wire import dataset
from functions.edge import lines, provenance
from infra.cli import labels
from infra.cli.labels import Origins, View
from infra.local.errors import UserError
from infra.runtime.world import MissingSettingError, world
from infra.settings import Settings

DataSet = tuple[View, Origins | None]
"""An archive, and the lineage of those of its rows that are asked about; None where that is not known."""
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
class TracedThing:
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
        tree = Tree(labels.text(labels.file_label(file), "bold"))
        if archive is not None:
            above = tree.add(labels.text(labels.archive_label(archive)))
            home = await provenance.with_documents(self.documents, archive)
            if home is not archive:
                await self._add_file(above.add("re-curated of"), home["id"])
            for document in await self.documents.find("documents", {"archive": home["id"]}, [("id", 1)]):
                above.add(labels.text(labels.document_label(document)))
            await self._add_data_sets(tree, await self._recurated(archive))
        return await self._with_jobs(tree, file["tenant"], id)

    async def _document(self, id: str) -> Tree:
        document = await self._get("documents", id, "document")
        tree = Tree(labels.text(labels.document_label(document), "bold"))
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
            pages[page].add(labels.text(f"{labels.chunk_label(chunk)}: {labels.mentions(chunk.id, origins)}"))
        if archive:
            await self._add_data_sets(tree, await self._recurated(archive, names))
        return await self._with_jobs(tree, document["tenant"], document["archive"], origins)

    async def _chunk(self, id: str, file: str | None) -> Tree:
        found = await self._planned(id, file)
        chunks = await provenance.chunks_of(self.blobs, found.document)
        chunk = next(each for each in chunks.chunks if each.id == id) if chunks else None
        if chunk is None:
            raise UserError(f"The chunk {id} is planned, but its document's chunks are not known. Try again.")
        tree = Tree(labels.text(labels.chunk_label(chunk), "bold"))
        tree.add(labels.text(labels.quoted(chunk.text)))
        place = tree.add("comes from")
        for span in chunk.spans:
            place.add(f"page {span.page}, characters {span.start} to {span.end}")
        await self._add_document(place, found.document)
        for dropped in found.plan.dropped:
            if dropped.chunk == id:
                tree.add(f"dropped: it says the same as {dropped.of} (similarity {dropped.similarity:.2f})")
        assembled = found.archive["assembled"]
        origins = await provenance.origins_naming(self.blobs, assembled, [id]) if assembled else {}
        led = tree.add(f"led to {labels.mentions(id, origins)}")
        for split, own in origins.items():
            for origin in own:
                if origin.chunk == id:
                    led.add(labels.text(labels.row_label(origin, split)))
        await self._add_data_sets(tree, await self._recurated(found.archive, [id]))
        return await self._with_jobs(tree, found.document["tenant"], found.archive["id"], origins)

    async def _example(self, id: str, file: str | None) -> Tree:
        async for archive in self._archives(file):
            assembled = archive["assembled"]
            own = await provenance.origins_naming(self.blobs, assembled, [id]) if assembled else {}
            # Its duplicate may have been left out, so that it is in what was re-curated alone.
            sets = [(archive, own), *await self._recurated(archive, [id])]
            holding = [(each, origins) for each, origins in sets if origins and any(origins.values())]
            if holding:
                tree = await self._rows(id, holding[0][0], holding[0][1])
                await self._add_data_sets(tree, holding[1:])
                return tree
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

    async def _rows(self, id: str, archive: View, origins: Origins) -> Tree:
        """Return the tree of one example's rows, or of one row: all share a chunk."""
        origin = next(each for own in origins.values() for each in own)
        tree = Tree(labels.text(id, "bold"))
        for split, own in origins.items():
            for each in own:
                tree.add(labels.text(labels.row_label(each, split)))
        place = tree.add("comes from")
        if not origin.document:
            place.add(f"a general row against forgetting, of the file with SHA-256 {origin.sha256}")
            return await self._with_jobs(tree, archive["tenant"], archive["id"], origins)
        if origin.span is not None:
            at = f"page {origin.span.page}, characters {origin.span.start} to {origin.span.end}"
            place.add(labels.text(f"{at}: {labels.quoted(origin.quote)}"))
        chunk = place.add(origin.chunk)
        chunk.add(labels.text(f"written by: {origin.generator}{labels.scores(origin.scores)}"))
        await self._add_document(place, await self._get("documents", origin.document, "document"), origin.sha256)
        return await self._with_jobs(tree, archive["tenant"], archive["id"], origins)

    async def _unused(self, id: str, archive: View) -> Tree | None:
        """Return the tree of a question that no data set holds: it was rejected, or is a duplicate, or still waits."""
        home = await provenance.with_documents(self.documents, archive)
        asked = {"archive": home["id"], "examples": {"$ne": None}}
        for document in await self.documents.find("documents", asked, [("id", 1)]):
            async for line in lines.naming(self.blobs, document["examples"]["examples"]["key"], [id]):
                example = Example.model_validate_json(line)
                tree = Tree(labels.text(f"{id}: {labels.quoted(example.question)}", "bold"))
                tree.add(labels.text(labels.why_unused(example, archive)))
                place = tree.add("comes from")
                place.add(labels.text(f"page {example.span.page}: {labels.quoted(example.quote)}"))
                place.add(labels.text(f"{example.chunk}, written by: {example.generator} {example.model}".rstrip()))
                await self._add_document(place, document)
                return tree
        return None

    async def _job(self, id: str) -> Tree:
        job = await self._get("jobs", id, "job")
        tree = Tree(labels.text(labels.job_label(job), "bold"))
        await self._add_files(tree.add("comes from"), job)
        await self._add_models(tree.add("led to"), {"job": id, "tenant": job["tenant"]})
        return tree

    async def _model(self, name: str) -> Tree:
        found = await self.documents.find("models", {"id": name}, limit=1)
        if not found:
            kinds = "a file, document, chunk, row, job or model"
            raise UserError(f"Nothing is known by the name {name}; it should be {kinds}, see `temper trace --help`.")
        model = found[0]
        tree = Tree(labels.text(labels.model_label(model), "bold"))
        if model["job"] is not None:
            job = await self._get("jobs", model["job"], "job")
            above = tree.add("comes from").add(labels.text(labels.job_label(job)))
            await self._add_files(above, job)
            return tree
        led = tree.add("led to")
        for job in await self.documents.find("jobs", {"created.model": name}, [("created_at", 1), ("id", 1)]):
            await self._add_models(
                led.add(labels.text(labels.job_label(job))), {"job": job["id"], "tenant": job["tenant"]}
            )
        return tree

    async def _add_files(self, tree: Tree, job: View) -> None:
        for role in ("training_file", "validation_file"):
            if job["created"][role] is not None:
                await self._add_file(tree.add(role.replace("_", " ")), job["created"][role])
        tree.add(labels.text(f"model {job['created']['model']}"))

    async def _add_file(self, tree: Tree, id: str) -> None:
        file, archive = await self.documents.get("files", id), await self.documents.get("archives", id)
        branch = tree.add(labels.text(labels.file_label(file) if file else f"{id}, which nobody has heard of"))
        if archive is not None:
            made = branch.add(labels.text(labels.archive_label(archive)))
            home = await provenance.with_documents(self.documents, archive)
            if home is not archive:
                await self._add_file(made.add("re-curated of"), home["id"])

    async def _add_document(self, tree: Tree, document: View, sha256: str | None = None) -> None:
        hashed = f", SHA-256 {sha256}" if sha256 else ""
        await self._add_file(tree.add(labels.text(labels.document_label(document) + hashed)), document["archive"])

    async def _add_models(self, tree: Tree, where: View) -> None:
        for model in await self.documents.find("models", where, [("step", 1), ("id", 1)]):
            tree.add(labels.text(labels.model_label(model)))

    async def _with_jobs(self, tree: Tree, tenant: str, file: str, origins: Origins | None = None) -> Tree:
        """Add the jobs on a file and their models; none where `origins` are of rows that are not trained on."""
        if origins is not None and not origins.get("train"):
            tree.add("no job was trained on it")
            return tree
        jobs = await provenance.jobs_using(self.documents, tenant, file)
        led = tree.add("jobs and models" if jobs else "no job was trained on it")
        for job in jobs:
            branch = led.add(labels.text(f"{job['id']} ({job['status']}, {job['used_as'].replace('_', ' ')})"))
            for model in job["models"]:
                branch.add(labels.text(model["id"] + (" (deleted)" if model["deleted"] else "")))
        return tree

    async def _recurated(self, archive: View, names: Collection[str] = ()) -> list[DataSet]:
        """Return the data sets that were re-curated of an archive's, with the lineage of rows that name one of these.

        Of one that is deleted nobody knows any more which rows it had.
        """
        found: list[DataSet] = []
        for file in await provenance.recurated_of(self.documents, archive["tenant"], archive["id"]):
            other = await self.documents.get("archives", file["id"])
            if other is not None:
                known = names and other["assembled"] and not other["deleted"]
                read = provenance.origins_naming(self.blobs, other["assembled"], names) if known else None
                found.append((other, await read if read else None))
        return found

    async def _add_data_sets(self, tree: Tree, sets: Iterable[DataSet]) -> None:
        for other, origins in sets:
            gone = ", deleted" if other["deleted"] else ""
            branch = tree.add(labels.text(f"re-curated as {other['id']}{gone}: {labels.archive_label(other)}"))
            for split, own in (origins or {}).items():
                branch.add(f"{labels.count(len(own), 'row')} for {'training' if split == 'train' else 'held out'}")
            await self._with_jobs(branch, other["tenant"], other["id"], origins)

    async def _planned(self, chunk: str, file: str | None) -> TracedThing:
        async for archive in self._archives(file):
            home = await provenance.with_documents(self.documents, archive)
            if home["planned"] is None:
                continue
            stored = await self.blobs.get(home["planned"]["plan"]["key"])
            if chunk.encode() in stored:
                plan = CorpusPlan.model_validate_json(stored)
                of = {each.chunk: each.document for each in plan.dropped}
                of |= {each.chunk: each.document for each in plan.chunks}
                if chunk in of:
                    return TracedThing(archive, await self._get("documents", of[chunk], "document"), plan)
        raise _unknown("chunk", chunk, file)

    async def _archives(self, file: str | None) -> AsyncIterator[View]:
        """Yield the archive named, or every one with documents of its own that is not deleted, the newest first."""
        if file is not None:
            yield await self._get("archives", file, "archive of documents")
            return
        every = {"deleted": False, "source": None}
        for archive in await self.documents.find("archives", every, [("created_at", -1), ("id", -1)]):
            yield archive

    async def _get(self, model: str, id: str, what: str) -> View:
        found = await self.documents.get(model, id)
        if found is None:
            raise UserError(f"There is no {what} {id}. `temper replay print --subject {id}` shows what is known of it.")
        return found


def _unknown(what: str, id: str, file: str | None) -> UserError:
    where = f"the file {file}" if file else "any file that is not deleted"
    return UserError(f"There is no {what} {id} in {where}.")
