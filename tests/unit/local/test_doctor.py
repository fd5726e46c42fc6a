"""What the doctor says."""

from pathlib import Path

from infra.local.doctor import disk, libraries, memory, ports, python, server, system, tool


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
    found = libraries({"ssl": "libssl.so.1.1", "curl": None}, needed=True)
    assert not found.ok
    assert "curl: missing" in found.found
    assert "OpenSSL 3 and libcurl4" in found.do
    assert libraries({"ssl": "libssl.so.3", "curl": "libcurl.so.4"}, needed=True).ok


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
