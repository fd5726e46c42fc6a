"""Bytes that somebody outside may have named: whose they are, how they come here, where they lie from then on."""

from __future__ import annotations

from pathlib import Path

from contracts.blobs import BlobRef
from contracts.ports import BlobMismatchError, BlobNotFoundError, Blobs
from functions._shared.stage import fetch


class UnusableBlobError(Exception):
    """Bytes that are not there, are others than stated, or somebody else's."""

    def __init__(self, code: str, message: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        """The field of the event that is wrong."""


def check_owner(tenant: str, subject: str, blob: BlobRef) -> None:
    """Raise UnusableBlobError for a blob that is neither the subject's own nor in the tenant's ingest folder."""
    allowed = (f"{tenant}/{subject}/", f"{tenant}/ingest/")
    if blob.key.startswith(allowed) and not {"", ".", ".."} & set(blob.key.split("/")):
        return
    shown = blob.key if len(blob.key) <= 80 else blob.key[:80] + "…"
    shown = shown if shown.isprintable() else ascii(shown)
    message = f"The blob {shown} is not yours to use: put it under {allowed[1]} and publish the event again."
    raise UnusableBlobError("foreign_blob", message, "blob.key")


def own_key(tenant: str, subject: str) -> str:
    """Return where the bytes of a file or an archive lie once they are its own."""
    return f"{tenant}/{subject}/content"


async def bring(blobs: Blobs, tenant: str, subject: str, blob: BlobRef, path: Path, own: str) -> BlobRef:
    """Bring the bytes to `path` and return where they lie; those of the ingest folder are copied under the key `own`.

    Raises UnusableBlobError.
    """
    check_owner(tenant, subject, blob)
    try:
        await fetch(blobs, blob, path)
    except BlobNotFoundError as error:
        message = f"The bytes of the file are not in the store under {blob.key}. Upload them first, then publish."
        raise UnusableBlobError("blob_not_found", message, "blob.key") from error
    except BlobMismatchError as error:
        message = f"The bytes under {blob.key} do not have the stated length and SHA-256. Upload them again."
        raise UnusableBlobError("blob_mismatch", message, "blob.sha256") from error
    return await blobs.store(own, path, blob.media_type) if blob.key.startswith(f"{tenant}/ingest/") else blob
