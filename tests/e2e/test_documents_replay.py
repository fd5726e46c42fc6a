"""After all that was done with documents: the log alone says what every read model holds."""

from __future__ import annotations

import pytest

from tests.e2e import support
from tests.e2e.support import User

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]
WRITTEN = {"files", "archives", "documents", "jobs", "models"}


def test_every_document_is_what_the_log_says(user: User) -> None:
    report = support.verified(user.stack)
    assert report.ok, report.differences[:10]
    assert all(report.documents.get(name) for name in WRITTEN), report.documents
