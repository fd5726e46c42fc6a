"""Decides who is told of a job's end, in which words, at which address and when again. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import quote

from contracts.canonical import compact
from contracts.documents.facts import View
from contracts.envelope import Event, derived_id, make
from contracts.events.notifications import NotificationDelivered, NotificationFailed, NotificationRequested, Told

STAGE = "notify"
TOLD: Mapping[str, Told] = {
    "job.succeeded": "fine_tuning.job.succeeded",
    "job.failed": "fine_tuning.job.failed",
    "job.cancelled": "fine_tuning.job.cancelled",
}
MAILED = frozenset({"job.succeeded", "job.failed"})
LONGEST_MS = 72 * 3600 * 1000
"""From the first try on; after that nobody is told."""
SOONEST, SELDOMEST = 5.0, 3600.0
"""Seconds between two tries."""
BENCHMARK_SECONDS, UNREQUESTED_SECONDS = 10.0, 30.0
"""Between two looks at a benchmark, and until one that nobody has requested does not come any more."""
_EMBEDDED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""Where the last four bytes are an IPv4 address."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def requested(event: Event, key: View | None, endpoints: Iterable[View]) -> list[Event]:
    """Return who is to be told of a job's end: its creator by mail, if `key` has an address, and endpoints.

    Nobody of another tenant is told anything (a job from outside names whom it likes), and no endpoint of what ended
    before it was made.
    """
    told: list[tuple[Literal["email", "webhook"], str]] = []
    if event.type in MAILED and key is not None and key["tenant"] == event.tenant and key["email"]:
        told.append(("email", key["id"]))
    told += [
        ("webhook", each["id"])
        for each in endpoints
        if not each["deleted"]
        and each["tenant"] == event.tenant
        and each["created_at"] <= event.at
        and TOLD[event.type] in each["event_types"]
    ]
    return [_requested(event, channel, to) for channel, to in told]


def _requested(event: Event, channel: Literal["email", "webhook"], to: str) -> Event:
    data = NotificationRequested(
        what=TOLD[event.type], job=event.subject, event_id=event.id, at=event.at, channel=channel, to=to
    )
    subject = f"note-{derived_id(event.id, channel, to).replace('-', '')}"
    id = derived_id(subject, "notification.requested")
    return make(data, subject=subject, tenant=event.tenant, id=id, cause=event.id)


def inputs(notification: View) -> dict[str, Any]:
    """Return what the work on a notification needs to know."""
    return {"requested": notification["requested"]}


def delivered(subject: str, tenant: str, answer: str) -> Event:
    """Return the ending of a notification that was taken."""
    return make(NotificationDelivered(answer=answer), subject=subject, tenant=tenant, id=derived_id(subject, "end"))


def failed(subject: str, tenant: str, code: str, message: str) -> Event:
    """Return the ending of a notification that nobody will get."""
    data = NotificationFailed(code=code, message=message)
    return make(data, subject=subject, tenant=tenant, id=derived_id(subject, "end"))


def next_try(since: int, now: int) -> float | None:
    """Return in how many seconds it is tried again: half of the time since the first try; None: not any more."""
    if now - since >= LONGEST_MS:
        return None
    return min(SELDOMEST, max(SOONEST, (now - since) / 2000))


def benchmark_wait(job: View, benchmark: View | None, ended_at: int, now: int, most: float) -> float | None:
    """Return in how many seconds to look again for the benchmark that follows a job; None: nothing is waited for."""
    waited = (now - ended_at) / 1000
    if job["succeeded"] is None or job["created"].get("benchmarks") == "none" or waited >= most:
        return None
    if benchmark is None:
        return BENCHMARK_SECONDS if waited < UNREQUESTED_SECONDS else None
    return None if benchmark["ended"] else BENCHMARK_SECONDS


# --- mail


def mail(
    id: str, job: View, file: View | None, benchmark: View | None, to: str, sender: str, link: str
) -> EmailMessage:
    """Return what a job's creator is written: the same bytes whenever it is written again; `link` may be empty."""
    succeeded, failure = job["succeeded"], job["failed"]
    state = "succeeded" if succeeded else "failed"
    name = succeeded["fine_tuned_model"] if succeeded else job["created"]["model"]
    message = EmailMessage()
    message["From"], message["To"] = sender, to
    message["Subject"] = _line(f"Fine-tuning {state}: {name}")
    message["Date"] = formatdate(job["finished_at"] / 1000)
    message["Message-ID"] = f"<{id}@temper.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    training = job["created"]["training_file"]
    lines = [f"Your fine-tuning job {job['id']} has {state}.", "", f"Base model: {job['created']['model']}"]
    if succeeded:
        lines.append(f"Tuned model: {name}")
    lines.append(f"Training file: {training}" + (f" ({file['filename']})" if file else ""))
    if failure:
        lines.append(f"Reason: {failure['message']} ({failure['code']})")
    lines += _verdict(benchmark)
    if link:
        lines += [f"Job: {link}/v1/fine_tuning/jobs/{quote(job['id'])}"]
    lines += [f"Run: {each['url']}" for each in job["tracked"] if each["url"].startswith(("http://", "https://"))]
    message.set_content("".join(_line(line) + "\n" for line in lines))
    return message


def _verdict(benchmark: View | None) -> list[str]:
    if benchmark is None:
        return []
    if benchmark["completed"]:
        return [f"Benchmark: {benchmark['completed']['verdict']}. {benchmark['completed']['sentence']}"]
    if benchmark["failed"]:
        return [f"Benchmark: there is none. {benchmark['failed']['message']}"]
    return [f"Benchmark: {benchmark['id']} is not done yet."]


def _line(text: str) -> str:
    return " ".join(text.split())[:900]


# --- webhooks


def payload(said: NotificationRequested) -> bytes:
    """Return what endpoints are sent, as OpenAI says it; the same bytes to each, and at each try."""
    id = f"evt_{said.event_id.replace('-', '')}"
    created = said.at // 1000
    return compact({"id": id, "object": "event", "created_at": created, "type": said.what, "data": {"id": said.job}})


def refused(addresses: Sequence[str], scheme: str, private: bool) -> str | None:
    """Return why an endpoint with these addresses is not called; None: it may be."""
    if scheme == "http" and not private:
        return "It is http://, which anybody on the way can read. Use https://, or set TEMPER_WEBHOOK_PRIVATE=allow."
    for text in addresses:
        address = _embedded(ipaddress.ip_address(text))
        unusual = address.is_reserved and not address.is_loopback  # of IPv6 all of ::/8 is reserved
        if address.is_link_local or address.is_multicast or address.is_unspecified or unusual:
            return "Its name leads to an address that no endpoint can have (link-local, multicast or reserved)."
        if not address.is_global and not private:
            return (
                "Its name leads to a private address. Use one that is reachable from everywhere, or set "
                "TEMPER_WEBHOOK_PRIVATE=allow where receivers in the own network are meant."
            )
    return None


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address is a way to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if found := address.ipv4_mapped or address.sixtofour:
        return found
    if any(address in network for network in _EMBEDDED) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
