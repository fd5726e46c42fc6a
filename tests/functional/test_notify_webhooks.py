"""P2, P6: endpoints are told of a job's end once, at an address that may be called, and no secret gets out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import OpenAI
from openai.types.webhooks import WebhookEndpoint, WebhookEndpointWithSecret

from contracts.envelope import body
from contracts.events.jobs import JobCancelled, JobFailed
from functions.notify import core
from functions.notify.settings import NotifySettings
from infra.cli.webhooks import send_test
from tests.functional.edge import World
from tests.functional.notifying import JOB, SUCCEEDED, Notifying, made
from tests.receivers import Endpoint, wanted


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (SUCCEEDED, "fine_tuning.job.succeeded"),
        (JobFailed(code="c", message="m"), "fine_tuning.job.failed"),
        (JobCancelled(), "fine_tuning.job.cancelled"),
    ],
)
async def test_openais_client_accepts_what_an_endpoint_is_sent(receiver: Endpoint, data: Any, type: Any) -> None:
    notifying = Notifying()
    await notifying.born()
    told = await made(notifying, receiver.url, type)
    await notifying.end(data)
    await notifying.round()
    ((headers, content),) = receiver.taken()
    with OpenAI(api_key="k", webhook_secret=told["signing_secret"]) as client:
        event = client.webhooks.unwrap(content, headers)
    assert (event.type, event.object) == (type, "event")
    assert event.model_dump()["data"] == {"id": JOB}
    assert headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_an_endpoint_that_fails_is_called_again_ever_more_seldom_under_one_id_and_after_72_hours_not_any_more(
    receiver: Endpoint,
) -> None:
    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url)
    await notifying.end()
    receiver.status = 500
    await notifying.round()
    while not await notifying.endings():
        calls, before = len(receiver.calls), notifying.ahead
        while len(receiver.calls) == calls:
            await notifying.after(5)
        assert notifying.ahead - before <= core.SELDOMEST + 5
    assert 80 < len(receiver.calls) < 110
    assert 72 <= notifying.ahead / 3600 < 74
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 1
    assert len({content for _, _, content in receiver.calls}) == 1
    (ending,) = await notifying.endings()
    assert ending["code"] == "undeliverable"
    assert "72 hours" in ending["message"]
    assert "answered 500" in ending["message"]
    async with notifying.world.client(await notifying.world.key("acme", 7)) as api:
        (shown,) = (await api.get("/v1/notifications")).json()["data"]
        assert (await api.get(f"/v1/notifications/{shown['id']}")).json() == shown
    assert (shown["status"], shown["error"]) == ("failed", ending)
    async with notifying.world.client(await notifying.world.key("other", 8)) as other:
        assert (await other.get("/v1/notifications")).json()["data"] == []
        assert (await other.get(f"/v1/notifications/{shown['id']}")).status_code == 404


async def test_a_redirection_is_not_followed(receiver: Endpoint) -> None:
    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url)
    await notifying.end()
    receiver.status = 307
    await notifying.round()
    assert len(receiver.calls) == 1
    assert await notifying.endings() == []


async def test_a_private_address_is_not_called_unless_settings_allow_it(receiver: Endpoint) -> None:
    notifying = Notifying(NotifySettings())
    await notifying.born()
    await made(notifying, receiver.url.replace("http:", "https:"))
    await notifying.end()
    await notifying.round()
    (ending,) = await notifying.endings()
    assert ending["code"] == "refused"
    assert "TEMPER_WEBHOOK_PRIVATE=allow" in ending["message"]
    assert receiver.calls == []


async def test_a_name_is_resolved_once_and_the_address_that_was_looked_at_is_the_one_called(
    receiver: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, names = asyncio.get_running_loop(), list[str]()

    async def resolved(host: str, port: int, **_: Any) -> list[Any]:
        names.append(host)  # the next answer would be another address
        return [(2, 1, 6, "", ("127.0.0.1" if len(names) == 1 else "192.0.2.1", port))]

    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url.replace("127.0.0.1", "hooks.test"))
    await notifying.end()
    real = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **more: Any) -> Any:
        return await (resolved if host == "hooks.test" else real)(host, port, **more)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    await notifying.round()
    ((headers, _),) = receiver.taken()
    assert headers["host"] == f"hooks.test:{receiver.port}"
    assert names == ["hooks.test"]


@pytest.mark.parametrize(
    ("address", "denied", "allowed"),
    [
        ("93.184.215.14", False, False),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", False, False),
        ("127.0.0.1", True, False),
        ("10.1.2.3", True, False),
        ("100.100.100.200", True, False),
        ("::1", True, False),
        ("fd00:ec2::254", True, False),
        ("::ffff:10.0.0.1", True, False),
        ("64:ff9b::a00:1", True, False),
        ("2002:a00:1::", True, False),
        ("169.254.169.254", True, True),
        ("::ffff:169.254.169.254", True, True),
        ("64:ff9b::a9fe:a9fe", True, True),
        ("fe80::1", True, True),
        ("0.0.0.0", True, True),
        ("224.0.0.1", True, True),
    ],
)
def test_which_addresses_may_be_called(address: str, denied: bool, allowed: bool) -> None:
    assert (core.refused([address], "https", private=False) is not None) == denied
    assert (core.refused([address], "https", private=True) is not None) == allowed
    assert (core.refused(["93.184.215.14", address], "https", private=False) is not None) == denied
    assert core.refused(["93.184.215.14"], "http", private=False) is not None


async def test_an_endpoint_is_told_only_of_its_tenants_jobs_that_ended_after_it_was_made(receiver: Endpoint) -> None:
    notifying = Notifying()
    await notifying.born()
    await made(notifying, receiver.url, tenant="mallory")
    event = await notifying.end()
    await made(notifying, receiver.url)
    await notifying.hear(event)
    await notifying.round()
    assert receiver.calls == []


async def test_a_deleted_endpoint_is_not_called_any_more_and_its_secret_is_forgotten(receiver: Endpoint) -> None:
    notifying = Notifying()
    await notifying.born()
    told = await made(notifying, receiver.url)
    await notifying.end()
    async with notifying.world.client(await notifying.world.key("acme", 7)) as api:
        gone = await api.delete(f"/v1/webhook_endpoints/{told['id']}")
        assert gone.json() == {"id": told["id"], "object": "webhook_endpoint.deleted", "deleted": True}
        assert (await api.get(f"/v1/webhook_endpoints/{told['id']}")).status_code == 404
    await notifying.round()
    assert receiver.calls == []
    assert await notifying.endings() == [{"code": "refused", "message": "The endpoint was deleted."}]
    assert notifying.world.secrets.kept == {}


async def test_endpoints_are_made_listed_changed_and_their_secret_is_shown_when_it_is_new_alone(
    receiver: Endpoint,
) -> None:
    notifying = Notifying()
    await notifying.born()
    world = notifying.world
    async with world.client(await world.key("acme", 7)) as api, world.client(await world.key("other", 8)) as other:
        answer = await api.post("/v1/webhook_endpoints", json=wanted(receiver.url), headers={"idempotency-key": "1"})
        first = WebhookEndpointWithSecret.model_validate(answer.json())
        again = await api.post("/v1/webhook_endpoints", json=wanted(receiver.url), headers={"idempotency-key": "1"})
        assert again.json() == answer.json()
        path = f"/v1/webhook_endpoints/{first.id}"
        changed = await api.post(path, json={"name": "other"})
        assert WebhookEndpoint.model_validate(changed.json()).name == "other"
        rotated = WebhookEndpointWithSecret.model_validate((await api.post(f"{path}/rotate_secret", json={})).json())
        assert rotated.signing_secret != first.signing_secret
        listed = (await api.get("/v1/webhook_endpoints")).json()
        assert [each["id"] for each in listed["data"]] == [first.id]
        assert (await other.get("/v1/webhook_endpoints")).json()["data"] == []
        assert [(await other.get(path)).status_code, (await other.delete(path)).status_code] == [404, 404]
        shown = str([listed, changed.json(), (await api.get(path)).json()])
    await notifying.end()
    await notifying.round()
    ((headers, content),) = receiver.taken()
    with OpenAI(api_key="k") as client:
        client.webhooks.unwrap(content, headers, secret=rotated.signing_secret)
    said = shown + str([body(event) for event in world.emit.events]) + str(world.documents.stored)
    for secret in (first.signing_secret, rotated.signing_secret):
        assert secret.removeprefix("whsec_") not in said + str(notifying.controls.controls)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "https://user:password@example.com"}, "url"),
        ({"url": "https://example.com:99999"}, "url"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["batch.completed"]}, "event_types[0]"),
        ({"nam": "x"}, "nam"),
        ({"name": "a\nb"}, "name"),
    ],
)
async def test_what_cannot_be_an_endpoint_is_refused(change: dict[str, Any], param: str) -> None:
    world = World()
    async with world.client(await world.key("acme")) as api:
        answer = await api.post("/v1/webhook_endpoints", json={**wanted("https://example.com"), **change})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert world.topics() == []


async def test_a_test_of_an_endpoint_is_signed_as_an_event_is_and_its_answer_is_shown(
    receiver: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPER_WEBHOOK_PRIVATE", "allow")
    notifying = Notifying()
    told = await made(notifying, receiver.url)
    here: Any = notifying.world
    answer = await send_test(here, told["id"])
    assert (answer.status, answer.body) == (200, b"thanks")
    ((headers, content),) = receiver.taken()
    with OpenAI(api_key="k") as client:
        event = client.webhooks.unwrap(content, headers, secret=told["signing_secret"])
    assert event.model_dump()["data"] == {"id": "ftjob-test"}
