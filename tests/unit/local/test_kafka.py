"""What Kafka is given to format its folder with."""

import base64
import uuid

import pytest

from infra.local import kafka


def test_a_cluster_id_never_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [uuid.UUID(bytes=bytes([first] * 16)) for first in (0xF8, 0xFB, 0x10)]
    assert base64.urlsafe_b64encode(drawn[0].bytes).startswith(b"-")
    monkeypatch.setattr(uuid, "uuid4", lambda: drawn.pop(0))
    assert base64.urlsafe_b64decode(kafka.cluster_id() + "==") == bytes([0x10] * 16)
    assert drawn == []
