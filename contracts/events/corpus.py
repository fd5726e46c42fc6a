"""Documents on their way to a data set: an archive, its documents, their chunks, the rows made of them.

An archive is a file to the API, so that a job may name it; a document that came alone is an archive of one. All bytes
made of an archive lie under its own prefix, `{tenant}/{archive}/…`, and go with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.blobs import BlobRef
from contracts.bounds import LARGEST, Code, Count, Hash, Id, Key, Phrase, Sentence, Share
from contracts.events import Payload
from contracts.manifest import ManifestRef

Generator = Literal["extractive", "endpoint", "base"]
"""Who wrote the questions: rules over the text, a model behind an OpenAI-compatible endpoint, or the target model."""
Writer = Literal["endpoint", "tenant_endpoint", "server_endpoint", "base", "extractive"]
"""Who may be asked to write them; `endpoint` is the tenant's own, or else the server's."""
Score = Literal["support", "closed_book"]
"""What a question is rated by: the share of its answer's words that the quote says, and that the base model says
without the context."""
NO_EMBEDDING = "none"
"""Instead of a model's name: no model of embeddings, whatever the server's setting."""
Language = Annotated[str, Field(max_length=16)]
Bounds = Mapping[Score, Share]
"""Score → the least or the most that a question may have; one that was not rated is kept."""


class Problem(BaseModel):
    """Something in a document that could not be read."""

    model_config = ConfigDict(frozen=True)

    page: Count | None = None
    """1-based; None where a format has no pages."""
    code: Code
    message: Phrase
    """What is wrong and what to do, in a sentence."""


class Tried(BaseModel):
    """Whoever was asked to write questions before, or is taken, and why."""

    model_config = ConfigDict(frozen=True)

    generator: Generator
    model: str = Field(default="", max_length=256)
    code: Code
    """taken; weak, too_slow, timed_out, unavailable, refused: it does not write; fell: nothing of it could be used."""
    message: Phrase
    asked: Count = 0
    """Chunks that it was tried with."""
    kept: Count = 0
    """Questions about them that passed the checks."""
    share: Share | None = None
    """Of what it wrote, and of chunks that it wrote nothing readable about; None where that was not looked at."""
    threshold: Share | None = None
    """The least share that the settings ask for."""
    failed: Mapping[Code, Count] = Field(default_factory=dict, max_length=20)
    """Reason → questions or chunks lost to it."""


class DatasetAsked(BaseModel):
    """How a data set is to be made, as far as its request said; what it left open is the server's setting."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    target_model: str | None = Field(default=None, min_length=1, max_length=256)
    """The base model in whose tokens documents are cut, and that is asked without context."""
    generator: Writer | Annotated[tuple[Writer, ...], Field(min_length=1, max_length=5)] | None = None
    """Who writes the questions, and nobody else; of several, the first that can."""
    rows_per_chunk: int | None = Field(default=None, ge=1, le=50)
    held_out: Share | None = Field(default=None, le=0.9)
    chunk_tokens: int | None = Field(default=None, ge=16, le=8192)
    chunk_overlap: int | None = Field(default=None, ge=0, le=4096)
    row_variants: int | None = Field(default=None, ge=1, le=16)
    distractors: int | None = Field(default=None, ge=0, le=64)
    """Passages beside the right one; one of them is drawn by chance, the others are found for the question."""
    context_tokens: int | None = Field(default=None, ge=16, le=LARGEST)
    shown_headings: int | None = Field(default=None, ge=0, le=9)
    absent_share: Share | None = Field(default=None, le=0.5)
    general_share: Share | None = Field(default=None, le=0.9)
    min_coverage: Share | None = None
    """Share of the training chunks that need a row, or else there is no data set."""
    closed_book: bool | None = None
    """Ask the target model each question without its context, and drop those that it answers."""
    embedding_model: str | None = Field(default=None, min_length=1, max_length=256)
    """The model of embeddings by which chunks that say the same are found and distractors ranked, or NO_EMBEDDING."""
    duplicate_similarity: float | None = Field(default=None, ge=0.5, le=1)
    """Cosine of two chunks' vectors from which on one of them is enough, where both have the same numbers."""


class Embedded(BaseModel):
    """Vectors of texts, each of length 1."""

    model_config = ConfigDict(frozen=True)

    model: str = Field(max_length=256)
    """By whose name they were asked for."""
    manifest: ManifestRef
    """What answered to that name then."""
    vectors: BlobRef
    """float32, little endian, [texts, dimensions]: of chunks in the order of their ids, of questions likewise."""
    dimensions: int = Field(ge=1, le=65536)
    cut: Count = 0
    """Texts that were longer than the model's context, so that their end was not read."""


class ZipUploaded(Payload):
    """An archive of documents is stored."""

    blob: BlobRef
    filename: str = Field(max_length=1024)
    purpose: str = Field(max_length=64)
    expires_after: int | None = Field(default=None, ge=3600, le=2592000)
    """Seconds after creation at which the file may go."""
    dataset: DatasetAsked | None = None
    """How its data set is to be made."""


class DocumentUploaded(Payload):
    """One document is stored: an archive of one."""

    blob: BlobRef
    filename: str = Field(max_length=1024)
    purpose: str = Field(max_length=64)
    format: str = Field(max_length=16)
    """As sniffed from the first bytes: pdf, docx, html, md or txt."""
    expires_after: int | None = Field(default=None, ge=3600, le=2592000)
    dataset: DatasetAsked | None = None


class DatasetRecurated(Payload):
    """A new data set is to be made of questions that are there already, without those of too low or high a score."""

    source: str = Field(max_length=128, pattern="^file-[0-9A-Za-z-]+$")
    """The file whose documents and questions they are; not one that is itself re-curated."""
    blob: BlobRef
    """The bytes of `source`."""
    filename: str = Field(max_length=1024)
    purpose: Literal["fine-tune"] = "fine-tune"
    expires_after: int | None = Field(default=None, ge=3600, le=2592000)
    min_score: Bounds = Field(default_factory=dict)
    max_score: Bounds = Field(default_factory=dict)


class SkippedMember(BaseModel):
    """A member of an archive that nothing is made of."""

    model_config = ConfigDict(frozen=True)

    path: Key
    code: Code
    message: Phrase


class ZipExtracted(Payload):
    """Every member of an archive was taken or skipped."""

    manifest: BlobRef
    """A JSON array of members: path, bytes, sha256, and either document (an id) and format, or code and message."""
    taken: Count
    skipped: Count
    first_skipped: tuple[SkippedMember, ...] = Field(default=(), max_length=20)
    """The first of them, without those that belong to the system that packed the archive."""


class DocumentExtracted(Payload):
    """A document's text is stored."""

    archive: Id
    """The file that it came in."""
    path: Key
    """Its name there."""
    text: BlobRef
    """JSON: pages with their text, and elements (headings, paragraphs, lists, tables) as spans of it."""
    pages: Count
    characters: Count
    problems: tuple[Problem, ...] = Field(default=(), max_length=100)
    """Pages that could not be read, the first hundred."""


class DocumentRejected(Payload):
    """A document that nothing can be made of."""

    archive: Id
    path: Key
    code: Code
    message: Sentence
    page: Count | None = None


class DocumentChunked(Payload):
    """A document was cut into chunks of the target model's tokens."""

    archive: Id
    chunks: BlobRef
    """JSON: chunks with id, text, tokens, heading, spans (page, start, end) and neighbours."""
    n_chunks: Count
    tokens: Count


class CorpusPlanned(Payload):
    """Every document has ended one way or the other; what is held out is fixed before any row is made."""

    plan: BlobRef
    """JSON: per chunk its split and budget; what was dropped as a duplicate of what."""
    documents: Count
    chunks: Count
    held_out: Count
    """Chunks that training never sees."""
    duplicates: Count
    rows: Count
    """Rows asked for in all."""
    embedded: Embedded | None = None
    """The vectors of all chunks, also of those that were dropped, where they were asked for."""


class ExamplesSynthesized(Payload):
    """The rows of one document were made and checked."""

    archive: Id
    examples: BlobRef
    """JSON lines: question, answer, quote with its span, chunk, split, scores; rejected ones with the reason."""
    generator: Generator
    kept: Count
    rejected: Count
    covered: Count
    """Chunks with at least one kept row."""
    language: Language = ""
    """Of the document, where rules wrote: ISO 639-1; empty where nobody measured it."""
    tried: tuple[Tried, ...] = Field(default=(), max_length=8)
    """Who was to write them, in order."""


class ExamplesFailed(Payload):
    """No rows could be made of one document."""

    archive: Id
    code: Code
    message: Sentence
    language: Language = ""
    """Of the document, where rules were to write."""
    tried: tuple[Tried, ...] = Field(default=(), max_length=8)


class DatasetAssembled(Payload):
    """The archive's data set is whole: what a job trains on."""

    blob: BlobRef
    """Canonical chat JSONL, as of a validated file of rows."""
    rows: Count
    version: Hash
    """SHA-256 of the rows: a data set is frozen under it."""
    held_out: BlobRef | None = None
    """Questions about chunks that training never sees, in the same form."""
    held_out_rows: Count = 0
    lineage: BlobRef
    """JSON lines beside the rows: chunk, pages, span, file hash, generator, scores."""
    report: BlobRef
    """JSON: coverage per document, page and chunk; rows dropped by reason; token histogram; samples."""
    coverage: Share
    """Share of the training chunks with at least one row."""
    generator: Generator
    warnings: tuple[Sentence, ...] = Field(default=(), max_length=20)
    """What a person should know before a job is paid for: little coverage, languages that nobody wrote questions in."""


class DatasetFailed(Payload):
    """No data set can be made of the archive."""

    code: Code
    message: Sentence
    coverage: Share | None = None
