"""What ports raise."""

from __future__ import annotations


class UnavailableError(Exception):
    """A dependency does not answer; say which and try again later."""

    def __init__(self, dependency: str, message: str = "") -> None:
        super().__init__(message or f"{dependency} does not answer")
        self.dependency = dependency


class FaultyError(UnavailableError):
    """A dependency is there and answers wrongly, or not to the end; it may do so for ever."""


class SlowError(FaultyError):
    """A dependency is there and gave no whole answer in time."""


class RebuildingError(UnavailableError):
    """Read models are being rebuilt from the log; nothing is shown or claimed until they are whole."""

    def __init__(self, message: str = "the read models are being rebuilt from the log") -> None:
        super().__init__("mongo", message)


class BlobNotFoundError(Exception):
    """No blob has this key."""


class BlobExistsError(Exception):
    """An exclusive put found the key taken."""


class BlobMismatchError(Exception):
    """The bytes are not the ones that the reference names."""


class LostLeaseError(Exception):
    """Somebody else holds the lease, or the thing has ended: stop, write nothing."""


class AbandonedError(Exception):
    """What the work was for is gone: it ends, and there is nothing to say about it."""


class ChildFailedError(RuntimeError):
    """A child ended badly; the message is for everybody."""


class ProofFailedError(Exception):
    """Serving loaded the model and found it wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BusyError(UnavailableError):
    """A dependency asks to be left alone for a while."""

    def __init__(self, dependency: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(dependency, message)
        self.retry_after = retry_after
        """Seconds, where it named some."""


class RefusedError(Exception):
    """A dependency understood the request and will not do it; asking the same again is of no use."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP, 300 to 499."""


class PostponedError(UnavailableError):
    """What the work says itself: there is nothing to do before so many seconds have passed."""

    def __init__(self, dependency: str, message: str, seconds: float) -> None:
        super().__init__(dependency, message)
        self.seconds = seconds
