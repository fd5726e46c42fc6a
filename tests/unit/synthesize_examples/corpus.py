"""A document as it lies in the blobs: headings, paragraphs and tables, a chunk for each section."""

from collections.abc import Mapping

from contracts.canonical import sha256
from contracts.corpus import (
    Chunk,
    Chunks,
    CorpusPlan,
    Element,
    Kind,
    Page,
    PlannedChunk,
    Span,
    Split,
    Text,
    text_at,
)
from contracts.envelope import derived_id

ARCHIVE = "file-" + "a" * 32
DOCUMENT = "doc-" + "d" * 32
SHA = sha256(b"handbook")


def document(
    sections: Mapping[str, str], path: str = "handbook.md", splits: Mapping[str, Split] | None = None, rows: int = 20
) -> tuple[Text, Chunks, CorpusPlan]:
    """Return text, chunks and plan of a document with these sections; a line that holds ` | ` or `; ` is a row."""
    text, elements, chunks = "", list[Element](), list[Chunk]()
    places: list[tuple[str, list[Span]]] = []
    for heading, body in sections.items():
        spans = []
        for line in (heading, *body.split("\n\n")):
            span = Span(page=1, start=len(text), end=len(text) + len(line))
            table = (": " in line and "; " in line) or " | " in line
            kind: Kind = "title" if line == heading else "table" if table else "text"
            elements.append(Element(kind=kind, span=span))
            if kind != "title":
                spans.append(span)
            text += line + "\n\n"
        places.append((heading, spans))
    pages = (Page(number=1, text=text),)
    for index, (heading, spans) in enumerate(places):
        id = "chunk-" + derived_id(DOCUMENT, index).replace("-", "")
        said = text_at(pages, spans)
        chunks.append(
            Chunk(id=id, document=DOCUMENT, index=index, heading=heading, text=said, tokens=1, spans=tuple(spans))
        )
    planned = tuple(
        PlannedChunk(chunk=chunk.id, document=DOCUMENT, split=(splits or {}).get(chunk.heading, "train"), rows=rows)
        for chunk in sorted(chunks, key=lambda chunk: chunk.id)
    )
    return (
        Text(
            document=DOCUMENT,
            path=path,
            format="md",
            sha256=SHA,
            paged=False,
            pages=pages,
            elements=tuple(elements),
        ),
        Chunks(document=DOCUMENT, path=path, sha256=SHA, chunks=tuple(chunks)),
        CorpusPlan(seed=0, chunks=planned, dropped=(), rejected_documents=()),
    )
