"""A response in the background under a lease: asked as a chat, its answer stored, and then said, once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from contracts.blobs import BlobRef
from contracts.canonical import sha256
from contracts.controls import Claim
from contracts.documents import View
from contracts.envelope import Event
from contracts.events import Payload
from contracts.events.completions import CompletionRecorded, CompletionStarted
from contracts.manifest import ManifestRef
from contracts.ports import (
    AbandonedError,
    BlobExistsError,
    BlobNotFoundError,
    Blobs,
    Complete,
    Documents,
    Emit,
    Lease,
    Reply,
    UnavailableError,
)
from contracts.wire.asked import CHAT
from functions._shared.answer import answer_of
from functions._shared.keeping import content_key, encoded
from functions._shared.patience import ask_patiently
from functions._shared.responding import Responding, begun, is_streamed, numbered
from functions._shared.segments import Segments
from functions._shared.server_sent import chat_chunks
from functions._shared.stage import event_of
from functions._shared.visible import visible_model
from functions.answer_response import core
from functions.answer_response.telling import Silent, Telling

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class ResponsePorts:
    """What a response needs of the world."""

    blobs: Blobs
    documents: Documents
    emit: Emit
    complete: Complete
    now: Callable[[], int]
    """Milliseconds."""


async def work(lease: Lease, ports: ResponsePorts) -> list[Event]:
    """Return the ending of the response that `lease` holds.

    Whoever cancels it ends it first, so that the lease is lost and this is stopped. Raises UnavailableError while
    serving is away, and AbandonedError where it was deleted or cancelled.
    """
    ending = await _ending(lease, ports)
    return [event_of(lease.claim.control, ending, lease.claim.subject, "end")]


async def _ending(lease: Lease, ports: ResponsePorts) -> Payload:
    id, control = lease.claim.subject, lease.claim.control
    view = await _view(id, ports)
    if core.is_late(view, ports.now()):
        return core.late()
    key = content_key(control.tenant, id)
    try:
        return await _recorded(view, key, ports)  # by an attempt before this one
    except BlobNotFoundError:
        pass
    try:
        requested = msgspec.json.decode(await ports.blobs.get(view["blob"]["key"]))
    except BlobNotFoundError:
        await _view(id, ports)  # or it was deleted just now
        return core.failed("What the response was asked with is not stored any more. Create it again.")
    model = await visible_model(ports.documents, control.tenant, view["model"])
    if model is None:
        return core.no_model(view["model"])
    started = event_of(control, CompletionStarted(), id, "started")
    await ports.documents.apply(await ports.emit(started))
    chat, manifest = msgspec.json.encode(core.chat_of(requested)), ManifestRef.model_validate(model["manifest"])
    reading = _Reading(requested, view, ports)
    asked = core.request_id(id), control.tenant
    try:
        status, said = await ask_patiently(ports.complete, CHAT, chat, manifest, *asked, reading)
    except core.DiffersError:
        return core.differs()
    if status != 200:
        return core.refused(status, said)
    body = encoded({"response": said, "input": requested["input"]})
    with suppress(BlobExistsError):  # an attempt that lost its lease was faster; what is recorded is used
        await ports.blobs.put(key, body, _JSON, exclusive=True)
    return await _recorded(view, key, ports)


async def _view(id: str, ports: ResponsePorts) -> View:
    """Return the response as it is known now; raises AbandonedError where it is over."""
    view = await ports.documents.get("completions", id)
    if view is None:
        raise UnavailableError("mongo", f"the response {id} is not known yet")
    if view["over"]:
        raise _over(id)
    return view


def _over(id: str) -> AbandonedError:
    return AbandonedError(f"{id} is over; nothing more is made of it")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Makes a Response of a reply, anew in each try."""

    requested: dict[str, Any]
    view: View
    ports: ResponsePorts

    async def __call__(self, reply: Reply) -> tuple[int, Any]:
        """Return status and Response, or what is said instead; the reply is closed then."""
        if reply.status != 200:
            return await answer_of(reply)
        new_id = numbered(self.view["id"], len(self.requested["input"]))
        responding = Responding(begun(self.requested, self.view), new_id)
        try:
            telling = await self._telling()
            await telling.tell(responding.begin())
            async for chunk in chat_chunks(reply.chunks()):
                if "error" in chunk:
                    return core.status_of(chunk["error"]), chunk
                for part in telling.parts(chunk):
                    await telling.tell(responding.chunk(part))
            await telling.end(responding.end(self.ports.now() // 1000))
            return 200, responding.response
        finally:
            await reply.close()

    async def _telling(self) -> Silent:
        if not is_streamed(self.requested):
            return Silent()
        segments = Segments(self.ports.blobs, self.view["tenant"], self.view["id"])
        return Telling(segments, await segments.kept(), self.view["id"], self.ports.now, self._check)

    async def _check(self) -> None:
        """Raise AbandonedError, with nothing left of it where it was deleted, when it is over."""
        now = await self.ports.documents.get("completions", self.view["id"])
        if now is not None and now["over"]:
            if now["deleted"]:
                await self.ports.blobs.delete(f"{now['tenant']}/{now['id']}/")
            raise _over(now["id"])


async def _recorded(view: View, key: str, ports: ResponsePorts) -> CompletionRecorded:
    """Return what says of a stored answer that it is there.

    Raises BlobNotFoundError, and AbandonedError, with nothing left of the answer, where the response is over.
    """
    body = await ports.blobs.get(key)
    event_bytes = await Segments(ports.blobs, view["tenant"], view["id"]).join()
    now = await ports.documents.get("completions", view["id"])
    if now is not None and now["over"]:  # a deletion says so before it erases: one of the two sees the other
        if now["deleted"]:
            await ports.blobs.delete(f"{view['tenant']}/{view['id']}/")
        elif now["status"] != "recorded":
            await ports.blobs.remove([key])
        raise _over(view["id"])
    usage = msgspec.json.decode(body)["response"]["usage"] or {}
    return CompletionRecorded(
        kind="response",
        model=view["model"],
        blob=BlobRef(key=key, sha256=sha256(body), bytes=len(body), media_type=_JSON),
        metadata=view["metadata"],
        previous=view["previous"],
        expires_after=(view["expires_at"] - view["created_at"]) // 1000,
        tokens=usage.get("total_tokens", 0),
        event_bytes=event_bytes,
    )


def exhausted(claim: Claim, why: str) -> list[Event]:
    """Return the ending of a response that failed too often."""
    text = f"The response could not be made, for a reason of the platform's own: {why}. Create it again."
    return [event_of(claim.control, core.failed(text), claim.subject, "end")]
