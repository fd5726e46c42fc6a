"""The serving process over HTTP: completions passed through unparsed, and the proof of a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from contracts.manifest import ManifestRef
from contracts.ports import Proof, ProofFailedError, UnavailableError

MANIFEST_HEADER, TENANT_HEADER = "x-temper-manifest", "x-temper-tenant"
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})
_TIMEOUT = httpx.Timeout(connect=2.0, write=10.0, pool=10.0, read=300.0)  # a first token may wait for a model to load
_LATER = frozenset({408, 425, 429})
"""The only refusals that another try may not meet."""
_LIMITS = httpx.Limits(max_connections=512, max_keepalive_connections=64)


class Serving:
    """A connection pool to one serving process."""

    def __init__(self, url: str) -> None:
        # trust_env: a proxy of the environment is not meant for our own processes
        self.client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=_LIMITS, trust_env=False)

    async def ping(self) -> None:
        """Return when serving answers; raises UnavailableError within 3 s otherwise."""
        with _translated():
            answer = await self.client.get("/healthz", timeout=3.0)
        if answer.status_code != 200:
            raise UnavailableError("serving", f"serving answers {answer.status_code}")

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()


class HttpReply:
    """The `Reply` port: status, headers and a body that is still coming."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = {
            name: value for name, value in response.headers.items() if name not in _HOP_BY_HOP
        }

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; raises UnavailableError when serving breaks off."""
        with _translated():
            async for chunk in self._response.aiter_raw():
                yield chunk

    async def close(self) -> None:
        """Stop reading; serving notices and ends the work."""
        await self._response.aclose()


class HttpComplete:
    """The `Complete` port; a cancelled caller closes the connection, so that serving stops."""

    def __init__(self, serving: Serving) -> None:
        self._client = serving.client

    async def __call__(self, path: str, body: bytes, manifest: ManifestRef, request_id: str, tenant: str) -> HttpReply:
        """POST `body` with the manifest's name and hash; return once the head of the answer is here."""
        headers = {
            "content-type": "application/json",
            MANIFEST_HEADER: f"{manifest.key}#{manifest.sha256}",
            "x-request-id": request_id,
            TENANT_HEADER: tenant,
            "accept-encoding": "identity",
        }
        request = self._client.build_request("POST", path, content=body, headers=headers)
        with _translated():
            return HttpReply(await self._client.send(request, stream=True))


class HttpProve:
    """The `Prove` port."""

    def __init__(self, serving: Serving) -> None:
        self._client = serving.client

    async def __call__(
        self,
        manifest: ManifestRef,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        expected_ids: Sequence[int],
    ) -> Proof:
        """Return the proof; raises ProofFailedError (4xx: a verdict) or UnavailableError (no answer, 5xx)."""
        question = {
            "manifest": {"key": manifest.key, "sha256": manifest.sha256},
            "messages": [dict(message) for message in messages],
            "tools": None if tools is None else [dict(tool) for tool in tools],
            "expected_ids": list(expected_ids),
        }
        with _translated():
            answer = await self._client.post("/v1/prove", json=question)
        if 400 <= answer.status_code < 500 and answer.status_code not in _LATER:
            raise _refused(answer)
        if answer.status_code != 200:
            raise UnavailableError("serving", f"serving answers {answer.status_code}")
        said = answer.json()
        return Proof(prompt_ids=tuple(said["prompt_ids"]), answer=said["answer"])


def _refused(answer: httpx.Response) -> ProofFailedError:
    """Return the verdict in an answer, whoever it is from: asking again would say the same."""
    try:
        error = answer.json()["error"]
        return ProofFailedError(str(error["code"] or "proof_refused"), str(error["message"])[:1000])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ProofFailedError("proof_refused", f"it answers {answer.status_code} to the proof's question")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise UnavailableError("serving", f"the serving process does not answer: {error!r}") from error
