"""The `Secrets` port in MongoDB: sealed with AES-GCM under a key that derives from the signing key."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.adapters.mongo.connection import Database, transient_errors

_NONCE_BYTES = 12


class MongoSecrets:
    """Secrets of a deployment; whoever has the database alone cannot read them."""

    def __init__(self, db: Database, signing_key: bytes) -> None:
        self._secrets = db.secrets
        self._seal = AESGCM(hmac.new(signing_key, b"temper secrets", hashlib.sha256).digest())

    async def put(self, tenant: str, name: str, value: str) -> None:
        """Keep a secret, in the place of an older one."""
        id, nonce = f"{tenant}/{name}", secrets.token_bytes(_NONCE_BYTES)
        box = nonce + self._seal.encrypt(nonce, value.encode(), id.encode())
        with transient_errors():
            await self._secrets.replace_one({"_id": id}, {"box": box}, upsert=True)

    async def get(self, tenant: str, name: str) -> str | None:
        """Return a secret; None where there is none, or where it was sealed under another signing key."""
        id = f"{tenant}/{name}"
        with transient_errors():
            found = await self._secrets.find_one({"_id": id})
        if found is None:
            return None
        try:
            return self._seal.decrypt(found["box"][:_NONCE_BYTES], found["box"][_NONCE_BYTES:], id.encode()).decode()
        except InvalidTag:
            return None

    async def drop(self, tenant: str, name: str) -> None:
        """Forget a secret."""
        with transient_errors():
            await self._secrets.delete_one({"_id": f"{tenant}/{name}"})
