"""The functions between documents and a data set, put together: subscriptions, stages, what is reconsidered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from contracts.blobs import BlobRef
from contracts.documents import View
from contracts.documents.models import PUBLIC, model_id
from contracts.envelope import Event
from contracts.manifest import Manifest, ManifestRef
from contracts.ports import Child, Lease, UnavailableError, WakeUp
from functions.assemble_dataset import handler as assembly
from functions.assemble_dataset import work as assemble
from functions.assemble_dataset.core import Settings as RowSettings
from functions.chunk_text import handler as chunking
from functions.chunk_text import work as chunk
from functions.extract_text import handler as extraction
from functions.extract_text import work as extract
from functions.extract_zip import handler as unpacking
from functions.extract_zip import work as unpack
from functions.plan_corpus import handler as planning
from functions.plan_corpus import work as plan
from functions.synthesize_examples import handler as synthesis
from functions.synthesize_examples import work as synthesize
from infra.adapters.http.generator import HttpGenerate
from infra.adapters.http.serving import MANIFEST_HEADER
from infra.adapters.kafka import Subscription
from infra.runtime.deleted_files import ErasingBlobs
from infra.runtime.leases import Stage, shared
from infra.runtime.stages import STAGES, GiveUp, itself, of_archive, said_again
from infra.runtime.world import World, now_ms
from infra.settings import Endpoint, Settings, endpoints

DOCUMENTS_AT_ONCE = 2
"""Documents of one tenant that are read, cut or asked about by rules at the same time by one worker."""
ANSWERS_AT_ONCE = 8
"""Documents asked about at the same time where endpoints answer."""


def subscriptions(here: World, wake: WakeUp, give_up: GiveUp) -> tuple[Subscription, ...]:
    """Return who reacts to what."""
    documents, controls, blobs = here.documents, here.controls, here.blobs
    erasing = ErasingBlobs(blobs, documents)

    async def read(event: Event) -> None:
        if event.type == "document.uploaded":
            await extraction.on_document_uploaded(event, controls, wake)
        else:
            await extraction.on_zip_extracted(event, blobs, controls, wake)

    join_cut = partial(planning.on_document_ended, blobs=erasing, documents=documents, controls=controls, wake=wake)
    join_made = partial(assembly.on_examples_ended, blobs=erasing, documents=documents, controls=controls, wake=wake)
    opened_by = (*assembly.TOPICS, "zip.extracted", "document.uploaded")
    no_data_set = give_up.on_failure(assembly.STAGE, dict.fromkeys(opened_by, of_archive(assembly.STAGE)))
    return (
        Subscription(
            "extract_zip",
            ("zip.uploaded",),
            partial(unpacking.on_zip_uploaded, controls=controls, wake=wake),
            give_up.on_failure(unpacking.STAGE, {"zip.uploaded": itself}),
        ),
        Subscription("extract_text", ("zip.extracted", "document.uploaded"), read, no_data_set),
        Subscription(
            "chunk_text",
            ("document.extracted",),
            partial(chunking.on_document_extracted, controls=controls, wake=wake),
            give_up.on_failure(chunking.STAGE, {"document.extracted": _document}),
        ),
        Subscription(
            "plan_corpus",
            planning.TOPICS,
            join_cut,
            give_up.on_failure(planning.STAGE, dict.fromkeys(planning.TOPICS, of_archive(planning.STAGE))),
        ),
        Subscription(
            "synthesize_examples",
            ("corpus.planned",),
            partial(synthesis.on_corpus_planned, blobs=blobs, controls=controls, wake=wake),
            no_data_set,
        ),
        Subscription("assemble_dataset", assembly.TOPICS, join_made, no_data_set),
    )


def _document(event: Event) -> tuple[str, Mapping[str, Any]]:
    said = event.data.model_dump(mode="json")
    return event.subject + STAGES[chunking.STAGE].suffix, {name: said[name] for name in ("archive", "path")}


def stages(here: World, child: Child, scratch: Path, settings: Settings) -> Sequence[Stage]:
    """Return the long work, a stage as often as it may run at the same time."""
    blobs, rows, generators = ErasingBlobs(here.blobs, here.documents), row_settings(settings), Generators(settings)

    async def ask(lease: Lease) -> Sequence[Event]:
        base = await generators.base(here) if settings.closed_book else None
        return await synthesize.work(lease, blobs, generators.of(lease.claim.control.tenant), base)

    async def put_together(lease: Lease) -> Sequence[Event]:
        general = await general_rows(here, settings.general_file)
        return await assemble.work(lease, blobs, child, scratch, rows.model_copy(update={"general": general}))

    async def cut(lease: Lease) -> Sequence[Event]:
        tokenizer = await tokenizer_file(here, settings.target_model, settings.cache)
        return await chunk.work(lease, blobs, child, scratch, tokenizer, settings.chunk_tokens, settings.chunk_overlap)

    async def weigh(lease: Lease) -> Sequence[Event]:
        return await plan.work(lease, blobs, child, scratch, settings.held_out, settings.rows_per_chunk)

    unpacked = Stage(unpacking.STAGE, lambda lease: unpack.work(lease, blobs, child, scratch), unpack.exhausted, {})
    read = Stage(extraction.STAGE, lambda lease: extract.work(lease, blobs, child, scratch), extract.exhausted, {})
    asked = Stage(synthesis.STAGE, ask, synthesize.exhausted, {}, generators.per_tenant)
    return [
        *shared(unpacked),
        *shared(read, DOCUMENTS_AT_ONCE),
        *shared(Stage(chunking.STAGE, cut, chunk.exhausted, {}), DOCUMENTS_AT_ONCE),
        *shared(Stage(planning.STAGE, weigh, plan.exhausted, {})),
        *[asked] * generators.at_once,
        *shared(Stage(assembly.STAGE, put_together, assemble.exhausted, {})),
    ]


class Generators:
    """The endpoints that write questions, a tenant's own or everybody's, and the model asked without context."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own = {tenant: _client(endpoint) for tenant, endpoint in endpoints(settings.generators_file).items()}
        self._all: HttpGenerate | None = None
        if settings.generator_url is not None:
            key = settings.generator_key or SecretStr("")
            self._all = _client(Endpoint(url=settings.generator_url, model=settings.generator_model, key=key))
        serving = settings.inference_url
        self._served = HttpGenerate(f"{serving}/v1", settings.target_model) if serving else None
        waits = self._all is not None or bool(self._own)
        self.at_once = ANSWERS_AT_ONCE if waits else DOCUMENTS_AT_ONCE + 1
        """Documents asked about at the same time: who waits for an endpoint needs no processor."""
        self.per_tenant = ANSWERS_AT_ONCE // 2 if waits else DOCUMENTS_AT_ONCE
        """Of one tenant, so that its large documents, or an endpoint that hangs, hold nobody else's."""

    def of(self, tenant: str) -> HttpGenerate | None:
        """Return who writes a tenant's questions, None where rules do it."""
        return self._own.get(tenant, self._all)

    async def base(self, here: World) -> HttpGenerate | None:
        """Return the target model as it is served; None where nothing serves. Raises UnavailableError without it."""
        if self._served is None:
            return None
        name = self._settings.target_model
        manifest = ManifestRef.model_validate((await _target(here, name))["manifest"])
        return self._served.another(name, {MANIFEST_HEADER: f"{manifest.key}#{manifest.sha256}"})


def _client(endpoint: Endpoint) -> HttpGenerate:
    return HttpGenerate(endpoint.url, endpoint.model, endpoint.key.get_secret_value())


def row_settings(settings: Settings) -> RowSettings:
    """Return how rows are put together; raises ValidationError for a setting out of its bounds."""
    return RowSettings(
        variants=settings.row_variants,
        hard=settings.hard_distractors,
        random=settings.random_distractors,
        context_tokens=settings.context_tokens,
        headings=settings.shown_headings,
        absent_share=settings.absent_share,
        general_share=settings.general_share,
        min_coverage=settings.min_coverage,
    )


async def general_rows(here: World, file: str | None) -> BlobRef | None:
    """Return the rows of the setting `general_file`; raises UnavailableError until they have been found valid."""
    if file is None:
        return None
    found = await here.documents.get("files", file)
    if found is None or found["deleted"] or found["validated"] is None:
        raise UnavailableError("file", f"TEMPER_GENERAL_FILE is {file}, which is no valid file; upload one or unset it")
    return BlobRef.model_validate(found["validated"]["blob"])


async def tokenizer_file(here: World, model: str, cache: Path) -> Path:
    """Return the tokenizer.json of a registered base model, by hash; raises UnavailableError until there is one."""
    found = await _target(here, model)
    manifest = Manifest.model_validate_json(await here.blobs.get(found["manifest"]["key"]))
    file = next(each for each in manifest.files if each.path == "tokenizer.json")
    path = cache / "tokenizers" / f"{file.sha256}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        await here.blobs.fetch(BlobRef(key=file.key, sha256=file.sha256, bytes=file.bytes), path)
    return path


async def _target(here: World, model: str) -> View:
    found = await here.documents.get("models", model_id(PUBLIC, model))
    if found is None or found["deleted"]:
        raise UnavailableError("model", f"the target model {model} is not registered; add it or set another one")
    return found


async def reconsider(archive: View, here: World, wake: WakeUp) -> None:
    """Take every step that the state of an archive allows, once more; steps that were taken stay as they are."""
    documents, controls, blobs = here.documents, here.controls, here.blobs
    erasing = ErasingBlobs(blobs, documents)
    if archive["source"] is not None:
        unknown_since = now_ms() - int(here.settings.file_wait_seconds * 1000)
        await assembly.settle(archive["id"], erasing, documents, controls, wake, unknown_since=unknown_since)
        return
    said = partial(said_again, archive)
    if archive["planned"]:
        await synthesis.on_corpus_planned(said("corpus.planned", archive["planned"]), blobs, controls, wake)
        await assembly.settle(archive["id"], erasing, documents, controls, wake)
        return
    if archive["single"]:
        await extraction.on_document_uploaded(said("document.uploaded", archive["uploaded"]), controls, wake)
    elif archive["extracted"]:
        await extraction.on_zip_extracted(said("zip.extracted", archive["extracted"]), blobs, controls, wake)
    else:
        await unpacking.on_zip_uploaded(said("zip.uploaded", archive["uploaded"]), controls, wake)
    for document in await documents.find("documents", {"archive": archive["id"], "cut": False}):
        if document["extracted"]:
            await chunking.on_document_extracted(
                said_again(document, "document.extracted", document["extracted"]), controls, wake
            )
    await planning.settle(archive["id"], erasing, documents, controls, wake)
