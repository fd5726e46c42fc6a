"""Credentials with which another system may put bytes under its tenant's `ingest/` prefix, and nowhere else."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

from contracts.canonical import compact
from contracts.ports import UnavailableError


class NoAccessError(Exception):
    """The S3 server does not hand out credentials by itself; says what to do instead."""


@dataclass(frozen=True)
class Access:
    """S3 credentials of one ingest key."""

    access_key: str
    secret_key: str
    bucket: str
    prefix: str


class MinioAccess:
    """Makes and withdraws service accounts of MinIO; their secrets are derived and stored nowhere but there."""

    def __init__(self, url: str, access_key: str, secret_key: str, bucket: str, signing_key: bytes) -> None:
        address = urlsplit(url)
        provider = StaticProvider(access_key, secret_key)
        self._admin = MinioAdmin(endpoint=address.netloc, credentials=provider, secure=address.scheme == "https")
        self._owner = access_key
        self._bucket = bucket
        self._signing_key = signing_key

    def grant(self, tenant: str, key_id: str) -> Access:
        """Make the account of an ingest key; raises NoAccessError, UnavailableError."""
        access = self._access(tenant, key_id)
        bucket = f"arn:aws:s3:::{self._bucket}"
        actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        statements = [
            {"Effect": "Allow", "Action": actions, "Resource": [f"{bucket}/{access.prefix}*"]},
            {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [bucket]},  # clients ask before a PUT
        ]
        self._call(
            self._admin.add_service_account,
            access_key=access.access_key,
            secret_key=access.secret_key,
            policy={"Version": "2012-10-17", "Statement": statements},
        )
        return access

    def withdraw(self, tenant: str, key_id: str) -> None:
        """Remove the account of an ingest key, if it is still there; raises NoAccessError, UnavailableError."""
        name = self._access(tenant, key_id).access_key
        if name in self._accounts():
            self._call(self._admin.delete_service_account, name)

    def _accounts(self) -> set[str]:
        listed = json.loads(self._call(self._admin.list_service_account, self._owner))
        return {account["accessKey"] for account in listed.get("accounts") or ()}

    def _access(self, tenant: str, key_id: str) -> Access:
        mac = hmac.new(self._signing_key, compact(["ingest-s3", tenant, key_id]), hashlib.sha256).hexdigest()
        name = hashlib.sha256(compact([tenant, key_id])).hexdigest()
        return Access(f"ingest{name[:14]}", mac[:40], self._bucket, f"{tenant}/ingest/")

    @staticmethod
    def _call(call: Callable[..., str], *arguments: Any, **named: Any) -> str:
        try:
            return call(*arguments, **named)
        except MinioAdminException as error:
            raise NoAccessError(
                "The S3 server refused to make or remove credentials. If it is not MinIO, give the other system "
                f"credentials of its own for its ingest/ prefix. It said: {str(error)[:200]}"
            ) from error
        except (HTTPError, OSError) as error:
            raise UnavailableError("minio", f"MinIO does not answer: {error}") from error
