"""The mailbox catches what is sent to it, and misbehaves exactly as told."""

import asyncio
import re

import aiosmtplib
import pytest

from gateway.smtp.listener import ListenError
from gateway.smtp.mailbox import Mailbox, Step

REPORT = b"Subject: ack\r\n\r\n<etatAck>\r\n.\r\n</etatAck>\r\n"


async def send(
    mailbox: Mailbox, content: bytes = REPORT, *, sender: str = "", mail_options: tuple[str, ...] = ()
) -> str:
    """Send one mail; return the answer to it. Raises what aiosmtplib raises."""
    host, port = mailbox.address
    client = aiosmtplib.SMTP(hostname=host, port=port, timeout=5, start_tls=False)
    async with client:
        _, answer = await client.sendmail(sender, ["ack@masociete.com"], content, mail_options=mail_options)
    return answer


async def test_mails_are_kept_as_they_were_sent() -> None:
    async with Mailbox() as mailbox:
        await send(mailbox)
        await send(mailbox, sender="sendsms@gw.example.org", mail_options=("BODY=8BITMIME",))
        first, second = await mailbox.wait_for(2)

    assert first.content == REPORT
    assert first.envelope_from == ""
    assert first.recipients == ("ack@masociete.com",)
    assert (first.order, second.order) == (1, 2)
    assert second.envelope_from == "sendsms@gw.example.org"
    assert not first.is_8bitmime
    assert second.is_8bitmime


async def test_waiting_ends_when_the_mail_comes() -> None:
    async with Mailbox() as mailbox, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            mailbox.wait_for(lambda mails: any(b"Subject: ack" in mail.content for mail in mails))
        )
        await send(mailbox, b"Subject: other\r\n\r\n\r\n")
        await send(mailbox)

        assert len(await waiting) == 2


async def test_waiting_in_vain_says_what_came() -> None:
    async with Mailbox() as mailbox:
        await send(mailbox)

        with pytest.raises(TimeoutError, match=r"^1 mails came"):
            await mailbox.wait_for(2, timeout_s=0.02)


async def test_clear_forgets_mails_but_not_their_order() -> None:
    async with Mailbox() as mailbox:
        await send(mailbox)
        mailbox.clear()
        await send(mailbox)

        assert [mail.order for mail in mailbox.mails] == [2]


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.EHLO])
async def test_refusal_at_a_step_is_given_as_often_as_told(step: Step) -> None:
    code = 421 if step is Step.CONNECT else 451
    async with Mailbox() as mailbox:
        mailbox.refuse(step, f"{code} 4.3.0 Later", times=2)
        for _ in range(2):
            with pytest.raises(aiosmtplib.SMTPException) as refused:
                await send(mailbox)
            assert "4.3.0 Later" in str(refused.value)
        answer = await send(mailbox)

        assert answer == "2.0.0 Kept"
        assert len(mailbox.mails) == 1


async def test_trouble_that_is_over_leaves_nothing() -> None:
    async with Mailbox() as mailbox:
        mailbox.refuse(Step.RCPT, "451 4.3.0 Later", times=2)
        mailbox.delay(Step.DOT, 60)
        mailbox.hang_up_after_dot()
        mailbox.behave()

        assert await send(mailbox) == "2.0.0 Kept"


async def test_refused_ehlo_leaves_helo() -> None:
    async with Mailbox() as mailbox:
        mailbox.refuse(Step.EHLO, "502 5.5.1 Not here")
        await send(mailbox)

        assert len(mailbox.mails) == 1


@pytest.mark.parametrize("is_kept", [True, False])
async def test_hanging_up_after_the_dot_keeps_the_mail_or_not(*, is_kept: bool) -> None:
    async with Mailbox() as mailbox:
        mailbox.hang_up_after_dot(is_kept=is_kept)
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await send(mailbox)

        assert len(mailbox.mails) == int(is_kept)
        assert await send(mailbox) == "2.0.0 Kept"


async def test_hidden_8bitmime_is_not_taken_either() -> None:
    async with Mailbox(has_8bitmime=False) as mailbox:
        host, port = mailbox.address
        async with aiosmtplib.SMTP(hostname=host, port=port, start_tls=False) as client:
            await client.ehlo()

            assert not client.supports_extension("8bitmime")
            with pytest.raises(aiosmtplib.SMTPSenderRefused):
                await client.mail("a@b.c", options=["BODY=8BITMIME"])


async def test_delay_is_waited_for() -> None:
    async with Mailbox() as mailbox:
        mailbox.delay(Step.DOT, 0.05)
        now = asyncio.get_running_loop().time
        begun_at = now()
        await send(mailbox)

        assert now() - begun_at >= 0.05


async def test_line_beyond_rfc_5321_is_refused() -> None:
    async with Mailbox() as mailbox:
        with pytest.raises(aiosmtplib.SMTPDataError):
            await send(mailbox, b"x" * 1_000 + b"\r\n")

        assert not mailbox.mails


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    """Return what still comes; a reset is an end as good as any."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_clients_that_stay_are_broken_off_at_the_end() -> None:
    async with Mailbox() as mailbox:
        reader, writer = await asyncio.open_connection(*mailbox.address)
        await reader.readline()
        assert mailbox.connections == 1
    async with asyncio.timeout(5):
        assert await rest_of(reader) == b""
    writer.close()


async def test_address_in_use_is_a_listen_error() -> None:
    async with Mailbox() as mailbox:
        host, port = mailbox.address
        with pytest.raises(ListenError, match=rf"^cannot listen on {re.escape(host)}:{port}: "):
            async with Mailbox(port=port):
                pass
