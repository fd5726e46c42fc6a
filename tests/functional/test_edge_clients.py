"""The official client of this environment against the edge on a real port; every client version runs end to end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from contracts import formats
from contracts.blobs import BlobRef
from contracts.manifest import ManifestRef
from tests.functional.edge import BASE, ROWS, CannedReply, World

CALLS = Path(__file__).parents[1] / "e2e" / "clients" / "calls.py"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def embedded(asked: dict[str, Any]) -> AsyncIterator[bytes]:
    """One vector, in the form that was asked for."""
    vector = "AACAPw==" if asked.get("encoding_format") == "base64" else [1.0]
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    yield json.dumps({"object": "list", "data": data, "model": asked["model"], "usage": usage}).encode()


async def answers(path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> CannedReply:
    """A serving process that always says the same."""
    asked = json.loads(body)
    if path.endswith("embeddings"):
        return CannedReply(200, {"content-type": "application/json"}, embedded(asked))
    chat = "chat" in path
    streamed = asked.get("stream", False)
    kind = "chat.completion" if chat else "text_completion"
    head = {"id": "c", "created": 1, "model": asked["model"], "object": kind + (".chunk" if chat and streamed else "")}

    def choice(text: str, finish: str | None) -> dict[str, Any]:
        shape = {"text": text}
        if chat:
            shape = {"delta" if streamed else "message": {"role": "assistant", "content": text, "refusal": None}}  # type: ignore[dict-item]
        return {"index": 0, "logprobs": None, "finish_reason": finish, **shape}

    def event(choices: list[Any], **extra: Any) -> bytes:
        return b"data: " + json.dumps({**head, "choices": choices, **extra}).encode() + b"\n\n"

    async def chunks() -> AsyncIterator[bytes]:
        if not streamed:
            yield json.dumps({**head, "choices": [choice("red 3", "stop")], "usage": USAGE}).encode()
            return
        yield event([choice("red", None)])
        yield event([choice(" 3", "stop")])
        yield event([], usage=USAGE)
        yield b"data: [DONE]\n\n"

    media_type = "text/event-stream" if streamed else "application/json"
    return CannedReply(200, {"content-type": media_type}, chunks())


@pytest.fixture
async def world() -> World:
    return World()


@pytest.fixture
async def served(world: World) -> AsyncIterator[dict[str, str]]:
    """The environment of a client of an edge that listens on a free port."""
    world.complete = answers
    await world.base()
    key = await world.key("local")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", access_log=False, ws="none"))
        serving = asyncio.create_task(server._serve(sockets=[listening]))
        try:
            yield {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": key}
        finally:
            server.should_exit = True
            await serving


async def test_the_official_client_is_content_with_every_answer(served: dict[str, str]) -> None:
    arguments = [sys.executable, str(CALLS), "surface", BASE]
    process = await asyncio.create_subprocess_exec(
        *arguments, env={**os.environ, **served}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b"every call of surface" in output


HEAD = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
FORM = HEAD + b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + ROWS * 800 + b"\r\n--b--\r\n"
"""Half of it is more than the bytes by which a format is told."""


@pytest.mark.parametrize(
    ("claimed", "sent", "leaves"),
    [
        (len(FORM), len(FORM) // 2, True),  # gone in the middle
        (len(FORM) + 1000, len(FORM), True),  # a Content-Length that is too large
        (len(FORM) - 1000, len(FORM), False),  # one that is too small
        (len(FORM), 500, True),  # gone before the format can be told
    ],
)
async def test_an_upload_that_does_not_come_as_announced_leaves_nothing(
    world: World, served: dict[str, str], claimed: int, sent: int, leaves: bool
) -> None:
    begun, discarded = asyncio.Event(), asyncio.Event()
    store, delete = world.blobs.put, world.blobs.delete

    async def put(*arguments: Any) -> BlobRef:
        begun.set()
        return await store(*arguments)

    async def discard(prefix: str) -> int:
        count = await delete(prefix)
        discarded.set()
        return count

    world.blobs.put, world.blobs.delete = put, discard  # type: ignore[method-assign,assignment]
    port = int(served["OPENAI_BASE_URL"].split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {served['OPENAI_API_KEY']}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {claimed}\r\n\r\n".encode()
        + FORM[:sent]
    )
    if leaves:
        await writer.drain()
        if sent > formats.HEAD:
            await asyncio.wait_for(begun.wait(), 10)
        writer.close()
    else:
        assert b"400" in await reader.readline()
        writer.close()
    await asyncio.wait_for(discarded.wait(), 10)
    assert world.blobs._blobs == {}
    assert world.topics() == []
    assert world.requests.made == []
