"""The command line `temper`: a table of subcommands, each loaded only when it is used."""

import importlib
import os
import sys
from typing import Any

import click
from pydantic import ValidationError

from infra.local.errors import UserError

COMMANDS = {
    "up": ("infra.cli.up:up", "Start the local stack, and keep it running until Ctrl-C."),
    "down": ("infra.cli.down:down", "Stop the local stack of this home."),
    "status": ("infra.cli.status:status", "Show what runs, where, and whether it answers."),
    "doctor": ("infra.cli.doctor:doctor", "Check that this machine has what Temper needs."),
    "env": ("infra.cli.env:env", "Print the edge's address and the first API key for a shell."),
    "keys": ("infra.cli.keys:keys", "Make, list and revoke API keys."),
    "secrets": ("infra.cli.secrets:secrets", "Keep keys for other services, sealed."),
    "webhooks": ("infra.cli.webhooks:webhooks", "Test webhook endpoints."),
    "demo": ("infra.demo.run:demo", "Tune the demo base and compare it with what it was."),
    "run": ("infra.cli.run:run", "Run one role: edge, worker, trainer or serving."),
    "models": ("infra.cli.models:models", "Bring base models of your own; take tuned ones away."),
    "storage": ("infra.cli.storage:storage", "Show what is stored for whom."),
    "file": ("infra.cli.file:file", "Look at what is trained of a file's rows."),
    "job": ("infra.cli.job:job", "Follow a fine-tuning job."),
    "dataset": ("infra.cli.dataset:dataset", "Make a new data set of one that is there, or of stored chats."),
    "import": ("infra.cli.imports:import_", "Bring fine-tuning files and jobs of another server here."),
    "bundle": ("infra.cli.bundle:bundle", "Check a folder of public benchmarks."),
    "report": ("infra.cli.report:report", "Write the report of a job's benchmark as one HTML page."),
    "benchmark": ("infra.cli.benchmark:benchmark", "Score a benchmark's answers anew."),
    "trace": ("infra.cli.trace:trace", "Show where a row, page, job or model came from and what it led to."),
    "replay": ("infra.cli.replay:replay", "Print the log; prove the read models against it."),
    "bench": ("infra.cli.bench:bench", "Measure ratios against tuned peers."),
    "emit": ("infra.cli.emit:emit", "Publish one event by hand, as another system would."),
}
"""Name → (module:function, one line of help). The line stands here so that `temper --help` loads no subcommand."""


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown name is answered with the known ones."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"There is no command {args[0]!r}. Known are {', '.join(COMMANDS)}.", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="temper", prog_name="temper")
def temper() -> None:
    """Temper: a self-hosted fine-tuning platform that speaks OpenAI's API.

    Start with `temper doctor`, then `temper up`. State lives in one folder, .temper/ or TEMPER_HOME. Settings are
    environment variables with the prefix TEMPER_.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; what a person can put right becomes one sentence and exit status 1, never a traceback."""
    try:
        return temper.main(arguments, prog_name="temper")
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except ValidationError as error:
        from infra.settings import wrong_setting  # help needs none of it

        if (wrong := wrong_setting(error)) is None:
            raise
        click.echo(f"error: {wrong}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # `temper … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
