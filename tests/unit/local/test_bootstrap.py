"""What must exist before the first request is made although a server that has only just started is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.ports import RebuildingError, UnavailableError
from infra.local import stack
from infra.local.errors import UserError
from infra.local.stack import LocalStack, Programs
from infra.runtime import bootstrap
from infra.settings import Settings


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def local(tmp_path: Path, said: list[str]) -> LocalStack:
    return LocalStack(Settings(home=tmp_path), (), Programs(), said.append, usual_ports=False)


async def test_a_server_that_is_slow_at_first_is_asked_again(
    local: LocalStack, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [UnavailableError("kafka", "Kafka did not acknowledge a record."), None]

    async def made(settings: Settings) -> str | None:
        if answer := answers.pop(0):
            raise answer
        return None

    monkeypatch.setattr(bootstrap, "bootstrap", made)
    await local.bootstrap(local.asked)
    assert [line.split()[0] for line in said] == ["kafka", "topics"]
    assert "Kafka did not acknowledge a record." in said[0]


async def test_one_that_stays_away_ends_in_a_sentence(local: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(settings: Settings) -> str | None:
        raise UnavailableError("minio", "MinIO does not answer.")

    monkeypatch.setattr(bootstrap, "bootstrap", refused)
    monkeypatch.setattr(stack, "BOOTSTRAP_WITHIN", 0.0)
    with pytest.raises(UserError, match=r"MinIO does not answer\. The logs in .* say why; `temper up` again goes on\."):
        await local.bootstrap(local.asked)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "read in"),
        (RebuildingError(), "the API answers 503 for now: the read models are being rebuilt from the log"),
    ],
)
async def test_a_start_waits_for_the_read_models_and_says_when_they_take_longer(
    error: Exception | None, told: str, local: LocalStack, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    patiences = []

    async def whole(settings: Settings, patience: float) -> None:
        patiences.append(patience)
        if error is not None:
            raise error

    monkeypatch.setattr(bootstrap, "read_models", whole)
    await local.read_models(local.asked)
    assert patiences == [stack.WHOLE_WITHIN]
    assert told in said[0]
