"""Answers of an endpoint, each recorded before it is used, so that nothing is asked twice after a crash."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from contracts.canonical import compact, sha256
from contracts.ports import (
    BlobExistsError,
    BlobNotFoundError,
    Blobs,
    BusyError,
    Generate,
    Lease,
    RefusedError,
    UnavailableError,
)

Pause = Callable[[float], Awaitable[None]]
Result = TypeVar("Result")
_BAD_REQUEST = (400, 422)
"""What servers say of a `response_format` that they do not know."""


class AwayError(UnavailableError):
    """The endpoint answered nobody for as long as one request was tried."""


class UnansweredError(Exception):
    """The endpoint answers others, and not this request."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint is waited for."""

    attempts: int = 5
    """For one request."""
    first_wait: float = 1.0
    """Seconds; doubled with each attempt unless the endpoint names a time."""
    longest_wait: float = 60.0
    """Seconds, whatever the endpoint names."""
    outages: int = 5
    """Times that the work is given back because the endpoint is away, before it goes on without."""
    in_flight: int = 4
    """Requests of one piece of work at the same time."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An answer and the blob that holds it."""

    text: str
    key: str


class Replies:
    """One endpoint, as one piece of work asks it."""

    def __init__(
        self, blobs: Blobs, prefix: str, generate: Generate, patience: Patience, pause: Pause, simplest: int = 0
    ) -> None:
        """Replies lie at `{prefix}/{sha256 of the request}.json`; forms before `simplest` are known to be refused."""
        self._blobs, self._prefix = blobs, prefix
        self._generate, self._patience, self._pause = generate, patience, pause
        self._answered = 0
        self._simplest = simplest
        self._closed = False

    @property
    def simplest(self) -> int:
        """Which of a request's forms the endpoint took last."""
        return self._simplest

    def close(self) -> None:
        """From now on give recorded answers alone."""
        self._closed = True

    async def ask(self, requests: Sequence[Mapping[str, Any]]) -> Recorded:
        """Return the answer to the first of `requests` that the endpoint takes; they ask the same in simpler forms.

        Raises AwayError, UnansweredError, or RefusedError when not even the simplest form is taken.
        """
        for request in requests:
            found = await self._recorded(self._key(request))
            if found is not None:
                return found
        if self._closed:
            raise UnansweredError
        form = min(self._simplest, len(requests) - 1)
        while True:
            try:
                text = await self._patiently(requests[form])
            except RefusedError as error:
                form += 1
                if error.status not in _BAD_REQUEST or form == len(requests):
                    raise
            else:
                self._simplest = max(self._simplest, form)
                return await self._record(requests[form], text)

    async def _patiently(self, request: Mapping[str, Any]) -> str:
        answered = self._answered
        wait = self._patience.first_wait
        for left in reversed(range(self._patience.attempts)):
            try:
                text = await self._generate(request)
            except UnavailableError as error:
                away = error
            except RefusedError:
                self._answered += 1
                raise
            else:
                self._answered += 1
                return text
            if left:
                asked = away.retry_after if isinstance(away, BusyError) else None
                await self._pause(min(wait if asked is None else asked, self._patience.longest_wait))
                wait *= 2
        if self._answered == answered:
            raise AwayError(away.dependency, str(away)) from away
        raise UnansweredError(str(away)) from away

    def _key(self, request: Mapping[str, Any]) -> str:
        return f"{self._prefix}/{sha256(compact(request))}.json"

    async def _record(self, request: Mapping[str, Any], text: str) -> Recorded:
        key = self._key(request)
        text = text.encode(errors="replace").decode()  # halves of surrogate pairs, which no store takes
        try:
            await self._blobs.put(key, compact({"request": request, "text": text}), "application/json", exclusive=True)
        except BlobExistsError:  # an attempt that lost its lease was faster; what is recorded is used
            found = await self._recorded(key)
            if found is not None:
                return found
        return Recorded(text, key)

    async def _recorded(self, key: str) -> Recorded | None:
        try:
            return Recorded(json.loads(await self._blobs.get(key))["text"], key)
        except BlobNotFoundError:
            return None


async def wait_out(
    lease: Lease, name: str, replies: Replies, patience: Patience, ask: Callable[[], Awaitable[Result]]
) -> Result:
    """Return what `ask` returns; when the endpoint is away too often, what it returns of recorded answers alone.

    Until then AwayError is raised, so that others may work meanwhile.
    """
    try:
        return await ask()
    except AwayError:
        if not await spent(lease, f"{name}_away", patience.outages):
            raise
    replies.close()
    return await ask()


async def spent(lease: Lease, name: str, times: int) -> bool:
    """Whether `times` attempts have ended over `name` before this one; each is counted once."""
    fence = lease.claim.fence
    for nth in range(1, times + 1):
        if await lease.record(f"{name}_{nth}", fence) == fence:
            return False
    return True
