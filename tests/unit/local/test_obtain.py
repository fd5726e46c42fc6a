"""Servers land in the cache whole, once, or not at all."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local import obtain
from infra.local.errors import UserError
from infra.local.obtain import ServerRecipe, last_line, obtain_recipe, run


def make_two_files(folder: Path) -> None:
    (folder / "program").write_text("first half")
    with (folder.parent / "times-made").open("a") as count:
        count.write("x")
    (folder / "rest").write_text("second half")


RECIPE = ServerRecipe(name="thing-1", why="for a test", needs_mb=1, tools=(), make=make_two_files)


def quiet(_: str) -> None:
    return


def obtain_in_process(cache: Path) -> None:
    obtain_recipe(RECIPE, cache, quiet)


def make_and_hang(folder: Path) -> None:
    (folder / "program").write_text("first half")
    time.sleep(60)


def obtain_and_hang(cache: Path) -> None:
    obtain_recipe(replace(RECIPE, make=make_and_hang), cache, quiet)


def test_a_server_is_obtained_once(tmp_path: Path) -> None:
    said: list[str] = []
    first = obtain_recipe(RECIPE, tmp_path, said.append)
    second = obtain_recipe(RECIPE, tmp_path, said.append)
    assert first == second == tmp_path / "servers" / "thing-1"
    assert (first.parent / "times-made").read_text() == "x"
    assert sorted(file.name for file in first.iterdir()) == ["program", "rest"]
    assert "for a test" in said[0]
    assert "obtained in" in said[1]


def test_a_long_step_says_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def make_slowly(_: Path) -> None:
        until = time.monotonic() + 10
        while not any("still at it" in line for line in said):
            assert time.monotonic() < until
            time.sleep(0.01)

    monkeypatch.setattr(obtain, "REPORT_EVERY", 0.05)
    obtain_recipe(replace(RECIPE, make=make_slowly), tmp_path, said.append)
    assert "obtained in" in said[-1]


def test_processes_that_obtain_together_make_it_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=obtain_in_process, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert (tmp_path / "servers" / "times-made").read_text() == "x"


def test_a_failed_attempt_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "program").write_text("first half")
        raise UserError("Maven failed.")

    with pytest.raises(UserError):
        obtain_recipe(replace(RECIPE, make=fail), tmp_path, quiet)
    assert [path.name for path in (tmp_path / "servers").iterdir()] == [".thing-1.lock"]


def test_a_killed_attempt_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=obtain_and_hang, args=(tmp_path,))
    process.start()
    while not list(tmp_path.glob("servers/.thing-1.part-*/program")):
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    target = obtain_recipe(RECIPE, tmp_path, quiet)
    assert (target / "rest").exists()
    assert not list(tmp_path.glob("servers/.thing-1.part-*"))


def test_a_missing_tool_is_named_with_what_to_install(tmp_path: Path) -> None:
    recipe = replace(RECIPE, tools=(("no-such-program", "Go 1.24 or newer"),))
    with pytest.raises(UserError, match=r"needs the program `no-such-program`.*Install Go 1\.24"):
        obtain_recipe(recipe, tmp_path, quiet)


def test_a_full_disk_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs 99999999999 MB of disk, and .* has \d+ MB free\. Free some"):
        obtain_recipe(replace(RECIPE, needs_mb=99_999_999_999), tmp_path, quiet)
    assert not (tmp_path / "servers" / "thing-1").exists()


def test_a_failing_tool_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Go failed with exit status 3: the reason\. Is its registry reachable"):
        run(
            ["sh", "-c", "echo noise >&2; printf '\\033[31mthe reason\\033[0m\\n' >&2; exit 3"],
            tmp_path,
            "Go",
            os.environ,
        )


def test_the_last_line_is_the_last_that_says_something() -> None:
    assert last_line("a\n  b  \n\n") == "b"
    assert last_line("") == ""


def test_a_mongod_that_cannot_run_is_refused_with_the_missing_libraries(tmp_path: Path) -> None:
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\necho 'libcurl.so.4: cannot open shared object file' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match=r"libcurl\.so\.4: cannot open.*It needs libcurl4"):
        obtain.check_mongod(program)
