"""The server that things are brought from: its lists page by page, its files' bytes, its limits of speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from infra.local.errors import UserError

Object = dict[str, Any]
TRIES = 6
LONGEST = 300.0
"""Seconds that a server may ask to wait for."""
MOST_PAGES = 10_000
AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class GoneError(Exception):
    """The server does not give it out any more; says its reason."""


class Source:
    """Reads; whatever passes away by itself is asked again."""

    def __init__(self, http: httpx.AsyncClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._http = http
        self._sleep = sleep

    async def items(self, path: str, **query: str) -> AsyncIterator[Object]:
        """Yield all items of a list; raises UserError."""
        after: str | None = None
        seen: set[Any] = set()
        for _ in range(MOST_PAGES):
            page = await self.get(path, **query, **({"after": after} if after else {}))
            data = page.get("data")
            if not isinstance(data, list):
                raise UserError(f"{self._http.base_url}{path} answers without a list, so it is not OpenAI's API.")
            new = [each for each in data if isinstance(each, dict) and each.get("id") not in seen]
            for each in new:
                seen.add(each.get("id"))
                yield each
            after = new[-1].get("id") if new else None
            if after is None or page.get("has_more") is False:
                return

    async def get(self, path: str, **query: str) -> Object:
        """Return an object; raises GoneError or UserError."""
        response = await self._asked(path, query)
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{self._http.base_url}{path} answers with something other than a JSON object.")
        return found

    async def fetch(self, id: str, to: Path) -> None:
        """Write a file's bytes to `to`; raises GoneError or UserError."""
        response = await self._asked(f"/files/{quote(id, safe='')}/content", {}, to)
        await response.aclose()

    async def _asked(self, path: str, query: Mapping[str, str], to: Path | None = None) -> httpx.Response:
        why = ""
        for attempt in range(TRIES):
            try:
                async with self._http.stream("GET", path.removeprefix("/"), params=query) as response:
                    if response.is_success and to is not None:
                        with to.open("wb") as file:
                            async for chunk in response.aiter_bytes():
                                file.write(chunk)
                        return response
                    await response.aread()
            except httpx.TransportError as error:
                why, wait = f"it does not answer ({error or type(error).__name__})", 0.5 * 2**attempt
            else:
                if response.status_code not in AGAIN:
                    return _answered(response)
                why, wait = reason(response), _wait(response, attempt)
            if wait > LONGEST:
                raise UserError(
                    f"The server asks to wait for {wait:.0f} s: {why} What came is kept; run it again then."
                )
            if attempt + 1 < TRIES:
                await self._sleep(wait)
        raise UserError(f"{self._http.base_url}: {why} What came is kept; run it again.")


def _wait(response: httpx.Response, attempt: int) -> float:
    """Return the seconds until the next try, as the server wishes."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(response.headers[name]) / unit
        except (KeyError, ValueError):
            continue
        return max(seconds, 0.0)
    return float(0.5 * 2**attempt)


def _answered(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    said = reason(response)
    if response.status_code == 401:
        raise UserError(f"The server does not take the key: {said}")
    raise GoneError(said)


def reason(response: httpx.Response) -> str:
    """Return the sentence of a refusal, whatever shape it has."""
    try:
        error = response.json()["error"]
        said = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        said = response.text
    return f"{' '.join(str(said).split())[:300] or f'status {response.status_code}'}"
