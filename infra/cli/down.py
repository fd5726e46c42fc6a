"""`temper down`."""

import signal
import time

import click

from infra.local.child import kill_group, send
from infra.local.record import is_running, read_stack
from infra.settings import AskedSettings

WITHIN = 60.0
"""Seconds for an orderly stop: roles 10, servers 15, and some patience for a busy machine."""


@click.command()
def down() -> None:
    """Stop the local stack of this home.

    Temper's own processes stop first, then the servers; the data stays. It is no error when nothing runs.
    """
    home = AskedSettings().home.absolute()
    stack = read_stack(home)
    if stack is None or not stack.alive():
        click.echo(f"nothing runs in {home}")
        return
    send(stack.pid, signal.SIGTERM)
    until = time.monotonic() + WITHIN
    while is_running(stack.pid, stack.born):
        if time.monotonic() > until:
            send(stack.pid, signal.SIGKILL)  # its children die with it
            for process in stack.processes.values():
                if process.alive() and process.pid is not None:
                    kill_group(process.pid)
            click.echo(f"pid {stack.pid} did not stop within {WITHIN:.0f} s and was killed; the data stays in {home}")
            return
        time.sleep(0.1)
    click.echo(f"stopped; the data stays in {home}")
