"""Calls of webhook endpoints: a name is resolved once, and the address that was looked at is the one called."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from standardwebhooks import Webhook

from contracts.ports import RefusedError, UnavailableError
from functions.notify import core

MAX_ANSWER_BYTES = 4096
"""What is read of an answer, for whoever tests an endpoint."""
_TLS = httpx.create_ssl_context()


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What an endpoint said."""

    status: int
    body: bytes
    """Its beginning."""


async def call(url: str, secret: str, id: str, body: bytes, private: bool, seconds: float) -> WebhookAnswer:
    """POST `body`, signed as Standard Webhooks says; `id` is the same at each try, by which receivers tell repeats.

    Raises RefusedError for an address that may not be called, UnavailableError where nobody answers.
    """
    try:
        async with asyncio.timeout(seconds):  # an endpoint may send a byte now and then
            return await _post(url, secret, id, body, private, seconds)
    except (httpx.HTTPError, TimeoutError, OSError, UnicodeError) as error:
        raise UnavailableError("webhook", f"the endpoint gave no whole answer ({type(error).__name__})") from error


async def _post(url: str, secret: str, id: str, body: bytes, private: bool, seconds: float) -> WebhookAnswer:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if (why := core.refused(addresses, parts.scheme, private)) is not None:
        raise RefusedError(400, why)
    dialled = httpx.URL(url).copy_with(host=addresses[0])
    headers = {"host": parts.netloc, **_signed(secret, id, body)}
    names: Mapping[str, Any] = {} if _is_address(host) else {"sni_hostname": host}
    async with (
        httpx.AsyncClient(verify=_TLS, trust_env=False, follow_redirects=False, timeout=seconds) as client,
        client.stream("POST", dialled, content=body, headers=headers, extensions=names) as response,
    ):
        said = bytearray()
        async for part in response.aiter_raw():
            said += part
            if len(said) >= MAX_ANSWER_BYTES:
                break
        return WebhookAnswer(response.status_code, bytes(said[:MAX_ANSWER_BYTES]))


def _signed(secret: str, id: str, body: bytes) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "content-type": "application/json",
        "user-agent": "Temper/1.0 (webhooks)",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, now, body.decode()),
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
