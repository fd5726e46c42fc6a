"""The subcommands of `temper`, a module each; `infra.cli.main` loads them by name, so that help stays fast."""
