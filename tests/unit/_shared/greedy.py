"""A child that asks for more memory than it may have."""

import sys
from typing import Any

from functions._shared.child import answer


def main(spec: dict[str, Any]) -> int:
    """Return the length of so many bytes."""
    return len(bytes(spec["size"]))


if __name__ == "__main__":
    sys.exit(answer(main))
