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

from contracts.manifest import ManifestRef
from tests.functional.edge import BASE, CannedReply, World

CALLS = Path(__file__).parents[1] / "e2e" / "clients" / "calls.py"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def answers(path: str, body: bytes, manifest: ManifestRef, request_id: str) -> CannedReply:
    """A serving process that always says the same."""
    asked = json.loads(body)
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
async def served() -> AsyncIterator[dict[str, str]]:
    """The environment of a client of an edge that listens on a free port."""
    world = World()
    world.complete = answers
    await world.base()
    key = await world.key("local")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
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
