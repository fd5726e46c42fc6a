"""A page of another site, whose browser asks before it calls."""

from __future__ import annotations

import json

import httpx
import pytest

from functions.edge.app import create_app
from functions.edge.settings import EdgeSettings
from tests.functional.edge import BASE, World
from tests.functional.test_edge_clients import answers

PAGE = "https://app.example.com"
CHAT = {"model": BASE, "messages": [{"role": "user", "content": "hi"}]}
ASKS = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


def browser(world: World, origins: str, key: str = "", origin: str = PAGE) -> httpx.AsyncClient:
    app = create_app(world.deps, EdgeSettings(cors_origins=origins).origins)
    headers = {"origin": origin} | ({"authorization": f"Bearer {key}"} if key else {})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge", headers=headers)


async def test_a_page_is_let_in_before_it_shows_a_key_and_its_chats_streams_and_errors_can_be_read(
    world: World, key: str
) -> None:
    world.complete = answers
    async with browser(world, f"http://localhost:3000, {PAGE}/", key) as page:
        asked = await page.options("/v1/chat/completions", headers={**ASKS, "authorization": ""})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "x-stainless-lang" in asked.headers["access-control-allow-headers"]
        assert "POST" in asked.headers["access-control-allow-methods"]
        for body, status in ((CHAT, 200), ({**CHAT, "stream": True}, 200), ({"model": BASE}, 200), ({}, 400)):
            told = await page.post("/v1/chat/completions", content=json.dumps(body))
            assert (told.status_code, told.headers["access-control-allow-origin"]) == (status, PAGE)
            assert "x-request-id" in told.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in told.headers
        unknown = await page.get("/v1/models", headers={"authorization": "Bearer none"})
        assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (401, PAGE)
        lost = await page.get("/nothing")
        assert (lost.status_code, lost.headers["access-control-allow-origin"]) == (404, PAGE)


async def test_another_page_is_not_let_in_and_by_default_none_is(world: World, key: str) -> None:
    async with browser(world, PAGE, key, "https://evil.example.com") as page:
        assert (
            await page.options("/v1/models", headers={**ASKS, "origin": "https://evil.example.com"})
        ).status_code == 400
        assert "access-control-allow-origin" not in (await page.get("/v1/models")).headers
    async with browser(world, "", key) as page:
        asked = await page.options("/v1/models", headers=ASKS)
        assert not [name for name in asked.headers if name.startswith("access-control")]
        assert not [name for name in (await page.get("/v1/models")).headers if name.startswith("access-control")]
    async with browser(world, "*", key, "https://anybody.example.com") as page:
        assert (await page.get("/v1/models")).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "text", ["app.example.com", "https://a.example.com/path", "*,https://a.example.com", "ftp://a"]
)
def test_what_is_no_origin_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        EdgeSettings(cors_origins=text)
