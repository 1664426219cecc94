"""A mail client in twenty lines: hands a mail over SMTP and returns what it was answered."""

import aiosmtplib

DEADLINE_S = 30.0


async def submit(host: str, port: int, mail: bytes, *, sender: str, recipient: str) -> str:
    """Send one mail; return the reply to its final dot, or the first refusal before it.

    Raises `OSError` when nobody listens and `aiosmtplib.SMTPException` when the dialogue breaks.
    """
    client = aiosmtplib.SMTP(
        hostname=host,
        port=port,
        timeout=DEADLINE_S,
        use_tls=False,
        start_tls=False,
        local_hostname="client.masociete.com",
    )
    async with client:
        try:
            await client.ehlo()
            await client.mail(sender)
            await client.rcpt(recipient)
            response = await client.data(mail)
        except aiosmtplib.SMTPResponseException as refused:
            return f"{refused.code} {refused.message}"
        return f"{response.code} {response.message}"
