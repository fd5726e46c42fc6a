"""A chat endpoint that writes or answers questions: any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from contracts.ports import BusyError, FaultyError, RefusedError, SlowError, UnavailableError

MAX_REPLY_BYTES = 4 * 2**20
_NOBODY = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)
_LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=16)


class HttpGenerate:
    """The `Generate` port; messages name the endpoint's status alone, for its words may hold a key or a user's text."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str = "",
        seconds: float = 120.0,
    ) -> None:
        """`base_url` is what an OpenAI client would be given, `…/v1`; a whole answer may take `seconds`."""
        self._model, self._seconds = model, seconds
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._headers: Mapping[str, str] = {"authorization": f"Bearer {api_key}"} if api_key else {}
        # trust_env: a proxy of the environment is the operator's, and not meant for a tenant's text
        self._client = httpx.AsyncClient(timeout=seconds, limits=_LIMITS, trust_env=False)

    @property
    def model(self) -> str:
        """The name that requests carry."""
        return self._model

    def another(self, model: str, headers: Mapping[str, str] | None = None) -> HttpGenerate:
        """Return another model at the same endpoint, asked over the same connections."""
        other = copy.copy(self)
        vars(other).update(_model=model, _headers={**self._headers, **(headers or {})})
        return other

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __call__(self, body: Mapping[str, Any]) -> str:
        """Return the first choice's text; raises as the port says."""
        try:
            async with asyncio.timeout(self._seconds):  # a server may send a byte now and then
                return await self._ask(body)
        except TimeoutError:
            raise SlowError("generator", _sentence(f"gave no whole answer within {self._seconds:g} s")) from None
        except _NOBODY as error:
            words = _sentence(f"cannot be reached ({type(error).__name__})")
            raise UnavailableError("generator", words) from error
        except httpx.HTTPError as error:
            raise _faulty(f"gave no whole answer ({type(error).__name__})") from error

    async def _ask(self, body: Mapping[str, Any]) -> str:
        async with self._client.stream("POST", self._url, json=dict(body), headers=dict(self._headers)) as response:
            status = response.status_code
            if status == 429:
                raise BusyError("generator", _sentence("answers 429"), _seconds(response.headers.get("retry-after")))
            if status == 503:
                raise UnavailableError("generator", _sentence("answers 503"))
            if status >= 500 or status == 408:
                raise _faulty(f"answers {status}")
            if status != 200:
                raise RefusedError(status, _sentence(f"refuses the request with {status}"))
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > MAX_REPLY_BYTES:
                    raise _faulty(f"answers with more than {MAX_REPLY_BYTES // 2**20} MiB")
        return _text(bytes(content))


def _text(content: bytes) -> str:
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _faulty("answers 200 with something that is no chat completion") from None
    return text if isinstance(text, str) else ""  # null: a refusal, or all of it was reasoning


def _seconds(header: str | None) -> float | None:
    """Return what Retry-After says, seconds or a date, as seconds from now."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _faulty(what: str) -> FaultyError:
    return FaultyError("generator", _sentence(what))


def _sentence(what: str) -> str:
    return f"the model's endpoint {what}"
