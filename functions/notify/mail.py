"""Mail over SMTP."""

from __future__ import annotations

from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import aiosmtplib

from contracts.ports import RefusedError, UnavailableError

_PERMANENT = range(500, 600)


async def send(message: EmailMessage, url: str, seconds: float) -> str:
    """Hand a mail to the server at `smtp(s)://[user:password@]host[:port]`; returns the status that it was taken with.

    Raises RefusedError for a mail that the server will never take, UnavailableError for whatever may pass: also for a
    password that it does not know, which its operator can put right.
    """
    server = urlsplit(url)
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise UnavailableError("smtp", "TEMPER_SMTP_URL is not smtp(s)://[user:password@]host[:port]")
    user, password = unquote(server.username or "") or None, unquote(server.password or "") or None
    client = aiosmtplib.SMTP(
        hostname=server.hostname, port=server.port, use_tls=server.scheme == "smtps", timeout=seconds
    )
    try:
        async with client:
            if user is not None:
                await _login(client, user, password or "")
            await client.send_message(message)
    except aiosmtplib.SMTPAuthenticationError as error:
        raise UnavailableError("smtp", f"the mail server does not take the password ({error.code})") from error
    except aiosmtplib.SMTPRecipientsRefused as error:
        codes = [each.code for each in error.recipients]
        raise _answer(codes[0] if codes else 0) from error
    except aiosmtplib.SMTPResponseException as error:
        raise _answer(error.code) from error
    except (aiosmtplib.SMTPException, OSError) as error:  # its words may quote the address
        raise UnavailableError("smtp", f"the mail server gave no answer ({type(error).__name__})") from error
    return "250"


async def _login(client: aiosmtplib.SMTP, user: str, password: str) -> None:
    if client.transport is None or client.transport.get_extra_info("sslcontext") is None:
        raise UnavailableError("smtp", "the mail server offers no TLS, and a password goes over TLS alone")
    await client.login(user, password)


def _answer(code: int) -> Exception:
    sentence = f"the mail server answered {code}"
    return RefusedError(code, sentence) if code in _PERMANENT else UnavailableError("smtp", sentence)
