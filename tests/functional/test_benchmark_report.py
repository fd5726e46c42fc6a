"""A benchmark's report, made by the child as it runs: one page that stands alone, and its pictures."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from contracts.benchmarks import Cell, Item, Result, TaskResult
from functions.benchmark_model.report import page
from functions.benchmark_model.report.build import MAX_BYTES, build
from functions.benchmark_model.report.failures import Failures
from functions.benchmark_model.summary import noted, summarise
from functions.benchmark_model.wording import interval
from tests.children import ForkedChild
from tests.unit.benchmark_model.synthetic import synthetic

VOID = {"meta", "br", "input", "link", "img", "hr"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} {% raw %} $\\frac{ \\u202e",
    "\u202eright to left\u202c مرحبا 🐘",
    "x" * 10_000,
    "NUL\x00 wake\x07 half \ud83d",
    "javascript:alert(1)",
    "</style></svg></title>",
)


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def stands_alone(html: str) -> Page:
    found = Page(html)
    assert found.wrong == []
    assert found.open == []
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "base"} & set(found.tags)
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "src"]
    assert all(value.startswith("#") for value in found.values("href") + found.values("xlink:href"))
    assert all(match == "#" for match in re.findall(r"url\(\s*['\"]?(.)", html))
    assert "@import" not in html
    assert [key for key, count in Counter(found.values("id")).items() if count > 1] == []
    ids = set(found.values("id"))
    pointed = [value[1:] for value in found.values("href") + found.values("xlink:href")]
    pointed += [value for name in ("aria-labelledby", "aria-describedby") for value in found.values(name)]
    assert set(pointed) <= ids
    return found


@pytest.fixture(scope="module")
def made() -> tuple[Result, list[Item]]:
    return synthetic(judged=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, made: tuple[Result, list[Item]]) -> Path:
    folder = tmp_path_factory.mktemp("report")
    build(made[0], iter(made[1]), folder)
    return folder


@pytest.mark.slow
async def test_the_child_writes_a_page_and_its_pictures(
    tmp_path: Path, folder: Path, made: tuple[Result, list[Item]]
) -> None:
    result, items = made
    (tmp_path / "result.json").write_text(result.model_dump_json())
    (tmp_path / "items.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in items))
    spec = tmp_path / "spec.json"
    paths = {"result": tmp_path / "result.json", "items": tmp_path / "items.jsonl", "folder": tmp_path}
    spec.write_text(json.dumps({name: str(path) for name, path in paths.items()}))
    ended = await ForkedChild(threads=1).run("functions.benchmark_model.report.build", spec, 4 * 2**30, 240)
    assert ended.code == 0, ended.stderr
    said = json.loads(ended.stdout)
    html = (tmp_path / said["report"]).read_bytes()
    assert said["bytes"] == len(html) < MAX_BYTES
    assert {name.partition(".")[0] for name in said["pictures"]} == {
        "loss", "pages1", "pages2", "pages3", "scores",
        "task4-chunks", "task4-distractors", "task4-length", "task4-position",
    }  # fmt: skip
    for name in said["pictures"]:
        content = (tmp_path / name).read_bytes()
        if name.endswith(".png"):
            assert content.startswith(b"\x89PNG")
        else:
            assert ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    # The same result makes the same bytes, in another process too.
    assert (folder / "report.html").read_bytes() == html
    assert (folder / "task4-length.png").read_bytes() == (tmp_path / "task4-length.png").read_bytes()


def test_the_page_stands_alone_and_says_the_verdict_first(folder: Path, made: tuple[Result, list[Item]]) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    found = stands_alone(html)
    assert found.text.count("\N{NO-BREAK SPACE}%") >= 2  # a line never ends within a number
    body = found.text[found.text.index("Benchmark bench-synthetic") :].replace("\N{NO-BREAK SPACE}", " ")
    assert body.index("Better") < body.index(made[0].sentence) < body.index("Base and tuned")
    for task in made[0].tasks:
        assert task.title in body
    assert "unscored" in body
    assert "the judge's reply is not JSON" in body


def test_every_number_of_a_chart_can_be_read_without_seeing_it(folder: Path, made: tuple[Result, list[Item]]) -> None:
    found = Page((folder / "report.html").read_text(encoding="utf-8"))
    charts = page.charts(made[0])
    assert [chart.name for chart in charts] == ["task4-length", "task4-chunks", "task4-position", "task4-distractors"]
    for chart in charts:
        for point in chart.points:
            for score in point.scores.values():
                assert score.estimate is not None
                assert f"({interval(score.estimate)}), n = {score.n}" in found.text.replace("\N{NO-BREAK SPACE}", " ")
    assert found.values("role").count("img") == len(charts) + 1  # the loss curves too


def test_pictures_take_the_colours_of_the_page(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    plots = re.findall(r'<svg class="plot".*?</svg>', html, re.DOTALL)
    assert len(plots) == 5
    for plot in plots:
        assert "var(--tuned)" in plot
        assert re.findall(r"#[0-9a-f]{6}\b", plot) == []
        assert "font-family" not in plot
        assert len(plot) < 40_000


@pytest.mark.slow
def test_text_of_users_is_shown_and_never_obeyed(tmp_path: Path, made: tuple[Result, list[Item]]) -> None:
    result, items = made
    items = [
        item.model_copy(
            update={
                "question": HOSTILE[at % len(HOSTILE)],
                "answer": HOSTILE[(at + 1) % len(HOSTILE)],
                "context": HOSTILE,
                "said": {"base": HOSTILE[(at + 2) % len(HOSTILE)], "tuned": HOSTILE[(at + 3) % len(HOSTILE)]},
                "errors": {"tuned": HOSTILE[(at + 4) % len(HOSTILE)]},
                "source": {**item.source, "path": HOSTILE[at % len(HOSTILE)]},
                "by": {**item.by, "distractors": HOSTILE[at % 2]} if item.by else {},
            }
        )
        for at, item in enumerate(items)
    ]
    tasks = [
        summarise(
            [item for item in items if item.task == task.name],
            name=task.name,
            kind=task.kind,
            title=HOSTILE[at],
            metric=task.metric,
            scorer=HOSTILE[at],
            note=HOSTILE[at],
        )
        for at, task in enumerate(result.tasks)
    ]
    hostile = result.model_copy(
        update={
            "tasks": tuple(tasks),
            "sentence": HOSTILE[0],
            "models": {"base": HOSTILE[1], "tuned": HOSTILE[2]},
            "config": dict(zip(HOSTILE, HOSTILE, strict=True)),
            "dataset": dict(zip(HOSTILE, HOSTILE, strict=True)),
        }
    )
    build(hostile, iter(items), tmp_path)
    html = (tmp_path / "report.html").read_bytes()
    assert len(html) < MAX_BYTES
    found = stands_alone(html.decode())
    assert found.text.count("<script>alert(1)</script>") > 10
    assert "{{ 7*7 }}" in found.text
    assert "\x00" not in found.text
    assert "x" * 1000 not in found.text
    for picture in tmp_path.glob("*.svg"):
        assert not list(ET.parse(picture).iter("{http://www.w3.org/2000/svg}script"))


def test_a_page_never_grows_beyond_its_limit(tmp_path: Path, made: tuple[Result, list[Item]]) -> None:
    items = [
        Item(id=f"{task}/{at}", task=f"t{task}", question="🐘" * 2000, context=("🐘" * 2000,) * 9, answer="!",
             said={"tuned": "🐘" * 2000}, scores={"tuned": {"f1": 0.0}})
        for task in range(4)
        for at in range(40)
    ]  # fmt: skip
    tasks = tuple(
        summarise([item for item in items if item.task == f"t{task}"], name=f"t{task}", kind="documents",
                  title=f"t{task}", metric="f1", scorer="F1")
        for task in range(4)
    )  # fmt: skip
    result = made[0].model_copy(update={"tasks": tasks})
    said = build(result, iter(items), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert said["bytes"] < MAX_BYTES
    shown = html.count('<details class="failure')
    assert 4 <= shown < 96
    assert f"{shown} of 160 answers" in html


def test_a_result_without_anything_is_a_page_too(tmp_path: Path) -> None:
    empty = Result(
        benchmark="b", models={"tuned": "m"}, created_at="today", verdict="unscored", sentence="Nothing was asked.",
        config={}, tasks=(),
    )  # fmt: skip
    assert build(empty, iter(()), tmp_path)["pictures"] == []
    assert "Nothing was asked." in stands_alone((tmp_path / "report.html").read_text(encoding="utf-8")).text


def test_lost_answers_come_first_and_controls_are_no_failures(made: tuple[Result, list[Item]]) -> None:
    result, items = made
    failures = Failures(result.tasks, 5)
    for item in items:
        failures.add(item)
    shown = failures.shown(5)
    for task in result.tasks:
        mine = [failure.lost for failure in shown if failure.task is task]
        assert mine == sorted(mine, reverse=True)
        assert len(mine) <= 5
    assert not [failure for failure in shown if failure.task.kind == "no_context"]
    held_out = [item.scores["tuned"]["judge"] for item in items if item.task == "held_out"]
    assert failures.counts["held_out"] == sum(value is None or value < 0.5 for value in held_out)


def test_pages_beyond_the_limit_are_counted_not_hidden(made: tuple[Result, list[Item]]) -> None:
    score = made[0].tasks[0].scores
    cells = tuple(
        Cell(by={"path": "long.pdf", "page": number}, scores=score) for number in range(1, page.MAX_TILES + 8)
    )
    task = TaskResult(name="t", kind="documents", title="t", metric="f1", scorer="s", scores=score, cells=cells)
    result = made[0].model_copy(update={"tasks": noted([task])})
    shown = page.learnt(result)[0]
    assert len(shown.documents[0].tiles) == page.MAX_TILES
    assert shown.left_out == 7


def test_a_document_of_one_page_is_shown_by_its_chunks_in_their_order() -> None:
    def item(path: str, page_number: int, index: int, right: float) -> Item:
        source: dict[str, str | int] = {
            "path": path,
            "page": page_number,
            "index": index,
            "chunk": f"chunk-{9 - index}",
        }
        return Item(
            id=f"{path}/{index}",
            task="t",
            question="q",
            answer="a",
            source=source,
            said={"base": "", "tuned": "a"},
            scores={"base": {"em": 0.0}, "tuned": {"em": right}},
        )

    items = [item("notes.md", 1, 7, 0.0), item("notes.md", 1, 2, 1.0), item("manual.pdf", 3, 4, 1.0)]
    items.append(item("manual.pdf", 2, 1, 1.0))
    task = summarise(items, name="t", kind="trained", title="t", metric="em", scorer="s")
    cells = [dict(cell.by) for cell in task.cells if "chunk" in cell.by and cell.by["path"] == "notes.md"]
    assert [(cell["index"], cell["chunk"]) for cell in cells] == [(2, "chunk-7"), (7, "chunk-2")]
    result = synthetic(judged=False)[0].model_copy(update={"tasks": (task,)})
    shown = {document.path: document for document in page.learnt(result)[0].documents}
    notes, manual = shown["notes.md"], shown["manual.pdf"]
    assert (notes.unit, [tile.number for tile in notes.tiles]) == ("chunk", [3, 8])
    assert [{name: said for name, said, _ in tile.cells}["gain"] for tile in notes.tiles] == ["+100", "0"]
    assert (manual.unit, [tile.number for tile in manual.tiles]) == ("page", [2, 3])


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(first: str, second: str) -> float:
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def _pairs() -> Iterable[tuple[str, str, float]]:
    for text in ("ink", "muted", "tuned", "good", "bad", "even"):
        yield text, "surface", 4.5
    yield "ink", "mark", 4.5
    yield "surface", "ink", 4.5
    for line in ("base", "tuned"):
        yield line, "surface", 3.0  # WCAG 1.4.11, of graphics
    for low in ("s0", "s1", "s2", "s3", "m2", "m1", "z", "p1", "p2"):
        yield "s-low", low, 4.5
    for high in ("s4", "s5", "m3", "p3"):
        yield "s-high", high, 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_has_the_contrast_that_wcag_asks_for(dark: bool) -> None:
    css = (Path(page.__file__).parent / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours = {
        name: value for block in blocks[: 1 + dark] for name, value in re.findall(r"--([\w-]+): (#\w{6})", block)
    }
    for text, ground, least in _pairs():
        assert _contrast(colours[text], colours[ground]) >= least, (text, ground)
