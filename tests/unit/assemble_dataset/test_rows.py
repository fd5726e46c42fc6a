"""What assembly makes of an archive: rows, contexts, lineage, whatever the order in which the documents come."""

import io
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.asking import REFUSAL
from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.corpus import Chunk, Chunks, CorpusPlan, RowOrigin
from contracts.events.corpus import Tried
from functions.assemble_dataset import mine
from functions.assemble_dataset.build import build
from functions.validate_file import check
from tests.unit.assemble_dataset.archive import Archive, archive, chunk, example, name, planned


@dataclass(frozen=True)
class Built:
    """What lies in the files."""

    verdict: dict[str, Any]
    files: Mapping[str, bytes]

    def rows(self, split: str = "rows") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[f"{split}.jsonl"].splitlines()]

    def origins(self, file: str = "lineage") -> list[RowOrigin]:
        return [RowOrigin.model_validate_json(line) for line in self.files[f"{file}.jsonl"].splitlines()]

    @property
    def report(self) -> Any:
        return json.loads(self.files["report.json"])


class Build:
    """Runs assembly in a fresh folder each time."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def __call__(
        self, made: Archive, general: bytes | None = None, tried: Sequence[Tried] = (), **settings: Any
    ) -> Built:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        (folder / "plan").write_text(made.plan.model_dump_json())
        documents: list[tuple[str, str | None]] = []
        for number, document in enumerate(made.documents):
            chunks, examples = folder / f"{number}.chunks", folder / f"{number}.examples"
            chunks.write_text(document.model_dump_json())
            lines = "".join(example.model_dump_json() + "\n" for example in made.of(document.document))
            examples.write_text(lines)
            documents.append((str(chunks), str(examples) if lines else None))
        spec: dict[str, Any] = {"plan": str(folder / "plan"), "documents": documents, "general": None}
        spec["tried"] = [each.model_dump(mode="json") for each in tried]
        if general is not None:
            (folder / "general").write_bytes(general)
            spec["general"] = str(folder / "general")
            settings["general"] = BlobRef(key="acme/g", sha256=sha256(general), bytes=len(general)).model_dump()
        verdict = build({**spec, "folder": str(folder), "settings": settings})
        return Built(verdict, {path.name: path.read_bytes() for path in folder.glob("*.json*")})


@pytest.fixture
def run(tmp_path: Path) -> Build:
    return Build(tmp_path)


def passages_of(row: Mapping[str, Any]) -> list[str]:
    """Return the passages of a row's context."""
    return re.findall(r"^\[\d+\] (.*)$", row["messages"][1]["content"], re.MULTILINE)


def texts(made: Archive) -> dict[str, str]:
    return {part.id: part.text for document in made.documents for part in document.chunks}


def test_rows_are_in_the_canonical_form_that_a_checked_file_has(run: Build) -> None:
    built = run(archive())
    for file in ("rows", "held_out"):
        bare = [{"messages": row["messages"]} for row in built.rows(file)]
        out = io.BytesIO()
        found = check.verdict(io.BytesIO("\n".join(map(json.dumps, bare)).encode()), out, io.BytesIO())
        assert (found["ok"], found["rows"]) == (True, len(bare))
        assert [{**json.loads(line), "variant_of": row["variant_of"]} for line, row in
                zip(out.getvalue().splitlines(), built.rows(file), strict=True)] == built.rows(file)  # fmt: skip
    assert built.verdict["version"] == sha256(built.files["rows.jsonl"])


def test_every_row_leads_back_to_its_passages_in_their_places(run: Build) -> None:
    made = archive()
    built, shown = run(made), texts(made)
    examples = {example.id: example for example in made.examples}
    for file, lineage in (("rows", "lineage"), ("held_out", "held_out.lineage")):
        for row, origin in zip(built.rows(file), built.origins(lineage), strict=True):
            source, context = examples[origin.example], passages_of(row)
            assert row["line"] == origin.line
            assert row["messages"][1]["content"].endswith(f"\n\nQuestion: {source.question}")
            assert len(context) == len(origin.distractors) + (origin.position is not None)
            if origin.position is not None:
                assert context.pop(origin.position) == shown[origin.chunk]
                assert row["messages"][2]["content"] == source.answer
                assert (origin.quote, origin.span) == (source.quote, source.span)
            assert context == [shown[chunk] for chunk in origin.distractors]
            assert origin.scores == source.scores


def test_no_passage_beside_the_right_one_answers(run: Build) -> None:
    """Half of the facts are said again elsewhere, in other words around the same value."""
    made = archive(documents=10)
    extra = []
    for number, source in enumerate(made.examples[::2]):
        part = chunk(name("doc", "echo"), number, f"Note {number}: {source.answer.upper()} was measured, ask again.")
        extra.append((part, source.split))
    documents = {split: [part for part, own in extra if own == split] for split in ("train", "held_out")}
    echoes = tuple(
        Chunks(document=name("doc", "echo"), path=f"echo-{split}.txt", sha256="e", chunks=tuple(parts))
        for split, parts in documents.items()
    )
    chunks = [
        *made.plan.chunks,
        *planned("train", documents["train"], 0),
        *planned("held_out", documents["held_out"], 0),
    ]
    plan = made.plan.model_copy(update={"chunks": tuple(chunks)})
    built = run(replace(made, plan=plan, documents=(*made.documents, *echoes)), hard=4, random=4, absent_share=0.3)
    by_id = {example.id: example for example in made.examples}
    beside = 0
    for file, lineage in (("rows", "lineage"), ("held_out", "held_out.lineage")):
        for row, origin in zip(built.rows(file), built.origins(lineage), strict=True):
            for place, text in enumerate(passages_of(row)):
                if place != origin.position:
                    beside += 1
                    answer = re.escape(by_id[origin.example].answer)
                    assert not re.search(rf"(?<!\w){answer}(?!\w)", text, re.IGNORECASE)
                    assert by_id[origin.example].quote not in text
    assert beside > 8 * 100


def test_training_shows_no_held_out_text_and_the_benchmark_none_of_training(run: Build) -> None:
    made = archive(held_out=3)
    built, shown = run(made, hard=3, random=3), texts(made)
    split = {plan.chunk: plan.split for plan in made.plan.chunks}
    for file, own in (("rows", "train"), ("held_out", "held_out")):
        allowed = {text for chunk, text in shown.items() if split[chunk] == own}
        for row in built.rows(file):
            assert set(passages_of(row)) <= allowed


def test_a_training_chunk_that_overlaps_a_held_out_one_is_never_shown(run: Build) -> None:
    made = archive(documents=4, chunks=8, held_out=1)
    document = made.documents[0]
    secret = chunk(document.document, 99, "kept secret", start=document.chunks[3].spans[0].end - 5)
    secret = secret.model_copy(update={"spans": (secret.spans[0].model_copy(update={"page": 1}),)})
    changed = document.model_copy(update={"chunks": (*document.chunks, secret)})
    plan = made.plan.model_copy(update={"chunks": (*made.plan.chunks, *planned("held_out", [secret], 0))})
    built = run(replace(made, plan=plan, documents=(changed, *made.documents[1:])), hard=8, random=8)
    assert document.chunks[3].text not in built.files["rows.jsonl"].decode()
    assert document.chunks[2].text in built.files["rows.jsonl"].decode()
    assert built.report["examples"]["train"]["dropped"] == {"leaks_held_out": 1}


def test_the_order_of_documents_and_examples_changes_no_byte(run: Build) -> None:
    made = archive(asked=2)
    first = run(made, variants=3, absent_share=0.2)
    for seed in range(10):
        chance = random.Random(seed)
        documents, examples = list(made.documents), list(made.examples)
        chance.shuffle(documents)
        chance.shuffle(examples)
        again = run(replace(made, documents=tuple(documents), examples=tuple(examples)), variants=3, absent_share=0.2)
        assert again == first


def test_another_seed_or_another_text_is_another_version(run: Build) -> None:
    made = archive()
    versions = {run(made).verdict["version"]}
    versions.add(run(replace(made, plan=made.plan.model_copy(update={"seed": 8}))).verdict["version"])
    versions.add(run(replace(made, examples=made.examples[1:])).verdict["version"])
    assert len(versions) == 3


def test_the_right_passage_stands_at_every_place_alike(run: Build) -> None:
    built = run(archive(documents=42, chunks=10), hard=2, random=1, absent_share=0)
    counts = Counter(origin.position for origin in built.origins())
    assert sum(counts.values()) == 800
    assert set(counts) == {0, 1, 2, 3}
    assert max(abs(count - 200) for count in counts.values()) < 60, counts  # five standard deviations


def test_variants_share_an_answer_and_differ_in_distractors_and_order(run: Build) -> None:
    built = run(archive(), variants=3, hard=2, random=1, absent_share=0)
    by_example: dict[str, list[RowOrigin]] = defaultdict(list)
    for origin in built.origins():
        by_example[origin.example].append(origin)
    assert len(by_example) == 48
    for variants in by_example.values():
        assert [origin.variant for origin in sorted(variants, key=lambda origin: origin.variant)] == [0, 1, 2]
        assert len({frozenset(origin.distractors) for origin in variants}) == 3
    assert {origin.variant for origin in built.origins("held_out.lineage")} == {0}


def test_hard_distractors_are_those_that_the_question_finds(run: Build) -> None:
    """Asked for one hard distractor alone, nearly every row shows the machine or the quantity asked for."""
    made = archive(documents=20)
    built, shown = run(made, hard=1, random=0, variants=1, absent_share=0), texts(made)
    alike = 0
    for origin in built.origins():
        thing, topic = re.match(r"The (\w+ \S+) of the (\w+ \d+)", shown[origin.chunk]).group(2, 1)  # type: ignore[union-attr]
        alike += any(f"the {thing} " in shown[other] or f"The {topic} " in shown[other] for other in origin.distractors)
    assert alike == len(built.origins())


def test_a_question_searches_the_shard_of_its_own_chunk(run: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mine, "SHELF", 8)
    made = archive(documents=6)
    built = run(made, hard=2, random=0, variants=1, absent_share=0)
    document = {part.id: part.document for document in made.documents for part in document.chunks}
    for origin in built.origins():  # a shard is a document here
        assert {document[other] for other in origin.distractors} == {origin.document}


def test_a_share_of_rows_is_answered_by_a_refusal_and_by_no_passage(run: Build) -> None:
    made = archive(documents=20)
    built, shown = run(made, absent_share=0.2), texts(made)
    for file, lineage, answered in (("rows", "lineage", 288), ("held_out", "held_out.lineage", 16)):
        absent = [(row, origin) for row, origin in zip(built.rows(file), built.origins(lineage), strict=True)
                  if origin.position is None]  # fmt: skip
        assert len(absent) == answered / 4
        every = Counter(row["variant_of"] for row in built.rows(file))
        refused = Counter(row["variant_of"] for row, _ in absent)
        assert set(refused.values()) == set(every.values()), "an epoch would see another share of refusals"
        assert all(every[name] == refused[name] for name in refused)
        for row, origin in absent:
            assert row["messages"][2]["content"] == REFUSAL
            assert shown[origin.chunk] not in row["messages"][1]["content"]
            assert (origin.quote, origin.span, len(passages_of(row))) == ("", None, 4)
    assert REFUSAL not in run(made, absent_share=0).files["rows.jsonl"].decode()


def test_a_question_asked_twice_is_one_row_and_its_other_chunk_no_distractor(run: Build) -> None:
    made = archive(documents=6)
    first, second = made.documents[0].chunks[0], made.documents[1].chunks[1]
    same = [
        example(first, first.text, "How much of it is there?", "the first"),
        example(second, second.text, "HOW much of it, is there", "the second"),
    ]
    built = run(replace(made, examples=(*made.examples, *same)), hard=8, random=8, variants=4)
    kept = min(same, key=lambda example: example.id)
    found = [origin for origin in built.origins() if origin.example in {example.id for example in same}]
    assert {origin.example for origin in found} == {kept.id}
    for origin in found:
        assert ({first.id, second.id} - {kept.chunk}).isdisjoint(origin.distractors)
    assert built.report["examples"]["train"]["dropped"] == {"duplicate": 1}


def test_a_training_question_that_the_benchmark_asks_too_is_dropped(run: Build) -> None:
    made = archive()
    part, held = made.documents[0].chunks[0], made.documents[-1].chunks[0]
    asked = "What is it all about?"
    own = example(part, part.text, asked, "one")
    other = example(held, held.text, asked, "another", "held_out")
    built = run(replace(made, examples=(*made.examples, own, other)))
    assert own.id not in built.files["lineage.jsonl"].decode()
    assert other.id in built.files["held_out.lineage.jsonl"].decode()
    assert built.report["examples"]["train"]["dropped"] == {"leaks_held_out": 1}


def test_a_context_fits_its_tokens_and_a_chunk_that_does_not_is_dropped(run: Build) -> None:
    made = archive(documents=6, asked=2)  # a chunk has 20 words, and 4 tokens go to its number
    built = run(made, context_tokens=50, hard=3, random=3)
    assert {len(passages_of(row)) for row in built.rows()} == {2}
    assert built.report["context_tokens"]["most"] == 48
    long = chunk(name("doc", "long"), 0, "A very long story. " * 13)
    file = Chunks(document=long.document, path="long.txt", sha256="l", chunks=(long,))
    plan = made.plan.model_copy(update={"chunks": (*made.plan.chunks, *planned("train", [long]))})
    asked = example(long, "A very long story.", "What is it?", "A very long story.")
    more = Archive(plan, (*made.documents, file), (*made.examples, asked))
    built = run(more, context_tokens=50)
    assert built.report["examples"]["train"]["dropped"] == {"too_long": 1}
    assert "very long" not in built.files["rows.jsonl"].decode()


def test_headings_are_shown_and_searched_for_the_answer(run: Build) -> None:
    parts = [chunk(name("doc", 0), at, f"It takes {at} minutes.", heading=f"Manual › Step {at}") for at in range(12)]
    parts.append(chunk(name("doc", 0), 12, "See above.", heading="Manual › Done in 3 minutes"))
    asked = [example(part, part.text, f"How long is step {at}?", f"{at} minutes") for at, part in enumerate(parts[:12])]
    file = Chunks(document=name("doc", 0), path="steps.md", sha256="s", chunks=tuple(parts))
    plan = CorpusPlan(seed=1, chunks=tuple(planned("train", parts)), dropped=(), rejected_documents=())
    built = run(Archive(plan, (file,), tuple(asked)), hard=6, random=6)
    for row, origin in zip(built.rows(), built.origins(), strict=True):
        assert all(text.startswith(("Manual › Step", "Manual › Done")) for text in passages_of(row))
        if origin.example == asked[3].id:
            assert parts[12].id not in origin.distractors


def test_general_rows_are_mixed_in_evenly_and_have_no_document(run: Build) -> None:
    chats = [
        {"messages": [{"role": "user", "content": f"Add {n}"}, {"role": "assistant", "content": str(n)}], "line": n + 1}
        for n in range(50)
    ]
    data = "".join(json.dumps(chat) + "\n" for chat in chats).encode()
    built = run(archive(), general=data, general_share=0.2, absent_share=0)
    origins, rows = built.origins(), built.rows()
    lines = [origin.line for origin in origins if origin.generator is None]
    assert (len(lines), len(rows)) == (24, 120)
    assert max(b - a for a, b in pairwise(lines)) <= 6
    assert all(rows[line - 1]["messages"][0]["content"].startswith("Add ") for line in lines)
    assert {(origins[line - 1].document, origins[line - 1].sha256) for line in lines} == {("", sha256(data))}
    shuffled = "".join(json.dumps({**chat, "line": 99}) + "\n" for chat in reversed(chats)).encode()
    again = run(archive(), general=shuffled, general_share=0.2, absent_share=0)
    assert again.files["rows.jsonl"] == built.files["rows.jsonl"]


def other_split(of: Chunk) -> Any:
    return example(of, of.text, "Which split is it?", "another", "held_out")


@pytest.mark.parametrize(
    ("code", "broken"),
    [
        ("unplanned", lambda of: example(of, of.text, "What is it?", "a", chunk=name("chunk", "nowhere"))),
        ("quote_not_found", lambda of: example(of, "No such words.", "What is it?", "a")),
        (
            "quote_not_found",
            lambda of: example(of, of.text, "What?", "a", span=of.spans[0].model_copy(update={"page": 9})),
        ),
        ("no_words", lambda of: example(of, of.text, "What is it?", "…")),
        ("unfaithful", lambda of: example(of, of.text, "What is it?", "a", code="unfaithful", message="It is not so.")),
    ],
)
def test_an_example_that_cannot_be_a_row_is_counted_by_its_reason(run: Build, code: str, broken: Any) -> None:
    made = archive()
    asked = broken(made.documents[0].chunks[0])
    built = run(replace(made, examples=(*made.examples, asked)))
    assert built.report["examples"]["train"]["dropped"] == {code: 1}
    assert built.verdict["rows"] == run(made).verdict["rows"]


def test_an_example_of_another_split_than_its_chunk_is_no_row(run: Build) -> None:
    made = archive()
    built = run(replace(made, examples=(*made.examples, other_split(made.documents[0].chunks[0]))))
    assert built.report["examples"]["held_out"]["dropped"] == {"unplanned": 1}


def test_the_report_counts_coverage_by_document_page_and_chunk(run: Build) -> None:
    made = archive(documents=6, chunks=8, held_out=2)
    examples = [
        example for example in made.examples if example.chunk not in {c.id for c in made.documents[0].chunks[:4]}
    ]
    report = run(replace(made, examples=tuple(examples))).report
    assert report["coverage"]["train"] == {"covered": 28, "chunks": 32, "share": 0.875}
    assert report["coverage"]["held_out"]["share"] == 1
    document = next(entry for entry in report["documents"] if entry["document"] == made.documents[0].document)
    assert (document["path"], document["covered"], document["chunks"], document["rows"]) == ("pump 0.txt", 4, 8, 8)
    assert [(page["page"], page["covered"], page["chunks"]) for page in document["by_page"]] == [(1, 0, 4), (2, 4, 4)]
    assert [part["rows"] for part in document["by_chunk"]] == [0] * 4 + [2] * 4
    assert report["splits"]["train"]["rows"] == 62
    assert report["splits"]["train"]["answered"] == 56
    assert report["splits"]["train"]["absent"] == 6
    bins = report["context_tokens"]["histogram"]
    assert sum(bins["counts"]) == 62 + report["splits"]["held_out"]["rows"]
    assert len(bins["edges"]) == len(bins["counts"]) + 1
    assert report["generator"] == "extractive"


def test_ten_samples_are_shown_from_all_over_the_rows(run: Build) -> None:
    built = run(archive())
    samples, rows = built.report["samples"], built.rows()
    lines = [sample["origin"]["line"] for sample in samples]
    assert len(set(lines)) == 10
    assert lines[-1] > len(rows) * 0.8
    assert all(sample["messages"] == rows[sample["origin"]["line"] - 1]["messages"] for sample in samples)


def test_one_extractive_row_labels_the_whole_data_set(run: Build) -> None:
    made = archive()
    asked = [example.model_copy(update={"generator": "endpoint"}) for example in made.examples]
    assert run(replace(made, examples=tuple(asked))).verdict["generator"] == "endpoint"
    assert run(replace(made, examples=(*asked[1:], made.examples[0]))).verdict["generator"] == "extractive"


def test_the_report_says_who_was_to_write_and_warns_of_endpoints_that_did_not(run: Build) -> None:
    slow = Tried(generator="endpoint", model="big", code="timed_out", message="The endpoint gave no answer.")
    weak = Tried(generator="base", model="tiny", code="weak", message="1 of 9.", share=0.1, threshold=0.5, asked=9)
    fell = Tried(generator="base", model="tiny", code="fell", message="The model left all chunks of a document.")
    built = run(archive(), tried=[slow, weak, slow, weak, fell])
    assert [(each["code"], each["documents"]) for each in built.report["tried"]] == [
        ("timed_out", 2), ("weak", 2), ("fell", 1),
    ]  # fmt: skip
    assert built.report["tried"][1]["share"] == 0.1
    warnings = ["The endpoint gave no answer. (2 documents)", "The model left all chunks of a document. (1 document)"]
    assert built.verdict["warnings"] == built.report["warnings"] == warnings


def test_rows_of_the_target_model_label_a_data_set_that_no_rule_wrote_a_part_of(run: Build) -> None:
    made = archive()
    asked = [example.model_copy(update={"generator": "base"}) for example in made.examples]
    mixed = [*asked[1:], made.examples[0].model_copy(update={"generator": "endpoint"})]
    assert run(replace(made, examples=tuple(mixed))).verdict["generator"] == "base"
