"""Which program a server is started from."""

from pathlib import Path

import pytest

from infra.local.errors import UserError
from infra.local.find import find_java, find_kafka, find_mongod, java_major, version_in


def program(folder: Path, name: str, says: str) -> Path:
    """A program that prints one text."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)
    return path


def never(_: str) -> None:
    raise AssertionError("nothing should be said")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache in which the servers are already."""
    for name in ("kafka-4.1.0/libs", "mongod-6.0.27"):
        (tmp_path / "cache" / "servers" / name).mkdir(parents=True)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025', 25),
        ("", None),
    ],
)
def test_the_java_version_is_read_in_all_its_forms(text: str, major: int | None) -> None:
    assert java_major(text) == major


def test_a_version_is_found_in_what_programs_print() -> None:
    assert version_in("db version v6.0.5\nBuild Info") == (6, 0, 5)
    assert version_in("go version go1.26.8 linux/amd64") == (1, 26, 8)
    assert version_in("none") == ()


def test_no_java_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UserError, match=r"no `java` is on PATH\. Install a JDK 17 or newer"):
        find_java()


def test_an_old_java_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = program(tmp_path / "bin", "java", 'openjdk version "11.0.2" 2019')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UserError, match=rf"{java} is 11\. Install a JDK 17"):
        find_java()


def test_a_new_mongod_on_path_is_preferred(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path / "bin", "mongod", "db version v7.0.28")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    assert find_mongod(cache, never) == own


@pytest.mark.parametrize("version", ["4.4.30", "6.0.26", "7.0.27", "8.0.16", "8.1.9"])
def test_a_mongod_on_path_with_a_known_hole_is_passed_over_aloud(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    program(tmp_path / "bin", "mongod", f"db version v{version}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    said: list[str] = []
    assert find_mongod(cache, said.append) == cache / "servers" / "mongod-6.0.27" / "mongod"
    assert f"{version}, and 6.0.27, 7.0.28, 8.0.17, 8.2.3 or newer is needed: not used" in said[0]


def test_kafka_home_is_preferred_when_it_is_new_enough(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-4.2.0.jar").touch()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "kafka"))
    assert find_kafka(cache, never) == libs


def test_an_old_kafka_is_passed_over_aloud(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-3.9.1.jar").touch()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path / "kafka"))
    said: list[str] = []
    assert find_kafka(cache, said.append) == cache / "servers" / "kafka-4.1.0" / "libs"
    assert "3.9.1, older than 4.1: not used" in said[0]


def test_kafka_on_path_is_found_by_its_start_script(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = program(tmp_path / "kafka" / "bin", "kafka-server-start.sh", "")
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir()
    (libs / "kafka_2.13-4.1.1.jar").touch()
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{start.parent}:/bin:/usr/bin")
    assert find_kafka(cache, never) == libs
