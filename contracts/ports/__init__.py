"""What functions need from the world, as Protocols; infra/adapters makes them real."""

from contracts.ports.errors import (
    AbandonedError,
    BlobExistsError,
    BlobMismatchError,
    BlobNotFoundError,
    BusyError,
    ChildFailedError,
    FaultyError,
    LostLeaseError,
    ProofFailedError,
    RebuildingError,
    RefusedError,
    UnavailableError,
)
from contracts.ports.messages import PostponedError
from contracts.ports.models import BaseModels, Complete, Endpoints, Generate, Proof, Prove, Reply, Served
from contracts.ports.stores import Blobs, BlobStat, Documents, Emit, Requests, Reservation, Secrets, Track
from contracts.ports.work import Child, ChildResult, Controls, Lease, Running, WakeUp

__all__ = [
    "AbandonedError",
    "BaseModels",
    "BlobExistsError",
    "BlobMismatchError",
    "BlobNotFoundError",
    "BlobStat",
    "Blobs",
    "BusyError",
    "Child",
    "ChildFailedError",
    "ChildResult",
    "Complete",
    "Controls",
    "Documents",
    "Emit",
    "Endpoints",
    "FaultyError",
    "Generate",
    "Lease",
    "LostLeaseError",
    "PostponedError",
    "Proof",
    "ProofFailedError",
    "Prove",
    "RebuildingError",
    "RefusedError",
    "Reply",
    "Requests",
    "Reservation",
    "Running",
    "Secrets",
    "Served",
    "Track",
    "UnavailableError",
    "WakeUp",
]
