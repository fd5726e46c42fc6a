"""Archives as plan_corpus and synthesize_examples leave them: documents of short facts, planned and asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contracts.canonical import sha256
from contracts.corpus import Chunk, Chunks, CorpusPlan, Example, PlannedChunk, Span, Split

PARTS = ("pump", "kettle", "lathe", "crane", "boiler", "mixer", "press", "oven", "loader", "scanner")
TOPICS = ("weight", "price", "pressure", "warranty", "colour", "supplier", "volume", "length")


@dataclass(frozen=True)
class Archive:
    """What assembly is given."""

    plan: CorpusPlan
    documents: tuple[Chunks, ...]
    examples: tuple[Example, ...]

    def of(self, document: str) -> tuple[Example, ...]:
        """Return the examples of one document."""
        return tuple(example for example in self.examples if example.document == document)


def name(prefix: str, *key: Any) -> str:
    return f"{prefix}-{sha256(repr(key).encode())[:32]}"


def chunk(document: str, index: int, text: str, *, heading: str = "", start: int | None = None) -> Chunk:
    """Return a chunk of one span on page 1 + index // 4."""
    begin = index * 1000 if start is None else start
    span = Span(page=1 + index // 4, start=begin, end=begin + len(text))
    return Chunk(
        id=name("chunk", document, index, text),
        document=document,
        index=index,
        heading=heading,
        text=text,
        tokens=len(text.split()),
        spans=(span,),
    )


def example(of: Chunk, quote: str, question: str, answer: str, split: Split = "train", **more: Any) -> Example:
    """Return an example whose quote stands in the chunk."""
    at = of.spans[0].start + max(of.text.find(quote), 0)
    given: dict[str, Any] = {
        "id": name("row", of.id, question, answer),
        "document": of.document,
        "chunk": of.id,
        "split": split,
        "question": question,
        "answer": answer,
        "quote": quote,
        "span": Span(page=of.spans[0].page, start=at, end=at + len(quote)),
        "generator": "extractive",
        "scores": {"overlap": 0.5},
    }
    return Example(**{**given, **more})


def archive(documents: int = 8, chunks: int = 8, held_out: int = 2, asked: int = 1) -> Archive:
    """Return documents of `chunks` facts each, the last `held_out` documents held out, `asked` questions per chunk."""
    planned, files, examples = [], [], []
    for number in range(documents):
        document = name("doc", number)
        split: Split = "held_out" if number >= documents - held_out else "train"
        thing = f"{PARTS[number % len(PARTS)]} {number}"
        made = []
        for index in range(chunks):
            facts = [(f"{TOPICS[index % len(TOPICS)]} {index}.{turn}", 100003 * number + 101 * index + turn)
                     for turn in range(max(asked, 1))]  # fmt: skip
            text = " ".join(f"The {topic} of the {thing} is {value} units." for topic, value in facts)
            made.append(chunk(document, index, text))
            for topic, value in facts[:asked]:
                quote, question = (
                    f"The {topic} of the {thing} is {value} units.",
                    f"What is the {topic} of the {thing}?",
                )
                examples.append(example(made[-1], quote, question, f"{value} units", split))
        files.append(
            Chunks(document=document, path=f"{thing}.txt", sha256=sha256(document.encode()), chunks=tuple(made))
        )
        planned += [PlannedChunk(chunk=part.id, document=document, split=split, rows=asked) for part in made]
    planned.sort(key=lambda planned: planned.chunk)
    plan = CorpusPlan(seed=7, chunks=tuple(planned), dropped=(), rejected_documents=())
    return Archive(plan, tuple(files), tuple(examples))


def planned(split: Split, parts: Sequence[Chunk], rows: int = 1) -> list[PlannedChunk]:
    """Return the chunks as a plan has them."""
    return [PlannedChunk(chunk=part.id, document=part.document, split=split, rows=rows) for part in parts]
