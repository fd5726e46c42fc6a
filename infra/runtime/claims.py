"""What the log says of a thing that is claimed: MongoDB may have been put back to a time when it was not done yet."""

from __future__ import annotations

from contracts.controls import Claim, Control
from contracts.documents import View
from contracts.ports import AbandonedError, Documents, UnavailableError
from infra.runtime.functions import stages


async def check(claim: Claim, documents: Documents) -> None:
    """Raise AbandonedError for what has ended, and UnavailableError for a control document older than the log."""
    control = claim.control
    shown = stages()[control.stage]
    view = await documents.get(shown.model, control.subject.removesuffix(shown.suffix))
    if view is None:
        return
    if shown.over(view):
        raise AbandonedError("the log says that it has ended: nothing is done twice")
    if shown.model == "jobs" and behind(control, view, claim.fence - 1):
        raise UnavailableError("mongo", "its control document is older than the log, and is being derived again")


def behind(control: Control, job: View, fence: int) -> bool:
    """Whether the log knows more of a job than its control document, or of later claims than `fence`.

    A control document is always written first.
    """
    said = [*job["runs"], *(each for each in job["requests"] if each["epoch"])]
    return (
        (job["plan"] is not None and control.stage == "prepare")
        or max((each["epoch"] for each in said), default=0) > control.epoch
        or max((each["attempt"] for each in job["runs"]), default=0) > fence
    )
