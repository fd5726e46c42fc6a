"""How mail goes out, and which addresses webhooks may have."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from contracts.function import FunctionSettings


class NotifySettings(FunctionSettings):
    """The mail server, and the bounds of what is called."""

    smtp_url: SecretStr | None = None
    """`smtp(s)://[user:password@]host[:port]` of the mail server that tells creators of their jobs; none: no mail.
    `smtp` takes STARTTLS where it is offered, and a password goes over TLS alone."""
    smtp_from: str = "temper@localhost"
    """From which address mail comes."""
    smtp_seconds: float = Field(default=30.0, gt=0)
    """How long the mail server may take."""
    public_url: str | None = None
    """`http(s)://host[:port]` at which people reach the edge; links in mail begin with it; none: no links."""
    mail_wait_seconds: float = Field(default=3600.0, ge=0)
    """How long a mail waits for the benchmark that follows the job."""
    webhook_private: Literal["deny", "allow"] = "deny"
    """Whether webhooks may be `http://`, and have private and loopback addresses, such as receivers in one's own
    network; link-local ones, where clouds hand out credentials, never."""
    webhook_seconds: float = Field(default=15.0, gt=0)
    """How long an endpoint may take."""
