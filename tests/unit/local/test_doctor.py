"""What the doctor says."""

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local.doctor import (
    disk,
    foreign_kafka,
    foreign_minio,
    foreign_mongo,
    libraries,
    memory,
    ports,
    python,
    server,
    system,
    tool,
)


def test_an_old_python_is_told_what_to_install() -> None:
    found = python((3, 9, 2))
    assert not found.ok
    assert found.do == "Install Python 3.11 or newer."
    assert python((3, 12, 0)).ok


def test_another_system_is_told_to_bring_its_mongod() -> None:
    assert "TEMPER_MONGO_URL" in system("Darwin", "arm64").do
    assert system("Linux", "x86_64").ok


def test_a_missing_go_matters_only_while_minio_is_to_be_built() -> None:
    assert tool("go", "go", "", (1, 24), needed=True).do == "Install `go` 1.24 or newer."
    assert tool("go", "go", "", (1, 24), needed=False).ok


def test_an_old_tool_is_named_with_its_version() -> None:
    found = tool("go", "go", "go version go1.19 linux/amd64", (1, 24), needed=True)
    assert not found.ok
    assert found.found == "1.19, older than 1.24"


def test_missing_libraries_are_named() -> None:
    found = libraries({"lzma": "liblzma.so.2", "curl": None}, needed=True)
    assert not found.ok
    assert "curl: missing" in found.found
    assert "libcurl4 and liblzma5" in found.do
    assert libraries({"lzma": "liblzma.so.5", "curl": "libcurl.so.4"}, needed=True).ok


def test_a_server_elsewhere_that_is_silent_is_named_with_its_setting() -> None:
    nobody = "127.0.0.1:1"
    for found, setting in (
        (foreign_kafka(f"{nobody},[::1]:1"), "TEMPER_KAFKA_BOOTSTRAP"),
        (foreign_mongo(f"mongodb://me:secret@{nobody}/?serverSelectionTimeoutMS=1"), "TEMPER_MONGO_URL"),
        (foreign_minio(f"http://{nobody}", None, None), "TEMPER_S3_URL"),
    ):
        assert not found.ok
        assert "does not answer" in found.found
        assert setting in found.do
        assert "secret" not in found.found


@pytest.mark.parametrize(("newest", "ok"), [(16, False), (17, True), (18, True)])
def test_a_kafka_older_than_it_must_be_is_told_by_what_it_takes(newest: int, ok: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:

        def broker() -> None:
            connection, _ = listener.accept()
            with connection:
                assert len(connection.recv(100)) == 14
                body = struct.pack(">ihi", 1, 0, 2) + struct.pack(">hhhhhh", 0, 3, 12, 1, 4, newest)
                connection.sendall(struct.pack(">i", len(body)) + body)

        threads.submit(broker)
        found = foreign_kafka(f"127.0.0.1:{listener.getsockname()[1]}")
    assert (found.ok, bool(found.do)) == (ok, not ok)


def test_too_small_a_disk_says_how_much_is_missing() -> None:
    found = disk("disk of the home", Path("/data"), 1.5, 5)
    assert not found.ok
    assert found.do.startswith("Free 3.5 GB there")


def test_too_little_memory_says_what_helps() -> None:
    assert "TEMPER_KAFKA_BOOTSTRAP" in memory(1.0).do
    assert memory(8.0).ok


def test_taken_ports_are_named_and_no_obstacle() -> None:
    found = ports({"edge": 8000})
    assert found.ok
    assert "8000 (edge)" in found.found


def test_a_server_that_is_not_there_will_be_obtained() -> None:
    assert server("minio", False, "MinIO").found == "MinIO will be obtained at the first `temper up`"
