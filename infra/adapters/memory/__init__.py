"""Every store's port in memory, for tests; each passes the suite of the real one (tests/conformance)."""

from infra.adapters.memory.blobs import MemoryBlobs
from infra.adapters.memory.controls import MemoryControls
from infra.adapters.memory.documents import MemoryDocuments
from infra.adapters.memory.emit import MemoryEmit
from infra.adapters.memory.requests import MemoryRequests
from infra.adapters.memory.secrets import MemorySecrets
from infra.adapters.memory.track import MemoryTrack

__all__ = [
    "MemoryBlobs",
    "MemoryControls",
    "MemoryDocuments",
    "MemoryEmit",
    "MemoryRequests",
    "MemorySecrets",
    "MemoryTrack",
]
