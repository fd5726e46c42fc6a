"""The function `notify` on memory adapters, with a clock that stands until it is moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import SecretStr

from contracts.envelope import Event
from contracts.events.jobs import JobCreated, JobSucceeded
from contracts.events.keys import KeyCreated
from functions.notify import core, handler, work
from functions.notify.function import FUNCTION
from functions.notify.settings import NotifySettings
from infra.adapters.memory import MemoryControls
from infra.runtime.leases import Placed, Runner, WakeUps
from tests.functional.edge import BASE, REF, World
from tests.receivers import Post, wanted

JOB, KEY, ADA = "ftjob-1", "key-ada", "ada@example.com"


MODEL = f"ft:{BASE}:acme::x"


SUCCEEDED = JobSucceeded(
    fine_tuned_model=MODEL, manifest=REF, result_files=(), trained_tokens=9, step=3, prompt_sha256="3" * 64
)


@dataclass
class Notifying:
    """The function `notify` on memory, and a clock that stands until it is moved."""

    settings: NotifySettings = field(default_factory=lambda: NotifySettings(webhook_private="allow"))
    world: World = field(default_factory=World)
    ahead: float = 0.0
    """Seconds by which the clock was moved."""

    def __post_init__(self) -> None:
        self.controls = MemoryControls(lambda: self.ahead)

    def now(self) -> int:
        last = self.world.emit.events[-1].at if self.world.emit.events else 0
        return last + int(self.ahead * 1000)

    async def born(self, tenant: str = "acme", email: str | None = ADA, **more: Any) -> None:
        """A key with an address, and a job that was created with it."""
        await self.world.say(KeyCreated(sha256="1" * 64, hint="h", email=email), KEY, "acme")
        created = {"model": BASE, "training_file": "file-1", "creator_id": KEY, "benchmarks": "none", **more}
        await self.world.say(JobCreated(**created), JOB, tenant)

    async def end(self, data: Any = SUCCEEDED, tenant: str = "acme") -> Event:
        """Let the job end, and the function hear of it."""
        event = await self.world.say(data, JOB, tenant, id="the end")
        await self.hear(event)
        return event

    async def hear(self, event: Event) -> None:
        """Let the function hear of an event, and of whatever it says of that."""
        world = self.world
        deps = handler.NotifyPorts(world.documents, self.controls, world.emit, WakeUps(), self.settings)
        before = len(world.emit.events)
        await handler.on_job_ended(event, deps)
        for said in world.emit.events[before:]:
            await handler.on_notification_requested(said, deps)

    async def round(self) -> None:
        """Work on all that can be claimed now, once each."""
        world = self.world
        deps = work.DeliveryPorts(world.documents, world.secrets, self.settings, self.now)
        placed = Placed(FUNCTION.stages[0], partial(work.work, deps=deps))
        runner = Runner(placed, "me", self.controls, world.emit, world.documents, WakeUps())
        while (claim := await self.controls.claim(core.STAGE, "me")) is not None:
            await runner._hold(claim)

    async def after(self, seconds: float) -> None:
        """Let time pass, and work again."""
        self.ahead += seconds
        await self.round()

    async def endings(self) -> list[Any]:
        """What was said at last of each notification."""
        found = await self.world.documents.find("notifications", {"ended": True}, [("created_at", 1)])
        return [each["delivered"] or each["failed"] for each in found]


def by_mail(post: Post, **more: Any) -> Notifying:
    return Notifying(NotifySettings(smtp_url=SecretStr(f"smtp://127.0.0.1:{post.port}"), **more))


async def made(notifying: Notifying, url: str, *types: Any, tenant: str = "acme") -> dict[str, Any]:
    """Make an endpoint through the API."""
    async with notifying.world.client(await notifying.world.key(tenant, 7)) as api:
        answer = await api.post("/v1/webhook_endpoints", json=wanted(url, *types))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
