"""Permissions: other tenants that may call a tuned model by its name."""

from __future__ import annotations

from contracts.bounds import Code, Name
from contracts.events import Payload


class PermissionGranted(Payload):
    """A project may call a model of its owner's."""

    model: Name
    project: Code
    """The tenant that may call it."""


class PermissionRevoked(Payload):
    """It may no more."""
