"""T9 to T12: a mail makes the gateway write to nobody it may not, to nobody for ever, and nothing it did not mean."""

import re
from email.parser import BytesHeaderParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.faults.carriers import Carrier, accepts
from tests.faults.field import Field, make_mail
from tests.support.configuration import RECIPIENT, SENDER
from tests.threats.attacker import DEADLINE_S, ENVOI, all_text, from_headers, is_served, siege, submit

pytestmark = pytest.mark.slow

HEADERS_OF_A_REPORT = [
    *("Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version"),
    *("Content-Type", "Content-Transfer-Encoding"),
]

CANNONS = [
    "victim@victim.example",
    "victim@masociete.com.victim.example",
    "victim@notmasociete.com",
    "victim@sub.masociete.com",
    "victim@autre.example",
    "ack@masociete.com,victim@victim.example",
    "ack@masociete.com victim@victim.example",
    "ack@masociete.com;victim@victim.example",
    "ack@masociete.com&#10;victim@victim.example",
    "ack@masociete.com&#13;&#10;RCPT TO:&lt;victim@victim.example&gt;",
    "&lt;victim@victim.example&gt;@masociete.com",
    "victim@victim.example(@masociete.com)",
    '"victim@victim.example"@masociete.com',
    "@masociete.com:victim@victim.example",
    "=?utf-8?q?victim=40victim.example?=@masociete.com",
    "=?utf-8?q?a=0d=0aBcc:_victim=40victim.example?=@masociete.com",
    "ack@m\u0430societe.com",
    "ack@masociete.com\u2028Bcc: victim@victim.example",
    "ack\u0085@masociete.com",
    "a" * 65 + "@masociete.com",
    RECIPIENT,
    RECIPIENT.upper(),
    "",
]


def order(number: int, **elements: str) -> bytes:
    """Return a mail whose envoi has these elements in place of the usual ones."""
    content = re.sub(r"<emailId>.*?</emailId>", f"<emailId>{number}</emailId>", ENVOI)
    for name, value in elements.items():
        before, opening, rest = content.partition(f"<{name}>")
        if not opening:
            before, _, rest = content.partition("</envoi>")
            rest = f"</{name}></envoi>"
        content = f"{before}<{name}>{value}</{name}>{rest.partition(f'</{name}>')[2]}"
    return from_headers(
        f"From: {SENDER}",
        f"Message-ID: <{number}@masociete.com>",
        "Content-Type: text/plain; charset=utf-8",
        body=content,
    )


async def settled(ground: Field, accepted: int) -> None:
    """So many SMS have gone, and no report waits any more."""
    await ground.until(lambda: ground.states().count("accepted") == accepted)
    await ground.until(lambda: all(report["state"] == "sent" for report in ground.reports()))


async def test_an_address_in_a_mail_makes_no_cannon_of_the_gateway(tmp_path: Path) -> None:
    """T9: whatever stands in emailAck and emailNot, mail goes to the account's own domains and nowhere else."""
    async with siege(tmp_path) as ground:
        for number, address in enumerate(CANNONS):
            reply = await submit(ground, order(number, emailAck=address, emailNot=address))
            assert reply.startswith("250 "), (address, reply)
        refused = await submit(ground, order(900, keyid="wrong", emailNot="victim@victim.example"))
        await settled(ground, len(CANNONS))

        assert refused[:9] == "550 5.7.1"
        assert ground.mailbox.mails == []
        assert ground.reports() == []
        await is_served(ground, "good")  # the reports of a good mail come, as they always did
        assert [mail.recipients for mail in ground.mailbox.mails] == [("ack@masociete.com",), ("not@masociete.com",)]


async def test_five_hundred_recipients_are_told_of_in_one_mail(tmp_path: Path) -> None:
    """T9: no mail becomes more than two, however many SMS it asks for, and however many of them fail."""
    numbers = [f"06010{index:05d}" if index % 2 else "not a number" for index in range(500)]
    async with siege(tmp_path) as ground:
        assert (await submit(ground, make_mail("many", *numbers))).startswith("250 ")
        await settled(ground, 250)

        assert len(ground.reports()) == 2
        assert len(ground.mailbox.mails) == 2


async def test_no_answer_of_a_machine_goes_round(tmp_path: Path) -> None:
    """T10: bounces, absences, our own reports coming back; and every report says that nobody is to answer it."""
    robots = {
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated",
        "auto-submitted: AUTO-REPLIED; owner-email=x",
        "Precedence: auto_reply",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
    }
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        assert (await submit(ground, from_headers(f"From: {SENDER}"), sender=""))[:9] == "550 5.7.1"
        replies = {header: await submit(ground, from_headers(f"From: {SENDER}", header)) for header in robots}
        assert {header: reply[:9] for header, reply in replies.items()} == dict.fromkeys(robots, "550 5.7.1")
        assert (ground.sms(), ground.reports(), carrier.requests) == ([], [], [])
        await is_served(ground, "good")
        own = [mail.content for mail in ground.mailbox.mails]
        for content in own:  # sent back to us, as a forwarding rule would
            assert (await submit(ground, content))[:3] in {"550", "554"}
            assert (await submit(ground, content, sender="", recipient=RECIPIENT))[:3] == "550"

        assert [mail.envelope_from for mail in ground.mailbox.mails] == ["", ""]
        assert all(b"\r\nAuto-Submitted: auto-replied\r\n" in content for content in own)
        assert len(ground.reports()) == 2  # 1 mail in, 2 out, and there it ended


BREAKS = [
    "\r\nBcc: victim@victim.example",
    "\nBcc: v",
    "\u0085Bcc: v",
    "\u2028Bcc: v",
    "\u2029Bcc: v",
    "\x0bBcc: v",
    "\x0cBcc: v",
]
INJECTIONS = [
    "=?utf-8?q?a=0d=0aBcc:_victim=40victim.example?=",
    "&#13;&#10;Bcc: victim@victim.example&#13;&#10;&#13;&#10;body",
    "&#10;.&#10;MAIL FROM:&lt;evil@evil.example&gt;",
    "&#133;Bcc: v",
    "&#8232;Bcc: v",
    "\u2028Bcc: v",
    "\u202ecod.exe",
    "&lt;/emailId&gt;&lt;code&gt;0&lt;/code&gt;",
    "]]&gt;&lt;!--",
    "&amp;lt;code&amp;gt;",
    "&amp;#60;code&amp;#62;",
    "<![CDATA[</emailId><code>999</code>]]>",
    "€é\u0394",
    "'\"`;|$(id)",
]


async def test_nothing_of_a_mail_stands_in_a_header_of_a_report_or_changes_its_form(tmp_path: Path) -> None:
    """T11, T12: line ends, encoded words and markup in emailId, tracker, number, Subject and Message-ID."""
    async with siege(tmp_path, account={"report_format": "wellformed"}) as ground:
        taken = 0
        for number, text in enumerate(INJECTIONS):
            content = order(number, emailId=text, tracker=text, num=text)
            headers = f"Subject: {text}\r\nX-Evil: {text}\r\nTo: {text}\r\n".encode()
            reply = await submit(ground, headers + content)
            assert reply[:3] in {"250", "554"}, (text, reply)
            taken += reply.startswith("250")
        for number, text in enumerate(BREAKS, start=100):
            content = order(number).replace(f"<{number}@".encode(), f"<{number}{text}@".encode())
            taken += (await submit(ground, content)).startswith("250")
        await settled(ground, ground.states().count("accepted"))
        await ground.until(lambda: ground.states().count("queued") + ground.states().count("sending") == 0)
        await settled(ground, ground.states().count("accepted"))

        assert taken >= len(INJECTIONS) - 2
        assert {mail.recipients for mail in ground.mailbox.mails} == {("ack@masociete.com",), ("not@masociete.com",)}
        assert taken < len(ground.mailbox.mails) == len(ground.reports()) <= 2 * taken
        for mail in ground.mailbox.mails:
            head, _, body = mail.content.partition(b"\r\n\r\n")
            fields = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
            assert [name for name in fields if name not in HEADERS_OF_A_REPORT] == []
            assert len(set(fields.keys())) == len(fields.keys())
            assert fields["Subject"] in {"PUSH MSISDN: etatAck", "PUSH MSISDN: etatNot"}
            form(body)
        assert "victim.example" not in "".join(mail.recipients[0] for mail in ground.mailbox.mails)
        assert "evil.example" not in "".join(mail.envelope_from for mail in ground.mailbox.mails)


def form(body: bytes) -> None:
    """A report, read back, has the elements of a report, each once, and a code that is one."""
    unquoted = body.replace(b"=\r\n", b"")
    if b"=3D" in unquoted or b"=?" in unquoted.split(b"<emailId>")[0]:
        unquoted = unquoted.replace(b"=3D", b"=")
    root = ET.fromstring(unquoted.replace(b"\r\n", b"\n"))  # noqa: S314 what our own gateway wrote
    names = [child.tag for child in root]
    if root.tag == "etatAck":
        assert names == ["emailId", "code", "message"]
        assert root[1].text in {"0", "1", "2"}
        return
    assert root.tag == "reponse"
    assert names == ["etatNot", "etat"]
    assert [child.tag for child in root[0]] == ["emailId"]
    assert [child.tag for child in root[1]] == ["code", "tel", "message"]
    assert (root[1][0].text or "").isdecimal()


async def test_what_a_mail_says_of_itself_is_repeated_as_text_alone(tmp_path: Path) -> None:
    """T12: markup in a number comes back escaped, in a report that can be read, with the value that was sent."""
    tel = "06&lt;/tel&gt;&lt;code&gt;0&lt;/code&gt;"
    async with siege(tmp_path, account={"report_format": "wellformed"}) as ground:
        assert (await submit(ground, order(1, num=tel))).startswith("250 ")
        await ground.mailbox.wait_for(2, timeout_s=DEADLINE_S)
        body = next(mail.content for mail in ground.mailbox.mails if b"etatNot" in mail.content).partition(b"\r\n\r\n")[
            2
        ]
        root = ET.fromstring(body.replace(b"\r\n", b"\n"))  # noqa: S314 what our own gateway wrote

        assert root.findtext("etat/tel") == "06</tel><code>0</code>"
        assert root.findtext("etat/code") == "7"
        assert "<code>0</code>" not in all_text(ground.mailbox).split("etatNot", 1)[1].split("</tel>")[0]
