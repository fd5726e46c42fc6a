"""What the edge decides, without the edge."""

from __future__ import annotations

import string
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mgqpy import Query

from contracts.blobs import BlobRef
from contracts.wire import openai
from contracts.wire.body import check_strings, parse
from contracts.wire.chat import MAX_DEPTH
from contracts.wire.completions import Chat, Completion, ProofRequest, Routed
from contracts.wire.errors import ApiError
from contracts.wire.request import Request
from contracts.wire.requests import (
    Evaluation,
    FileForm,
    JobBenchmark,
    JobRequest,
    ModelBenchmark,
    PageQuery,
    Recurate,
    Rescore,
)
from functions.edge import core, listing
from tests.unit.extract_text.documents import word
from tests.unit.extract_zip.archives import Raw, archive, packed


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b'{"messages": []}', "a.txt", "jsonl"),
        (b"\xef\xbb\xbf\r\n {", "a", "jsonl"),
        (b"[\n{", "a", "json"),
        (b"prompt,completion\r\n", "a", "csv"),
        (b"messages\n", "a.CSV", "csv"),
        (b"\xff\xfe{\x00", "a", "unknown"),
        (b"hello", "a", "unknown"),
        (b"{\\rtf1\\ansi Gate rules}", "a.docx", "rtf"),
        (b"From: a@b.org\nSubject: Keys, locks\nDate: Fri, 06 Mar 2026\n\nText.\n", "a.eml", "eml"),
        (b"From: a@b.org\nSubject: Keys, locks\nDate: Fri, 06 Mar 2026\n\nText.\n", "Keys, locks", "eml"),
        (b"<p>It is **never** lent, not once.</p>", "a.html", "html"),
        (b"= Rules, of the house\n\nText.\n", "a.adoc", "txt"),
    ],
)
def test_the_format_is_read_from_the_first_bytes(head: bytes, name: str, expected: str) -> None:
    assert core.sniff(head, name) == expected


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_of_word_documents_is_an_archive_and_a_word_document_is_none(method: int) -> None:
    assert core.sniff(word(), "a.docx") == "docx"
    assert core.sniff(packed({"a.docx": word(), "b.md": b"# B"}, method), "a.zip") == "zip"
    assert core.sniff(packed({"word/a.md": b"# A", "word/b.docx": word()}, method), "a.zip") == "zip"
    parts = {"docProps/app.xml": b"<Properties/>", "word/document.xml": b"<w:document/>"}
    assert core.sniff(packed(parts, method), "a.docx") == "docx"
    streamed = Raw(b"_rels/.rels", b"<Relationships/>", flags=8, packed_size=0, descriptor=b"PK\7\x08" + bytes(12))
    assert core.sniff(archive([streamed]), "a.docx") == "docx"


@pytest.mark.parametrize("folder", ["xl", "ppt", "word"])
def test_an_office_document_is_what_its_parts_say_whatever_its_name_says(folder: str) -> None:
    data = packed({"[Content_Types].xml": b"<Types/>", f"{folder}/a.xml": b"<a/>"})
    assert core.sniff(data, "a.docx") == {"xl": "xlsx", "ppt": "pptx", "word": "docx"}[folder]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9) + "WordDocument\0".encode("utf-16-le"), "Save it as DOCX"),
        (packed({"[Content_Types].xml": b"<Types/>", "xl/workbook.bin": b"a"}), "Save it as XLSX"),
        (packed({"Index/Document.iwa": b"a"}), "Export it as DOCX"),
    ],
    ids=["old Word", "binary Excel", "Pages"],
)
def test_what_cannot_be_read_is_refused_when_it_is_to_be_trained_on(data: bytes, said: str) -> None:
    with pytest.raises(ApiError, match=said) as refused:
        core.check_content(data, "fine-tune")
    assert refused.value.code == "unsupported_file"
    core.check_content(data, "user_data")


@pytest.mark.parametrize("head", [b"PK\5\6" + bytes(18), b"PK\3\4", b"PK\3\4" + b"\xff" * 26, b"PK\3\4" * 50])
def test_the_beginning_of_anything_may_claim_to_be_an_archive(head: bytes) -> None:
    assert core.sniff(head, "a.zip") == "zip"


@given(st.binary(max_size=2000))
def test_every_filename_becomes_one_that_can_be_stored(raw: bytes) -> None:
    name = core.clean_filename(raw)
    assert 1 <= len(name) <= 1024
    assert name.isprintable() or not any(ord(letter) < 32 or letter == "\x7f" for letter in name)
    name.encode()


def test_two_uploads_are_the_same_whatever_key_their_bytes_lie_under() -> None:
    form = FileForm(purpose="fine-tune")
    one, two = (
        core.uploaded(form, "a", b"{}", BlobRef(key=f"t/{key}/content", sha256="0" * 64, bytes=2)) for key in "ab"
    )
    assert core.same_upload(one) == core.same_upload(two)
    other = core.uploaded(form, "b", b"{}", one.blob)
    assert core.same_upload(one) != core.same_upload(other)


# --- which events are shown


class Log:
    """A job's runs as they happened, and the metric lines as the read model keeps them: the newest run's word each."""

    def __init__(self, runs: list[tuple[int, int]]) -> None:
        self.runs: list[dict[str, int]] = []
        self.lines: dict[int, dict[str, Any]] = {}
        self.truth: list[int] = []
        for attempt, (from_step, made) in enumerate(runs, 1):
            start = min(from_step, len(self.truth))
            self.runs.append({"epoch": 1, "attempt": attempt, "from_step": start})
            self.truth = self.truth[:start]
            for step in range(start + 1, start + made + 1):
                self.truth.append(step)
                self.lines[step] = {"type": "metrics", "step": step, "epoch": 1, "attempt": attempt}


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=6), st.integers(2, 6), st.randoms()
)
def test_exactly_the_steps_of_the_surviving_history_are_shown(
    runs: list[tuple[int, int]], newest: int, random: Any
) -> None:
    log = Log(runs)
    known = log.runs[-newest:]  # a job's document has the newest runs only
    shuffled = random.sample(known, len(known))
    meets = Query(core.visible_events(shuffled)).test
    shown = [step for step, line in sorted(log.lines.items()) if meets(line)]
    assert shown == log.truth


def test_what_is_no_metric_and_what_a_run_unknown_yet_says_is_shown() -> None:
    where = core.visible_events(
        [{"epoch": 1, "attempt": 1, "from_step": 0}, {"epoch": 2, "attempt": 3, "from_step": 4}]
    )
    for shown in (
        {"type": "message", "step": None, "epoch": 1, "attempt": 1},
        {"type": "metrics", "step": 99, "epoch": 2, "attempt": 4},
        {"type": "metrics", "step": 99, "epoch": 3, "attempt": 1},
        {"type": "metrics", "step": 4, "epoch": 1, "attempt": 1},
    ):
        assert Query(where).test(shown)
    assert not Query(where).test({"type": "metrics", "step": 5, "epoch": 1, "attempt": 1})


# --- pause and resume


def job(status: str, *requests: tuple[str, int], ended: bool = False) -> dict[str, Any]:
    named = [{"topic": f"job.{verb}_requested", "id": str(epoch), "epoch": epoch, "at": 1} for verb, epoch in requests]
    return {"id": "ftjob-1", "status": status, "ended": ended, "requests": named}


@pytest.mark.parametrize(
    ("given_job", "pause", "resume"),
    [
        (job("validating_files"), "job_not_running", "job_not_paused"),
        (job("queued"), True, "job_not_paused"),
        (job("running"), True, "job_not_paused"),
        (job("running", ("pause", 2)), False, True),
        (job("paused", ("pause", 2)), False, True),
        (job("queued", ("resume", 3), ("pause", 2)), True, False),
        (job("running", ("pause", 4), ("resume", 3), ("pause", 2)), False, True),
        (job("running", ("resume", 3), ("pause", 2), ("cancel", 0)), True, False),
        (job("succeeded", ("pause", 2), ended=True), "job_already_ended", "job_already_ended"),
    ],
)
def test_a_pause_or_resume_changes_something_or_nothing_or_is_refused(
    given_job: dict[str, Any], pause: bool | str, resume: bool | str
) -> None:
    wishes: tuple[tuple[Any, bool | str], ...] = (("pause", pause), ("run", resume))
    for wanted, expected in wishes:
        if isinstance(expected, str):
            with pytest.raises(ApiError) as refused:
                core.wants_change(given_job, wanted)
            assert refused.value.code == expected
        else:
            assert core.wants_change(given_job, wanted) is expected


# --- lists


items = st.lists(
    st.tuples(st.integers(0, 3), st.text(string.ascii_lowercase, min_size=1, max_size=2)),
    unique_by=lambda item: item[1],
    max_size=12,
)


@given(items, st.integers(1, 5), st.booleans())
def test_pages_show_everything_once_in_order(rows: list[tuple[int, str]], limit: int, descending: bool) -> None:
    views = [{"created_at": at, "id": id} for at, id in rows]
    views.sort(key=lambda view: (view["created_at"], view["id"]), reverse=descending)
    asked, seen = PageQuery(order="desc" if descending else "asc"), list[dict[str, Any]]()
    while True:
        where = listing.beyond(seen[-1], asked.sort) if seen else {}
        page = [view for view in views if Query(where).test(view)][:limit]
        if not page:
            break
        seen += page
    assert seen == views


def test_a_metadata_filter_never_reaches_into_other_fields() -> None:
    assert listing.metadata_filter({"metadata[team]": "a", "limit": "1"}) == {"created.metadata.team": "a"}
    for key in ("metadata[]", "metadata[a.b]", "metadata[$where]"):
        with pytest.raises(ApiError):
            listing.metadata_filter({key: "x"})


# --- untrusted JSON


def refusal(call: Callable[[], object]) -> ApiError | None:
    """How `call` is refused; None when it is not, and any other exception is a failure of the test."""
    try:
        call()
    except ApiError as error:
        return error
    return None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


REQUESTS: list[type[Request]] = [
    *(JobRequest, FileForm, Recurate, JobBenchmark, ModelBenchmark, Evaluation, Rescore),
    *(Chat, Completion, ProofRequest, Routed),
]


def of(request: type[Request]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a request's names, some of them with requests in them, others with anything."""
    held = {name: json_values if inner is None else json_values | of(inner) for name, inner in request.served.items()}
    return st.fixed_dictionaries({}, optional=held)


@given(st.sampled_from(REQUESTS).flatmap(lambda known: st.tuples(st.just(known), of(known))))
def test_any_json_object_is_a_request_or_a_refusal_with_a_param(
    one: tuple[type[Request], dict[str, Any]],
) -> None:
    known, body = one
    error = refusal(lambda: check_strings(body)) or refusal(lambda: known.read(body))
    if error is not None:
        assert error.status == 400
        assert error.param
        assert error.code
        error.message.encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(body: bytes) -> None:
    error = refusal(lambda: check_strings(parse(body)))
    assert error is None or error.code in ("invalid_json", "invalid_string", "invalid_value")


def test_nesting_is_bounded() -> None:
    for levels in (MAX_DEPTH, 600, 980):  # the body itself is one more
        with pytest.raises(ApiError, match="nested"):
            parse(b'{"a":' + b"[" * levels + b"]" * levels + b"}")
    parse(b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}")
    parse(b'{"a":[' + b"[],{}," * 1000 + b"[]]}")


# --- shapes


def test_a_seed_follows_from_the_job_and_fits() -> None:
    seeds = {openai.derived_seed(f"ftjob-{i}") for i in range(100)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert openai.derived_seed("ftjob-1") == openai.derived_seed("ftjob-1")


def test_an_empty_page_names_no_ids() -> None:
    assert openai.page([], has_more=False) == {
        "object": "list",
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }
