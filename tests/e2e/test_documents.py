"""P2, P5, P7: a ZIP of documents becomes a data set, a job on it just works, and every row leads back to its page."""

from __future__ import annotations

import io
import json
import signal
import zipfile
from random import Random
from typing import Any

import openai
import pytest
from docx import Document
from openai.types import FileObject
from reportlab.pdfgen.canvas import Canvas

from contracts.corpus import RowOrigin, Text, plain_text
from contracts.events.corpus import DatasetAssembled
from infra.demo.data import MACHINES, TOPICS
from infra.demo.text import name
from infra.runtime.world import World
from tests.e2e import support
from tests.e2e.support import User
from tests.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def sections(rng: Random, count: int) -> list[tuple[str, list[str]]]:
    """Headings and sentences of an invented handbook."""
    made = []
    for _ in range(count):
        machine = f"{name(rng, 2)} {rng.choice(MACHINES)}"
        chosen = rng.sample(sorted(TOPICS), 6)
        said = [rng.choice(TOPICS[each].statements).format(M=machine, V=TOPICS[each].value(rng)) for each in chosen]
        made.append((f"The {machine}", said))
    return made


def pdf(parts: list[tuple[str, list[str]]]) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, invariant=1)  # no time of day: what is held out follows from the bytes alone
    for heading, said in parts:
        canvas.setFont("Helvetica-Bold", 16)
        canvas.drawString(72, 760, heading)
        canvas.setFont("Helvetica", 11)
        for line, sentence in enumerate(said):
            canvas.drawString(72, 730 - 14 * line, sentence)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def docx(parts: list[tuple[str, list[str]]]) -> bytes:
    document = Document()
    for heading, said in parts:
        document.add_heading(heading, level=1)
        document.add_paragraph(" ".join(said))
    saved, out = io.BytesIO(), io.BytesIO()
    document.save(saved)
    with zipfile.ZipFile(saved) as written, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as timeless:
        for name in written.namelist():
            timeless.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), written.read(name))
    return out.getvalue()


def markdown(parts: list[tuple[str, list[str]]]) -> str:
    return "\n\n".join(f"# {heading}\n\n{' '.join(said)}" for heading, said in parts)


def archive(seed: int) -> bytes:
    """A ZIP of several formats, with things in it of which nothing can be made."""
    rng, out, inner = Random(seed), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("deep.md", markdown(sections(rng, 4)))
    manual = docx(sections(rng, 4))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("manual.pdf", pdf(sections(rng, 5)))
        packed.writestr("manual.docx", manual)
        packed.writestr("copy of manual.docx", manual)
        packed.writestr("../notes.md", markdown(sections(rng, 1)))
        packed.writestr("notes.md", markdown(sections(rng, 4)))
        packed.writestr("notes.txt", "\n\n".join(" ".join(said) for _, said in sections(rng, 4)))
        packed.writestr("inner.zip", inner.getvalue())
        packed.writestr("broken.pdf", b"%PDF-1.7\nnothing that a reader understands")
        packed.writestr("__MACOSX/notes.md", b"x")
        packed.writestr("empty.txt", b"")
    return out.getvalue()


def upload(user: User, content: bytes, filename: str = "handbook.zip") -> str:
    return user.client.files.create(file=(filename, content), purpose="fine-tune").id


def checked(user: User, file: str, wanted: str = "processed", within: float = support.PATIENCE) -> FileObject:
    """Return the file once its documents have become a data set, or have not."""

    def ended() -> FileObject | None:
        found = user.client.files.retrieve(file)
        return found if found.status != "uploaded" else None

    found = support.until(ended, f"the data set of {file}", within)
    assert found.status == wanted, found.status_details
    return found


def validation(file: FileObject) -> dict[str, Any]:
    """What was said of a file's rows or documents, a field that OpenAI's files do not have."""
    found: dict[str, Any] = (file.model_extra or {})["validation"]
    return found


def test_a_job_on_a_zip_just_works_and_every_row_leads_back_to_its_page(user: User, stack: Stack) -> None:
    file = upload(user, archive(1))
    job = user.job(file, batch_size=8)
    done = user.wait(job, "succeeded")
    assert done.trained_tokens
    said = [event.message for event in user.client.fine_tuning.jobs.list_events(job, limit=100)]
    assert any("waits for the data set" in message for message in said)
    made = validation(checked(user, file))
    assert made["is_generated_dataset"]
    assert made["generator"] == "extractive"
    assert made["rows"] >= 30

    async def look(here: World) -> None:
        (found,) = [each for each in await here.documents.find("archives", {}) if each["id"] == file]
        members = json.loads(await here.blobs.get(found["extracted"]["manifest"]["key"]))
        skipped = {member["path"]: member["code"] for member in members if not member["document"]}
        assert {"empty", "duplicate", "boilerplate", "unsafe_path"} <= set(skipped.values()), skipped
        assert any(member["path"] == "inner.zip/deep.md" and member["document"] for member in members)
        rejected = [each for each in await here.documents.find("documents", {"archive": file}) if each["rejected"]]
        assert [each["path"] for each in rejected] == ["broken.pdf"]
        made = DatasetAssembled.model_validate(found["assembled"])
        rows = (await here.blobs.get(made.blob.key)).splitlines()
        origins = [
            RowOrigin.model_validate_json(line) for line in (await here.blobs.get(made.lineage.key)).splitlines()
        ]
        assert len(rows) == len(origins) == made.rows
        texts: dict[str, Text] = {}
        for origin in origins:
            if origin.document not in texts:
                key = f"local/{file}/documents/{origin.document}/text.json"
                texts[origin.document] = Text.model_validate_json(await here.blobs.get(key))
            text = texts[origin.document]
            assert text.sha256 == origin.sha256
            if origin.span is not None:
                page = next(page for page in text.pages if page.number == origin.span.page)
                assert plain_text(page.text[origin.span.start : origin.span.end]) == plain_text(origin.quote)
                asked = json.loads(rows[origin.line - 1])["messages"]
                assert any(plain_text(origin.quote) in plain_text(each["content"]) for each in asked)
        assert {text.format for text in texts.values()} >= {"pdf", "docx", "md"}
        # which pages are held out depends on the upload's id
        assert max(span.page for each in origins if (span := each.span) and texts[each.document].paged) > 1

    support.in_world(stack, look)


def test_after_kill_9_of_the_worker_the_data_set_is_made_once(user: User, stack: Stack) -> None:
    file = upload(user, archive(2))

    with support.database(stack) as db:

        def unpacked() -> bool:
            return bool(support.view(db, "archives", file).get("extracted"))

        support.until(unpacked, f"the members of {file}", every=0.01)
    before = stack.process("worker").restarts
    stack.kill("worker", signal.SIGKILL)
    support.restarted(stack, "worker", before)
    checked(user, file)
    mine = support.about(support.log_of(stack), file)
    assert len({event.id for event in mine if event.type == "dataset.assembled"}) == 1
    assert not [event for event in mine if event.type in ("dataset.failed", "file.rejected")]


def test_one_document_is_an_archive_of_one_and_goes_with_all_that_was_made_of_it(user: User, stack: Stack) -> None:
    file = upload(user, pdf(sections(Random(3), 12)), "manual.pdf")
    checked(user, file)

    def stored() -> list[str]:
        keys: list[str] = support.in_world(stack, lambda here: here.blobs.list(f"local/{file}/"))
        return keys

    assert any("/dataset/" in key for key in stored())
    assert user.client.files.delete(file).deleted
    assert stored() == []
    with pytest.raises(openai.BadRequestError) as refused:
        user.job(file)
    assert (refused.value.code, refused.value.param) == ("file_deleted", "training_file")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"PK\x03\x04" + bytes(200), "archive_broken"),
        (b"PK\x05\x06" + bytes(18), "archive_empty"),
    ],
)
def test_an_archive_of_which_nothing_can_be_made_says_why(user: User, content: bytes, code: str) -> None:
    found = checked(user, upload(user, content), "error")
    assert validation(found)["code"] == code
    assert found.status_details
    with pytest.raises(openai.BadRequestError):
        user.job(found.id)
