"""`temper.client` against the edge: every call that OpenAI's client has not, sync and async, answers validated."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
import uvicorn

from infra import docs
from temper import _async, _sync
from temper._helpers import Bar, inside
from temper.client import AsyncTemper, Temper
from tests.functional.dataset import Assembled, assemble_made
from tests.functional.edge import World
from tests.functional.furnished import Ids, furnished
from tests.unit.prepare_job import tiny

OURS = {(each.method, each.path): each for each in docs.api.operations() if each.call is None}
LEFT_OUT = re.compile(r"/v1/(evals/|finetune-jobs|files/validate|val_dataset)|/$|/(healthz|readyz|openapi\.json)$")
"""OpenAI's other path of a cancel, LLMHub's words for OpenAI's calls, and what probes and tools ask."""
NOUNS = ("datasets", "jobs", "benchmarks", "model_files", "notifications", "usage")
Call = Callable[[Any, Ids, Path], Any]
Edge = tuple[str, str, Ids, World, list[tuple[str, str]]]


CALLS: dict[str, Call] = {
    "datasets.retrieve": lambda client, ids, _: client.datasets.retrieve(ids["dataset"]),
    "datasets.wait": lambda client, ids, _: client.datasets.wait(ids["dataset"]),
    "datasets.rows": lambda client, ids, _: client.datasets.rows(ids["dataset"], split="train", limit=7),
    "datasets.report": lambda client, ids, _: client.datasets.report(ids["dataset"]),
    "datasets.recurate": lambda client, ids, _: client.datasets.recurate(ids["dataset"], min_score={"support": 0.1}),
    "datasets.preview": lambda client, ids, _: client.datasets.preview(ids["chats"], model=ids["tiny"], row=1),
    "datasets.lineage": lambda client, ids, _: client.datasets.lineage(ids["dataset"], page=1, limit=2),
    "jobs.retrieve": lambda client, ids, _: client.jobs.retrieve(ids["queued"]),
    "jobs.estimate": lambda client, ids, _: client.jobs.estimate(ids["job"]),
    "jobs.wait": lambda client, ids, _: client.jobs.wait(ids["job"]),
    "jobs.metrics": lambda client, ids, _: client.jobs.metrics(ids["job"], limit=2),
    "jobs.results": lambda client, ids, _: client.jobs.results(ids["job"]),
    "jobs.delete": lambda client, ids, _: client.jobs.delete(ids["ended"]),
    "benchmarks.create": lambda client, ids, _: client.benchmarks.create(
        model=ids["tuned"], tasks=["needle"], grid={"lengths": [64], "per_cell": 1}, seed=3
    ),
    "benchmarks.create_for_job": lambda client, ids, _: client.benchmarks.create_for_job(ids["job"], items=5),
    "benchmarks.evaluate": lambda client, ids, _: client.benchmarks.evaluate(
        file=ids["dataset"], models=[ids["tuned"], ids["base"]]
    ),
    "benchmarks.list": lambda client, ids, _: client.benchmarks.list(limit=2),
    "benchmarks.list_for_job": lambda client, ids, _: client.benchmarks.list_for_job(ids["job"], order="asc"),
    "benchmarks.retrieve": lambda client, ids, _: client.benchmarks.retrieve(ids["benchmark"]),
    "benchmarks.wait": lambda client, ids, _: client.benchmarks.wait(ids["benchmark"]),
    "benchmarks.rescore": lambda client, ids, _: client.benchmarks.rescore(ids["benchmark"], metric="f1"),
    "benchmarks.cancel": lambda client, ids, _: client.benchmarks.cancel(ids["cancelled"]),
    "benchmarks.report": lambda client, ids, _: client.benchmarks.report(ids["benchmark"]),
    "benchmarks.result": lambda client, ids, _: client.benchmarks.result(ids["benchmark"]),
    "benchmarks.items": lambda client, ids, _: client.benchmarks.items(ids["benchmark"]),
    "model_files.list": lambda client, ids, _: client.model_files.list(ids["tuned"]),
    "model_files.content": lambda client, ids, _: client.model_files.content(ids["tuned"], "README.md"),
    "model_files.download": lambda client, ids, folder: client.model_files.download(ids["tuned"], folder),
    "notifications.list": lambda client, ids, _: client.notifications.list(limit=2),
    "notifications.retrieve": lambda client, ids, _: client.notifications.retrieve(ids["notification"]),
    "usage.storage": lambda client, ids, _: client.usage.storage(),
    "usage.status": lambda client, ids, _: client.usage.status(),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assembled(tmp_path_factory: pytest.TempPathFactory) -> Assembled:
    return await assemble_made(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
async def edge(assembled: Assembled, folder: Path, tmp_path: Path) -> AsyncIterator[Edge]:
    """Address, key, what there is, its world, and what was asked: an edge on a port, with a thing of every kind."""
    world, asked = World(), []
    world.others["worker"] = lambda: asyncio.sleep(0, "well")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            asked.append((scope["method"], scope["path"]))
        await world.app(scope, receive, send)

    async with AsyncExitStack() as stack:
        key, ids = await stack.enter_async_context(furnished(world, assembled, folder, tmp_path))
        async with world.client(key) as api:
            again = await api.post("/v1/benchmarks", json={"model": ids["base"], "file": ids["dataset"]})
            ids["cancelled"] = again.json()["id"]
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
            serving = asyncio.create_task(server._serve(sockets=[listening]))
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", key, ids, world, asked
            server.should_exit = True
            await serving


async def every(answer: Any) -> Any:
    """An answer of either client; of a list all items, its pages followed."""
    if hasattr(answer, "__aiter__"):
        return [each async for each in answer]
    return await answer if inspect.isawaitable(answer) else answer


def whole(answer: Any) -> Any:
    return list(answer) if isinstance(answer, openai.pagination.SyncCursorPage) else answer


async def ask(client: Any, call: Call, ids: Ids, folder: Path) -> Any:
    if isinstance(client, AsyncTemper):
        return await every(call(client, ids, folder))
    return await asyncio.to_thread(lambda: whole(call(client, ids, folder)))


@pytest.fixture(params=[Temper, AsyncTemper])
async def client(edge: Edge, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A client of either kind that holds every answer against its type."""
    made = request.param(base_url=edge[0], api_key=edge[1], _strict_response_validation=True, max_retries=0)
    yield made
    closed = made.close()
    if closed is not None:
        await closed


def methods(module: Any) -> set[str]:
    """`noun.method` of what a half has, by the classes that the client has under each noun."""
    prefix = "Async" if module is _async else ""
    found = {noun: getattr(module, prefix + "".join(map(str.title, noun.split("_")))) for noun in NOUNS}
    return {f"{noun}.{name}" for noun, each in found.items() for name in vars(each) if not name.startswith("_")}


def test_both_halves_have_the_same_calls_and_all_of_them_are_tried_here() -> None:
    assert methods(_async) == methods(_sync) == set(CALLS)
    for noun in NOUNS:
        assert type(getattr(Temper(api_key="k"), noun)).__module__ == "temper._sync"
        assert type(getattr(AsyncTemper(api_key="k"), noun)).__module__ == "temper._async"


async def test_every_call_is_answered_as_its_types_say_and_every_path_of_our_own_is_reached(
    edge: Edge, client: Any, tmp_path: Path
) -> None:
    _, _, ids, _, asked = edge
    found = {name: await ask(client, call, ids, tmp_path / "out") for name, call in CALLS.items()}
    missed = []
    for method, path in OURS:
        pattern = re.compile(re.sub(r"\{name\}", ".+", re.sub(r"\{(?!name)\w+\}", "[^/]+", path)))
        if not LEFT_OUT.search(path) and not any(m == method and pattern.fullmatch(p) for m, p in asked):
            missed.append((method, path))
    assert missed == []
    rows = found["datasets.rows"]
    assert len(rows) == found["datasets.report"].splits["train"].rows > 7, "all pages"
    assert rows[0].source.path
    assert [each.step for each in found["jobs.metrics"]] == [1, 2, 3]
    assert [each.iteration for each in found["jobs.results"]] == [1, 2, 3]
    assert found["jobs.estimate"].seconds == found["jobs.wait"].temper.plan.seconds == 60.0
    assert found["jobs.delete"].deleted
    assert found["benchmarks.create"].suite.grid.lengths == [64]
    assert found["benchmarks.result"].tasks[0].scores["tuned"].n > 0
    assert found["benchmarks.items"][0].scores["tuned"]
    assert found["benchmarks.cancel"].status == "cancelled"
    assert found["benchmarks.report"].startswith("<html>")
    assert found["datasets.preview"].examples[0].text
    assert found["usage.storage"].bytes > 0
    assert found["usage.status"].checks["worker"].message == "well"
    assert len(found["notifications.list"]) == 3
    listed = found["model_files.list"]
    assert [path.relative_to((tmp_path / "out").resolve()).as_posix() for path in found["model_files.download"]] == [
        each.name for each in listed
    ]
    assert [path.stat().st_size for path in found["model_files.download"]] == [each.bytes for each in listed]
    assert not list((tmp_path / "out").glob("*.part"))


def test_a_call_takes_what_its_path_reads_under_the_same_name() -> None:
    """What the source of a method sends stands in what the route reads, and all of that can be said."""
    tree = ast.parse(Path(_async.__file__).read_text())
    ways: dict[tuple[str, str], set[str]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        text = ast.unparse(node)
        method = "POST" if "self._post" in text else "GET"
        for path in re.findall(r"""f?['"](/[\w/{}()\[\]. ]*)['"]""", text):
            place = "/v1" + re.sub(r"\{.*?\}", "{}", path)
            ways[method, place] = {each.arg for each in (*node.args.args, *node.args.kwonlyargs)} - {"self"}
    compared = 0
    for (method, path), said in ways.items():
        routes = {(m, re.sub(r"\{.*?\}", "{}", p)): each for (m, p), each in OURS.items()}
        known = routes.get((method, path))
        if known is None:
            continue  # one of OpenAI's, or the root's
        model = known.body or known.query
        names = set(model.model_fields) - set(getattr(model, "hidden", ())) if model else set()
        own = {"job", "file", "model", "benchmark", "notification", "name", "folder", "progress", "id"} - names
        assert names - {"order"} <= said, (method, path)
        assert said - own - {"order"} <= names, (method, path)
        compared += 1
    assert compared > 15


async def test_what_is_refused_is_raised_as_openais_own_exceptions(edge: Edge, client: Any, tmp_path: Path) -> None:
    ids = edge[2]
    refused: dict[type[Exception], list[Call]] = {
        openai.NotFoundError: [
            lambda client, ids, _: client.benchmarks.retrieve("bench-none"),
            lambda client, ids, _: client.datasets.rows(".."),
            lambda client, ids, _: client.datasets.report("a/../b?c"),
            lambda client, ids, folder: client.model_files.download("ft:none", folder),
        ],
        openai.BadRequestError: [
            lambda client, ids, _: client.jobs.delete(ids["queued"]),
            lambda client, ids, _: client.benchmarks.create(model=ids["base"], seed=-1),
        ],
        openai.AuthenticationError: [lambda client, ids, _: client.with_options(api_key="k").usage.storage()],
        ValueError: [lambda client, ids, _: client.jobs.retrieve("")],
        TimeoutError: [lambda client, ids, _: client.jobs.wait(ids["queued"], timeout=0.02, interval=0.01)],
    }
    for kind_of_error, calls in refused.items():
        for call in calls:
            with pytest.raises(kind_of_error):
                await ask(client, call, ids, tmp_path / "out")
    assert (await ask(client, lambda c, i, _: c.jobs.wait(i["queued"], until=["validating_files"]), ids, tmp_path)).id
    assert not (tmp_path / "out").exists()


async def test_a_download_is_checked_goes_on_where_it_was_and_leaves_nothing_that_is_wrong(
    edge: Edge, client: Any, tmp_path: Path
) -> None:
    _, _, ids, world, asked = edge
    folder = tmp_path / "out"
    download = CALLS["model_files.download"]
    key = "acme/ftjob-1/ckpt/1/30/adapter_model.safetensors"
    good = await world.blobs.get(key)
    await world.blobs.put(key, b"x" * len(good))
    with pytest.raises(openai.OpenAIError, match=r"adapter_model\.safetensors are not those"):
        await ask(client, download, ids, folder)
    assert sorted(each.name for each in folder.iterdir()) == ["README.md", "adapter_config.json"]
    await world.blobs.put(key, good)
    asked.clear()
    paths = await ask(client, download, ids, folder)
    assert (folder / "adapter_model.safetensors").read_bytes() == good
    assert len(paths) == 4
    assert sorted(path.rpartition("/")[2] for _, path in asked) == [
        "adapter_model.safetensors", "files", "tokenizer.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "."])
def test_a_name_that_leads_out_of_the_folder_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(openai.OpenAIError, match="would not be in"):
        inside(tmp_path / "out", name)
    assert list(tmp_path.iterdir()) == []


def test_the_bar_is_shown_on_a_terminal_unless_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for shown in (True, False):
        bar = Bar(4_000_000, shown)
        bar.begin("model.safetensors")
        bar.add(1_000_000)
        bar.end()
        said = capsys.readouterr().err
        assert ("25% 1.0 of 4.0 MB model.safetensors" in said) is shown
        assert bool(said) is shown


def test_a_copy_of_the_folder_needs_openai_alone(tmp_path: Path) -> None:
    shutil.copytree(Path(_async.__file__).parent, tmp_path / "temper", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys; import openai, openai.pagination, openai.types; before = set(sys.modules)\n"
        "import temper.client\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))\n"
        "print(temper.client.__file__)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    modules, place = done.stdout.splitlines()
    assert modules == "['openai', 'temper']"
    assert place.startswith(str(tmp_path))


USER = """
from typing import assert_type

from temper.client import AsyncTemper, Temper
from temper.types import Benchmark, DatasetRow, JobPlan


def sync(client: Temper) -> None:
    for row in client.datasets.rows("file-1", split="held_out"):
        assert_type(row, DatasetRow)
        assert_type(row.source.page if row.source else None, int | None)
    assert_type(client.jobs.estimate("ftjob-1"), JobPlan | None)
    assert_type(client.with_options(timeout=3).benchmarks.create(model="m", tasks=["needle"]), Benchmark)
    client.benchmarks.create(model="m", tasks=["nedle"])  # wrong
    client.jobs.wait("ftjob-1").temper.plann  # wrong


async def both(client: AsyncTemper) -> None:
    async for row in client.datasets.rows("file-1"):
        assert_type(row, DatasetRow)
    assert_type((await client.benchmarks.list(limit=3)).data, list[Benchmark])
    assert_type(await client.jobs.estimate("ftjob-1"), JobPlan | None)
    client.benchmarks.retrieve("bench-1").status  # wrong
"""


@pytest.mark.slow
def test_a_strict_type_checker_knows_every_answer(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    cache = docs.ROOT / ".mypy_cache" / "users"
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--cache-dir", cache, tmp_path / "user.py"]
    done = subprocess.run(command, cwd=docs.ROOT, capture_output=True, text=True, check=False)
    lines = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    wrong = [number for number, line in enumerate(USER.splitlines(), 1) if line.endswith("# wrong")]
    assert lines == wrong, done.stdout + done.stderr
