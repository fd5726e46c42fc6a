"""P6: children get limits, no secrets, and do not outlive their parent."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil
import pytest

from infra.children.child import LINE_BYTES, ChildOutputError, ProcessChild
from tests.children import SERVERS

SPEAKER = "tests.unit.adapters.speaker"
NOBODY = "tests.unit.adapters.nobody"
FORKED = {SPEAKER: SPEAKER, NOBODY: "nothing"}


@pytest.fixture(params=[None, FORKED], ids=["started", "forked"])
def forked(request: pytest.FixtureRequest) -> Mapping[str, str] | None:
    found: Mapping[str, str] | None = request.param
    return found


@pytest.fixture
async def child(forked: Mapping[str, str] | None) -> AsyncIterator[ProcessChild]:
    child = ProcessChild(2, forked)
    yield child
    await child.close()


@pytest.fixture
async def forking() -> AsyncIterator[ProcessChild]:
    child = ProcessChild(forked=FORKED)
    yield child
    await child.close()


@pytest.fixture
def order(tmp_path: Path) -> Path:
    return tmp_path / "order"


def servers() -> list[psutil.Process]:
    """The processes here that fork, without those of other tests."""
    others = {each.pid for each in SERVERS.values()}
    mine = [each for each in psutil.Process().children() if each.pid not in others]
    return [each for each in mine if "infra.children.fork_server" in each.cmdline()]


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_a_child_is_given_no_secret(order: Path, child: ProcessChild, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEMPER_SIGNING_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "KAFKA_PASSWORD", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "canary")
    order.write_text("environment")
    running = child.start(SPEAKER, order)
    (said,) = [line async for line in running.lines()]
    allowed = {"PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "HOME", "LANG", "LC_CTYPE", "PYTHONPATH", "PYTHONUNBUFFERED"}
    allowed |= {
        "CUDA_HOME",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "KMP_BLOCKTIME",
        "OMP_WAIT_POLICY",
    }
    allowed |= {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"}
    assert set(said["environment"]) - allowed == {"TOKENIZERS_PARALLELISM"}
    assert said["home"] == said["cwd"] == str(order.parent)
    assert (said["core"], said["group"], said["collects"]) == (0, True, True)
    assert await running.stop() == 0


async def test_a_child_is_spoken_to_and_ends_when_nobody_speaks(order: Path, child: ProcessChild) -> None:
    order.write_text("echo")
    running = child.start(SPEAKER, order)
    lines = running.lines()
    assert await anext(lines) == {"type": "started"}
    await running.say("pause")
    assert await anext(lines) == {"heard": "pause"}
    assert await running.stop() == -signal.SIGKILL
    assert [line async for line in lines] == []
    await running.say("too late")


async def test_a_stopped_child_takes_its_children_with_it(order: Path, child: ProcessChild) -> None:
    order.write_text("family")
    running = child.start(SPEAKER, order)
    family = await anext(running.lines())
    assert await running.stop() == -signal.SIGKILL
    assert not psutil.pid_exists(family["pid"])
    await gone(family["grandchild"])


async def test_a_child_dies_with_a_parent_that_is_killed(order: Path, forked: Mapping[str, str] | None) -> None:
    order.write_text("family")
    program = f"""
import asyncio, pathlib
from infra.children.child import ProcessChild
async def main():
    running = ProcessChild(forked={forked!r}).start({SPEAKER!r}, pathlib.Path({str(order)!r}))
    async for line in running.lines():
        print(line["pid"], line["grandchild"], flush=True)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    pid, grandchild = map(int, (await parent.stdout.readline()).split())
    parent.kill()
    await parent.communicate()
    await gone(pid)
    os.kill(grandchild, signal.SIGKILL)  # a real child ends its own; this one slept


async def test_a_crash_keeps_its_code_and_the_end_of_what_it_wrote(order: Path, child: ProcessChild) -> None:
    order.write_text("crash the end")
    running = child.start(SPEAKER, order)
    assert [line async for line in running.lines()] == []
    assert await running.stop() == 3
    assert running.stderr().endswith("xthe end")
    assert len(running.stderr()) == 8192
    done = await child.run(SPEAKER, order)
    assert (done.code, done.stdout) == (3, b"")
    assert done.stderr.endswith("the end")


@pytest.mark.parametrize("text", ["print no JSON\n", "print [1]\n", f"long {LINE_BYTES + 1}"])
async def test_what_is_no_json_line_is_an_error(order: Path, child: ProcessChild, text: str) -> None:
    order.write_text(text)
    running = child.start(SPEAKER, order)
    with pytest.raises(ChildOutputError):
        await anext(running.lines())
    await running.stop()


async def test_a_short_child_returns_what_it_printed(order: Path, child: ProcessChild) -> None:
    order.write_text("print done")
    done = await child.run(SPEAKER, order, memory_bytes=2**30, seconds=60)
    assert (done.code, done.stdout, done.stderr) == (0, b"done", "")


async def test_a_short_child_that_prints_too_much_is_ended(order: Path, child: ProcessChild) -> None:
    order.write_text(f"long {LINE_BYTES}")
    with pytest.raises(ChildOutputError):
        await child.run(SPEAKER, order)


async def test_memory_is_limited(order: Path, child: ProcessChild) -> None:
    order.write_text(f"memory {2**30}")
    done = await child.run(SPEAKER, order, memory_bytes=2**29)
    assert done.code == 1
    assert "MemoryError" in done.stderr


async def test_time_is_limited(order: Path, child: ProcessChild) -> None:
    order.write_text("family")
    done = await child.run(SPEAKER, order, seconds=0.5)
    assert done.code == -signal.SIGKILL
    assert done.stderr.endswith("killed after 0.5 s")


async def test_a_cancelled_run_leaves_no_process(order: Path, child: ProcessChild) -> None:
    order.write_text("print the server is there, if there is one")
    await child.run(SPEAKER, order)
    order.write_text("family")
    me = psutil.Process()
    before = set(me.children(recursive=True))
    task = asyncio.create_task(child.run(SPEAKER, order))
    async with asyncio.timeout(10):
        while len(set(me.children(recursive=True)) - before) < 2:
            await asyncio.sleep(0.02)
    born = set(me.children(recursive=True)) - before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for process in born:
        await gone(process.pid)


async def test_forks_share_what_was_imported_and_nothing_else(order: Path, forking: ProcessChild) -> None:
    order.write_text("echo")
    first, second = forking.start(SPEAKER, order), forking.start(SPEAKER, order)
    lines = [first.lines(), second.lines()]
    for each in lines:
        assert await anext(each) == {"type": "started"}
    await second.say("only you")
    assert await anext(lines[1]) == {"heard": "only you"}
    assert await first.stop() == -signal.SIGKILL
    await second.say("still there")
    assert await anext(lines[1]) == {"heard": "still there"}
    assert len(servers()) == 1, "one process has forked both"
    await second.stop()


async def test_a_fork_server_that_is_killed_takes_its_children_along_and_comes_again(
    order: Path, forking: ProcessChild
) -> None:
    order.write_text("family")
    running = forking.start(SPEAKER, order)
    lines = running.lines()
    family = await anext(lines)
    (server,) = servers()
    server.kill()
    await gone(family["pid"])
    os.kill(family["grandchild"], signal.SIGKILL)  # a real child ends its own; this one holds the output open
    assert [line async for line in lines] == []
    assert await running.stop() == -signal.SIGKILL
    order.write_text("print again")
    assert (await forking.run(SPEAKER, order)).stdout == b"again"


async def test_a_fork_of_what_cannot_be_imported_says_why(order: Path, forking: ProcessChild) -> None:
    done = await forking.run(NOBODY, order)
    assert done.code == 1
    assert "No module named tests.unit.adapters.nobody" in done.stderr


async def test_what_is_cancelled_before_it_was_forked_never_runs(order: Path, forking: ProcessChild) -> None:
    order.write_text("print the server is there")
    await forking.run(SPEAKER, order)
    (server,) = servers()
    server.suspend()
    order.write_text("family")
    task = asyncio.create_task(forking.run(SPEAKER, order))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.resume()
    order.write_text("print another")
    assert (await forking.run(SPEAKER, order)).stdout == b"another"
    async with asyncio.timeout(10):
        while server.children():
            await asyncio.sleep(0.01)
