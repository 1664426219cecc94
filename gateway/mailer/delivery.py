"""One mail, handed to a mail server by SMTP, and its word on it: how the console sends by our own front door."""

import asyncio
import ssl

import aiosmtplib

from gateway.errors import GatewayError


class DeliveryFailed(GatewayError):
    """The server could not be asked, or broke off; it has not said that it took the mail."""

    temporary = True


async def deliver(
    address: tuple[str, int], *, sender: str, recipient: str, mail: bytes, hostname: str, timeout_s: float
) -> str:
    """Return what the server said to the mail, whether it took it or not: `250 2.0.0 Ok`, `550 5.7.1 ...`.

    With TLS where that is offered; the certificate is not checked, for this is a server of ours. Raises DeliveryFailed
    after `timeout_s` at the latest.
    """
    host, port = address
    client = aiosmtplib.SMTP(
        hostname=host, port=port, local_hostname=hostname, timeout=timeout_s, use_tls=False, start_tls=False
    )
    try:
        async with asyncio.timeout(timeout_s):
            await client.connect()
            await client.ehlo()
            if client.supports_extension("starttls"):
                await client.starttls(tls_context=_any_certificate())
                await client.ehlo()
            return await _hand_over(client, sender, recipient, mail)
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise DeliveryFailed(f"{host}:{port}: {type(error).__name__} {error}"[:300]) from error
    finally:
        client.close()


async def _hand_over(client: aiosmtplib.SMTP, sender: str, recipient: str, mail: bytes) -> str:
    try:
        await client.mail(sender)
        await client.rcpt(recipient)
        answer = await client.data(mail)
    except aiosmtplib.SMTPResponseException as refused:
        return f"{refused.code} {refused.message}"
    return f"{answer.code} {answer.message}"


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
