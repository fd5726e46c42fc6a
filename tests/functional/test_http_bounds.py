"""What a stranger sends is bounded in bytes and seconds: raw sockets against the edge on a real server."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Any

import pytest

from infra.adapters.http.server import MAX_HEAD, BoundedProtocol
from infra.local.ports import LOOPBACK
from infra.runtime.listening import listen
from infra.runtime.process import GuestServer, server
from tests.functional.edge import World

GET = b"GET /healthz HTTP/1.1\r\nhost: edge\r\n"
FILE = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'


class Quick(BoundedProtocol):
    """The same bounds, shorter."""

    max_connections = 20
    head_seconds = 0.3
    body_window = 0.3
    body_bytes = 1000
    body_seconds = 1.5


class Patient(BoundedProtocol):
    """Seconds that no test waits for."""

    head_seconds = body_window = body_seconds = 600.0


Dial = Any


@asynccontextmanager
async def serving(world: World, protocol: type[BoundedProtocol]) -> AsyncIterator[Dial]:
    """Serve an edge; yields what opens a connection to it."""
    listener = listen(ip_address(LOOPBACK), 0, "edge_port")
    port = listener.getsockname()[1]
    guest = GuestServer(server(world.app, lifespan="off", protocol=protocol).config)
    running = asyncio.create_task(guest.serve([listener]))
    writers = []

    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writers.append(writer)
        return reader, writer

    try:
        yield dial
    finally:
        for writer in writers:
            writer.close()
        guest.should_exit = guest.force_exit = True
        await running


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def quick(world: World) -> AsyncIterator[Dial]:
    async with serving(world, Quick) as dial:
        yield dial


@pytest.fixture
async def patient(world: World) -> AsyncIterator[Dial]:
    async with serving(world, Patient) as dial:
        yield dial


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of the next answer."""
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        assert "content-type: application/json" in head
        return int(head.split(" ")[1]), json.loads(await reader.readexactly(length))


async def refused(reader: asyncio.StreamReader, status: int) -> dict[str, Any]:
    """Return the error of an answer in OpenAI's shape, after which the connection ends."""
    found, body = await answer(reader)
    assert (found, list(body), list(body["error"])) == (status, ["error"], ["message", "type", "param", "code"])
    async with asyncio.timeout(30):
        with suppress(ConnectionResetError):  # of what came behind it and is not read
            assert await reader.read() == b""
    error: dict[str, Any] = body["error"]
    return error


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: " + b"a" * MAX_HEAD,  # one that does not end
        GET + b"x: " + b"a" * MAX_HEAD + b"\r\n\r\n",
        b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\n\r\n",
        GET + b"a:\r\n" * (MAX_HEAD // 33) + b"\r\n",  # each header is objects
        b"\r\n" * MAX_HEAD,
    ],
)
async def test_a_head_beyond_its_bytes_is_a_431(patient: Dial, head: bytes) -> None:
    reader, writer = await patient()
    writer.write(head)
    assert (await refused(reader, 431))["code"] == "headers_too_large"


async def test_a_head_of_most_of_its_bytes_is_served(patient: Dial) -> None:
    reader, writer = await patient()
    for _ in range(3):
        writer.write(GET + b"x: " + b"a" * (MAX_HEAD - 200) + b"\r\n\r\n")
        assert (await answer(reader))[0] == 200


async def test_heads_of_a_hundred_mebibytes_cost_none(patient: Dial) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, writer = await patient()
    writer.write(GET)
    piece = b"x: " + b"a" * 8000 + b"\r\n"
    with suppress(ConnectionError):
        for _ in range(100 * 2**20 // len(piece)):
            writer.write(piece)
            await writer.drain()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


async def test_trailers_and_what_stands_beside_chunks_are_bounded_too(patient: Dial) -> None:
    post = b"POST /healthz HTTP/1.1\r\nhost: edge\r\ntransfer-encoding: chunked\r\n\r\n"
    for begun, endless in (
        (b"0\r\nx: ", b"a" * MAX_HEAD * 2),
        (b"0\r\n", b"a:b\r\n" * 3000),
        (b"1;x=", b"a" * MAX_HEAD * 2),
    ):
        reader, writer = await patient()
        writer.write(post + begun)
        assert (await answer(reader))[0] == 405
        writer.write(endless)
        async with asyncio.timeout(3):  # an idle connection ends after five seconds
            assert await reader.read() == b""


async def test_a_head_that_does_not_come_to_its_end_is_a_408(quick: Dial) -> None:
    reader, writer = await quick()
    writer.write(GET)
    assert (await refused(reader, 408))["code"] == "request_timeout"


async def test_a_head_byte_by_byte_is_a_408_also_on_a_connection_that_was_good(quick: Dial) -> None:
    reader, writer = await quick()
    writer.write(GET + b"\r\n")
    assert (await answer(reader))[0] == 200
    writer.write(GET + b"x: ")

    async def drip() -> None:
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    assert (await refused(reader, 408))["code"] == "request_timeout"
    dripping.cancel()


async def test_a_connection_that_says_nothing_ends(quick: Dial) -> None:
    reader, _ = await quick()
    async with asyncio.timeout(30):
        assert await reader.read() == b""


async def upload(world: World, length: int) -> bytes:
    key = await world.key("local")
    return (
        f"POST /v1/files HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n"
        "content-type: multipart/form-data; boundary=b\r\n\r\n"
    ).encode()


async def test_a_body_that_drips_is_a_408_and_leaves_nothing(world: World, quick: Dial) -> None:
    reader, writer = await quick()
    writer.write(await upload(world, 10**6) + FILE)

    async def drip() -> None:
        while True:
            writer.write(b"-")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    assert "less than 1000 bytes" in (await refused(reader, 408))["message"]
    dripping.cancel()
    assert world.topics() == []


async def test_a_body_has_a_total_time_however_fast_it_comes(world: World, quick: Dial) -> None:
    reader, writer = await quick()
    writer.write(await upload(world, 10**9) + FILE)

    async def pour() -> None:
        while True:
            writer.write(b"x" * 10_000)
            await asyncio.sleep(0.05)

    pouring = asyncio.create_task(pour())
    assert "longer than 1.5 s" in (await refused(reader, 408))["message"]
    pouring.cancel()


async def test_a_body_that_nobody_takes_is_not_called_slow(
    world: World, quick: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = asyncio.Event()
    put = world.blobs.put

    async def slow(*arguments: Any) -> Any:
        await taken.wait()
        return await put(*arguments)

    monkeypatch.setattr(world.blobs, "put", slow)
    head = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    body = head + FILE + b'{"messages": []}\n' * 60_000 + b"\r\n--b--\r\n"
    reader, writer = await quick()
    writer.write(await upload(world, len(body)) + body)
    await asyncio.sleep(3 * Quick.body_window)  # as long as a slow one would have been ended
    taken.set()
    assert (await answer(reader))[0] == 200


async def test_keys_are_asked_for_before_a_body_is_read(world: World, quick: Dial) -> None:
    reader, writer = await quick()
    writer.write((await upload(world, 10**9)).replace(b"Bearer tmp-", b"Bearer tmp-x"))
    status, body = await answer(reader)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    for _ in range(200):  # and what is sent all the same holds the connection for a window
        writer.write(b"x" * 1000)
        await asyncio.sleep(0.02)
        if ended := reader.at_eof() or isinstance(reader.exception(), ConnectionResetError):
            break
    assert ended


async def test_connections_are_bounded_and_half_requests_do_not_stay(quick: Dial) -> None:
    held = [await quick() for _ in range(Quick.max_connections)]
    for _, writer in held:
        writer.write(GET)
    reader, _ = await quick()
    assert (await refused(reader, 503))["type"] == "server_error"
    for reader, writer in held:
        await refused(reader, 408)
        writer.close()
    async with asyncio.timeout(10):
        status = 503
        while status == 503:  # until those who read their refusal are gone
            reader, writer = await quick()
            writer.write(GET + b"\r\n")
            status, _ = await answer(reader)
            writer.close()
    assert status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"BREW /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\na b: c\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx: \x00\r\n\r\n",
        b"GET /h\xc3\xa4 HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: edge\r\n\r\n",
        b"CONNECT edge:443 HTTP/1.1\r\nhost: edge\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_told_so_in_openais_shape(patient: Dial, request_: bytes) -> None:
    reader, writer = await patient()
    writer.write(request_)
    assert (await refused(reader, 400))["code"] == "invalid_http"


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/files/%00",
        b"/v1/files/%ff%fe",
        b"/v1/files/%",
        b"/v1/models/%ed%a0%80",
        b"/v1/files?%&=&;&limit=%zz",
        b"/v1/files?after=\xff%00",
        b"*",
        b"/v1/files/../../etc",
        b"//",
        b"/v1/files#x",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"DELETE", b"TRACE"])
async def test_an_odd_target_is_answered_in_openais_shape(
    world: World, patient: Dial, method: bytes, target: bytes
) -> None:
    reader, writer = await patient()
    key = await world.key("local")
    writer.write(method + b" " + target + b" HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer " + key.encode())
    writer.write(b"\r\n\r\n")
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ")[1])
    if (method, status) == (b"OPTIONS", 204):
        assert "allow: " in head
        return
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    assert 400 <= status < 500 or (status, body["object"]) == (200, "list")


async def test_a_protocol_that_nobody_speaks_here_is_answered_as_it_stands(patient: Dial) -> None:
    for protocol in (b"websocket", b"h2c"):
        reader, writer = await patient()
        writer.write(GET + b"connection: upgrade\r\nupgrade: " + protocol + b"\r\n\r\n")
        assert (await answer(reader))[0] == 200


async def test_requests_that_wait_on_one_connection_are_few(patient: Dial) -> None:
    reader, writer = await patient()
    writer.write((GET + b"\r\n") * 10)
    for _ in range(10):
        assert (await answer(reader))[0] == 200
    writer.write((GET + b"\r\n") * 5000)
    async with asyncio.timeout(30):
        assert (await reader.read()).count(b"200 OK") < 50
