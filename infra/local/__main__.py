"""Obtains every server and prepares quick starts: `python -m infra.local` (what `make servers` runs)."""

import sys

from infra.local.errors import UserError
from infra.local.roles import SERVERS
from infra.local.stack import find_programs
from infra.settings import AskedSettings


def main() -> None:
    """Find or obtain the servers, saying what is done."""
    settings = AskedSettings()
    try:
        programs = find_programs(SERVERS, settings.cache, lambda text: print(text, flush=True))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"servers are ready: {programs.kafka_libs}, {programs.mongod}, {programs.minio}")


if __name__ == "__main__":
    main()
