"""The subcommands of `temper`, a module each; `infra.cli` loads them by name, so that help stays fast."""
