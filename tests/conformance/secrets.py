"""What every implementation of the `Secrets` port does; a subclass gives the fixture `secrets`."""

from __future__ import annotations

from contracts.ports import Secrets


class SecretsSuite:
    async def test_a_secret_is_kept_replaced_and_forgotten_under_its_tenant_and_name(self, secrets: Secrets) -> None:
        assert await secrets.get("acme", "wandb") is None
        await secrets.put("acme", "wandb", "canary-kéy")
        await secrets.put("acme", "wandb/ftjob-1", "of the job")
        await secrets.put("other", "wandb", "of another")
        assert await secrets.get("acme", "wandb") == "canary-kéy"
        await secrets.put("acme", "wandb", "newer")
        assert await secrets.get("acme", "wandb") == "newer"
        for _ in range(2):
            await secrets.drop("acme", "wandb")
        assert await secrets.get("acme", "wandb") is None
        assert await secrets.get("acme", "wandb/ftjob-1") == "of the job"
        assert await secrets.get("other", "wandb") == "of another"
