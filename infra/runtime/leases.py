"""Work under a lease: claim, keep alive, do, record the outcome once, publish it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.cancellation import heed_cancellation, pause
from contracts.controls import GIVE_UP_SECONDS, HEARTBEAT_SECONDS, MAX_ATTEMPTS, Checkpoint, Claim, Control
from contracts.envelope import Event, UnsayableError
from contracts.function import Stage
from contracts.ports import (
    AbandonedError,
    ChildFailedError,
    Controls,
    Documents,
    Emit,
    Lease,
    LostLeaseError,
    PostponedError,
    UnavailableError,
)
from infra.runtime import claims

log = logging.getLogger("temper.work")

Work = Callable[[Lease], Awaitable[Sequence[Event]]]
POLL_SECONDS = 1.0
LONGEST_WAIT = 30.0
"""Seconds until what failed, or waits for a dependency, is tried again."""
MOST_WORDS = 2000
"""Of what an error says, kept for whoever tries last."""
LEAVE_SECONDS = 4.0
"""What a process that was told to end takes to give a lease back."""


class HeldLease:
    """A lease that a task of its own keeps alive."""

    def __init__(self, controls: Controls, claim: Claim) -> None:
        self._controls = controls
        self._changed = asyncio.Event()
        self.claim = claim
        self.control = claim.control

    async def record(self, name: str, value: Any) -> Any:
        """Record an input once and return what is recorded."""
        return await self._controls.record(self.claim, name, value)

    async def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make a checkpoint visible to the next attempt."""
        await self._controls.checkpoint(self.claim, checkpoint)

    async def drop_checkpoint(self, step: int) -> None:
        """Forget a checkpoint whose bytes are not what its manifest says."""
        await self._controls.drop_checkpoint(self.claim, step)

    async def refresh(self) -> Control:
        """Renew the lease now and return the document."""
        self.control = await self._controls.heartbeat(self.claim)
        return self.control

    async def changed(self) -> Control:
        """Wait until the epoch or the desire differs from the claim's, or this process is told to end."""
        await self._changed.wait()
        return self.control

    def leave(self) -> None:
        """Say that this process is told to end."""
        self._changed.set()

    async def keep_alive(self) -> None:
        """Renew until cancelled; returns when the lease is lost or could not be renewed for 20 s."""
        renewed = time.monotonic()
        while True:
            await pause(HEARTBEAT_SECONDS)
            try:
                self.control = await self._controls.heartbeat(self.claim)
                renewed = time.monotonic()
            except LostLeaseError:
                return
            except UnavailableError:
                if time.monotonic() - renewed > GIVE_UP_SECONDS:
                    return
            if (self.control.epoch, self.control.desired) != (self.claim.control.epoch, self.claim.control.desired):
                self._changed.set()


class WakeUps:
    """The WakeUp port inside one process: one event per stage."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def __call__(self, stage: str) -> None:
        """Wake whoever waits for work of `stage`."""
        self._event(stage).set()

    def _event(self, stage: str) -> asyncio.Event:
        return self._events.setdefault(stage, asyncio.Event())

    async def wait(self, stage: str) -> None:
        """Return at the next one."""
        event = self._event(stage)
        await event.wait()
        event.clear()

    async def watch(self, controls: Controls) -> None:
        """Wake every second whoever nobody woke: another process made it, or its lease ran out; until cancelled."""
        while True:
            try:
                due = await controls.claimable()
            except UnavailableError:
                due = set(self._events)  # every runner shall find out, and say so
            for stage in due:
                self(stage)
            await pause(POLL_SECONDS)


async def publish_recorded(control: Control, controls: Controls, emit: Emit, documents: Documents) -> None:
    """Publish a document's recorded events in order, each applied before the next; safe to repeat."""
    for index in range(control.published, len(control.events)):
        event = await emit(control.events[index])
        await documents.apply(event)
        await controls.published(control.subject, index + 1)


@dataclass(frozen=True, slots=True)
class Placed:
    """A stage of work in this process."""

    stage: Stage
    work: Work
    per_tenant: int | None = None
    """Things of one tenant at work at the same time in this process, None: as many as there are runners."""


class Runner:
    """Runs one stage's work, one thing at a time."""

    def __init__(
        self, placed: Placed, holder: str, controls: Controls, emit: Emit, documents: Documents, wake_ups: WakeUps
    ):
        self._stage, self._do, self._per_tenant = placed.stage, placed.work, placed.per_tenant
        self._holder = holder
        self._controls = controls
        self._emit = emit
        self._documents = documents
        self._wake_ups = wake_ups
        self.busy: str | None = None
        """Subject at work, for health."""
        self.trouble: str | None = None
        """Why nothing can be claimed at the moment, for health."""

    async def run(self) -> None:
        """Claim and work until cancelled."""
        while True:
            try:
                claim = await self._controls.claim(self._stage.name, self._holder, self._per_tenant)
                self.trouble = None
            except UnavailableError as error:
                self.trouble = str(error)
                await pause(POLL_SECONDS)
                continue
            heed_cancellation()
            if claim is None:
                await self._wake_ups.wait(self._stage.name)
                continue
            self.busy = claim.subject
            try:
                await self._hold(claim)
            finally:
                self.busy = None

    async def _hold(self, claim: Claim) -> None:
        lease, control = HeldLease(self._controls, claim), claim.control
        work = asyncio.create_task(self._work(lease))
        beat = asyncio.create_task(lease.keep_alive())
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await self._conclude(claim, work.result())
            else:
                log.warning("%s: the lease is lost, stopping", claim.subject)
        except asyncio.CancelledError:
            leaving = asyncio.create_task(self._leave(lease, work))
            await asyncio.wait({leaving}, timeout=self._stage.grace + LEAVE_SECONDS)
            leaving.cancel()
            raise
        except AbandonedError as error:
            log.info("%s: %s", claim.subject, error)
            await self._abandon(claim)
        except LostLeaseError:
            log.warning("%s: somebody else goes on with it", claim.subject)
        except UnsayableError as error:
            log.exception("%s: its result cannot be said, which another attempt would not change", claim.subject)
            await self._refuse(claim, str(error))
        except UnavailableError as error:
            log.warning("%s: waits: %s", claim.subject, error)
            wait = error.seconds if isinstance(error, PostponedError) else _growing(2.0, control.waits)
            await self._release(claim, wait, str(error), forgive=True)
        except Exception as error:
            log.exception("%s: attempt %d failed", claim.subject, control.attempts)
            await self._release(claim, _growing(0.5, control.attempts), _words(error))
        finally:
            for task in (work, beat):
                task.cancel()
            await asyncio.gather(work, beat, return_exceptions=True)

    async def _work(self, lease: HeldLease) -> Sequence[Event]:
        claim, control = lease.claim, lease.claim.control
        await claims.check(claim, self._documents)
        if control.attempts > MAX_ATTEMPTS:
            return self._stage.exhausted(claim, control.why or "it did not get any further")
        return await self._do(lease)

    async def _leave(self, lease: HeldLease, work: asyncio.Task[Sequence[Event]]) -> None:
        """Let the work come to rest where it can, and give the lease back: whoever is there goes on at once."""
        lease.leave()
        await asyncio.wait({work}, timeout=self._stage.grace)
        work.cancel()
        await asyncio.wait({work})  # its child is gone before anybody else begins
        if work.cancelled() or work.exception() is not None:
            await self._release(lease.claim, forgive=True)
            return
        try:
            await self._conclude(lease.claim, work.result())
        except (LostLeaseError, UnavailableError) as error:
            log.info("%s: whoever comes next ends it: %s", lease.claim.subject, error)

    async def _refuse(self, claim: Claim, why: str) -> None:
        try:
            await self._conclude(claim, self._stage.exhausted(claim, why))
        except (LostLeaseError, UnavailableError, UnsayableError) as error:
            log.warning("%s: could not be ended: %s", claim.subject, error)
            await self._release(claim, _growing(0.5, claim.control.attempts), why)

    async def _abandon(self, claim: Claim) -> None:
        try:
            await self._controls.end(claim.subject, (), claim)
        except (LostLeaseError, UnavailableError):
            log.info("%s: whoever claims it next ends it", claim.subject)

    async def _release(self, claim: Claim, seconds: float = 0.0, why: str = "", forgive: bool = False) -> None:
        try:
            await self._controls.release(claim, seconds, forgive, why[:MOST_WORDS])
        except (LostLeaseError, UnavailableError):
            log.info("%s: the lease runs out by itself", claim.subject)

    async def _conclude(self, claim: Claim, events: Sequence[Event]) -> None:
        if not events:
            await self._controls.release(claim, forgive=True)
            return
        stage = self._stage.onward.get(events[-1].type)
        if stage is None:
            control = await self._controls.end(claim.subject, events, claim)
        else:
            inputs = {**claim.control.inputs, **events[-1].data.model_dump(mode="json")}
            await self._controls.advance(claim, stage, inputs, events)
            found = await self._controls.get(claim.subject)
            if found is None:
                raise LostLeaseError(f"{claim.subject} is gone")
            control = found
        await publish_recorded(control, self._controls, self._emit, self._documents)
        if stage is not None:
            self._wake_ups(stage)


def _growing(first: float, times: int) -> float:
    return min(LONGEST_WAIT, first * 2.0 ** min(times, 10))


def _words(error: Exception) -> str:
    """Say what happened to whoever waits: an error's own words may quote content, and paths of this machine."""
    return str(error) if isinstance(error, ChildFailedError) else f"an unexpected {type(error).__name__}"
