"""T1, T3, T4, T21, T22, T23, T26: nobody has SMS sent but who may, nor harms or probes another client."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.carriers import Carrier, accepts
from tests.faults.field import make_mail
from tests.support.accounts import KEYID
from tests.support.configuration import SENDER
from tests.threats.attacker import (
    ENVOI,
    OTHER_KEY,
    STRANGER,
    Raw,
    from_headers,
    greeted,
    is_served,
    siege,
    submit,
)

pytestmark = pytest.mark.slow

NOT_YOU = "550 5.7.1 You may not send SMS through this gateway"


async def send_many(raw: Raw, mails: list[bytes]) -> Counter[str]:
    """Return how often each reply was given to these mails, all over one connection."""
    replies: Counter[str] = Counter()
    for content in mails:
        await raw.send(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<sendsms@gw.example.org>\r\nDATA\r\n".encode())
        opening = [await raw.reply() for _ in range(3)]
        assert [one[:3] for one in opening] == ["250", "250", "354"], opening
        replies[await raw.ask(content + b".")] += 1
    return replies


async def test_guessed_keys_send_nothing_from_anywhere(tmp_path: Path) -> None:
    """T1: four hundred keys from an address that is not trusted, a hundred from one that is; then the right one."""
    mails = [make_mail(f"{number}", "0601020304", key=f"{number:032x}") for number in range(400)]
    patient = {"max_errors": 1_000, "error_delay_s": 0}
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, smtp=patient) as ground:
        async with greeted(ground, source=STRANGER) as raw:
            from_outside = await send_many(raw, mails[:-1])
        async with greeted(ground) as raw:
            from_inside = await send_many(raw, mails[:100])
        told = {row["recipient"] for row in ground.reports()}

        assert from_outside == {NOT_YOU: 399}
        assert [(reply[:34], count) for reply, count in from_inside.items()] == [
            ("550 5.7.1 Refused with code 3: the", 100)
        ]
        assert (ground.sms(), carrier.requests) == ([], [])
        assert told == {"not@masociete.com"}  # the domain's own address, for the mails from within
        assert (await submit(ground, make_mail("good", "0601020304"))).startswith("250 ")
        await ground.until(lambda: ground.states() == ["accepted"])


async def test_the_right_key_from_a_wrong_place_is_as_good_as_none(tmp_path: Path) -> None:
    """T3, T26: a key that was read in a mail is not enough, and the answer does not say that it was right."""
    mails = {
        "right": make_mail("1", "0601020304"),
        "wrong": make_mail("2", "0601020304", key="0" * 20),
        "another's": make_mail("3", "0601020304", key=OTHER_KEY),
        "of a foreign domain": make_mail("4", "0601020304", domain="elsewhere.example"),
        "of another's domain": make_mail("5", "0601020304", domain="autre.example"),
        "no key": make_mail("6", "0601020304", key=""),
        "no envoi": from_headers(f"From: {SENDER}", body="hello"),
        "not XML": make_mail("7", "0601020304").replace(b"</num>", b"<num>"),
        "a bomb": from_headers(f"From: {SENDER}", body='<!DOCTYPE a [<!ENTITY b "c">]>' + ENVOI),
        "too many parts": from_headers(f"From: {SENDER}", *["Content-Type: text/plain"] * 30),
    }
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        replies = {name: await submit(ground, content, source=STRANGER) for name, content in mails.items()}

        assert replies == dict.fromkeys(mails, NOT_YOU)
        assert (ground.sms(), ground.reports(), carrier.requests) == ([], [], [])
        causes = {line["cause"] for line in ground.events("mail_refused")}
        assert causes == {"the client is not proven for any account"}  # decided before any of it was read


async def test_each_account_is_proven_by_its_own_network_alone(tmp_path: Path) -> None:
    """T3: the key of another account is of no use to a client that is proven for its own."""
    accounts = {
        "account": {"networks": ["127.0.0.10/32"]},
        "more_accounts": [
            {"name": "autre", "keyid": OTHER_KEY, "domains": ["autre.example"], "networks": ["127.0.0.11/32"]}
        ],
    }
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier, **accounts) as ground:
        replies = [
            await submit(ground, make_mail("1", "0601020304", key=OTHER_KEY), source="127.0.0.10"),
            await submit(
                ground, make_mail("2", "0601020304", key=OTHER_KEY, domain="autre.example"), source="127.0.0.10"
            ),
            await submit(ground, make_mail("3", "0601020304", domain="autre.example"), source="127.0.0.10"),
            await submit(ground, make_mail("4", "0601020304"), source="127.0.0.11"),
            await submit(ground, make_mail("5", "0601020304")),  # the listener's own network is neither's
        ]

        assert [reply[:3] for reply in replies] == ["550"] * 5
        assert (ground.sms(), carrier.requests) == ([], [])
        assert (await submit(ground, make_mail("6", "0601020304"), source="127.0.0.10")).startswith("250 ")


SPOOFED = {
    "two headers": ["From: alerte@masociete.com", "From: evil@evil.example"],
    "two headers, the good one last": ["From: evil@evil.example", "From: alerte@masociete.com"],
    "two addresses": ["From: alerte@masociete.com, evil@evil.example"],
    "two bracketed": ["From: <alerte@masociete.com> <evil@evil.example>"],
    "an address as a name": ["From: alerte@masociete.com <evil@evil.example>"],
    "a quoted address as a name": ['From: "alerte@masociete.com" <evil@evil.example>'],
    "a comment": ["From: evil@evil.example (alerte@masociete.com)"],
    "a comment inside": ["From: alerte@evil.example(@masociete.com)"],
    "a group": ["From: masociete:alerte@masociete.com,evil@evil.example;"],
    "a source route": ["From: <@masociete.com:evil@evil.example>"],
    "percent hack": ["From: alerte%masociete.com@evil.example"],
    "bang path": ["From: masociete.com!evil@evil.example"],
    "an encoded word": ["From: =?utf-8?q?alerte=40masociete.com?="],
    "an encoded domain": ["From: alerte@=?utf-8?q?masociete.com?="],
    "a look-alike": ["From: alerte@m\u0430societe.com"],
    "a look-alike in ASCII": ["From: alerte@xn--msociete-2fg.com"],
    "full-width letters": ["From: alerte@\uff4dasociete.com"],
    "below the domain": ["From: alerte@evil.masociete.com"],
    "ending like it": ["From: alerte@evilmasociete.com"],
    "beginning like it": ["From: alerte@masociete.com.evil.example"],
    "a dot behind it": ["From: alerte@masociete.com."],
    "a NEL in it": ["From: alerte@masociete.com\u0085evil@evil.example"],
    "a line separator in it": ["From: alerte@masociete.com\u2028evil@evil.example"],
    "a name folded away": ["From: alerte@masociete.com,\r\n evil@evil.example"],
    "a blank before the colon": ["From : alerte@masociete.com", "From: evil@evil.example"],
    "empty": ["From:"],
    "a Sender": ["From: evil@evil.example", "Sender: alerte@masociete.com"],
    "a Reply-To": ["From: evil@evil.example", "Reply-To: alerte@masociete.com"],
    "a Resent-From": ["From: evil@evil.example", "Resent-From: alerte@masociete.com"],
    "an address literal": ["From: alerte@[127.0.0.1]"],
    "longer than addresses are": [f"From: {'a' * 250}@masociete.com"],
}


async def test_no_trick_with_from_makes_a_sender_of_a_client(tmp_path: Path) -> None:
    """T4, T23: a trusted client with the right key, and a From: that two programs could read differently."""
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        replies = {name: await submit(ground, from_headers(*headers)) for name, headers in SPOOFED.items()}

        assert {name: reply[:9] for name, reply in replies.items()} == dict.fromkeys(SPOOFED, "550 5.7.1")
        assert (ground.sms(), ground.reports(), carrier.requests) == ([], [], [])
        stranger = await submit(ground, from_headers("From: evil@evil.example"), sender="evil@evil.example")
        assert stranger == NOT_YOU
        # The envelope need not match (mailing platforms), and proves nothing either (docs/protocol.md §1.3)
        assert (await submit(ground, from_headers(f"From: {SENDER}"), sender="a@b.example")).startswith("250 ")
        assert (await submit(ground, from_headers("From: a@b.example"), sender=SENDER))[:9] == "550 5.7.1"


CONFUSED = {
    "two envois": ENVOI + ENVOI,
    "one in another": ENVOI.replace("<num>", "<envoi><num>").replace("</num>", "</num></envoi>"),
    "two numbers": ENVOI.replace("<num>0601020304</num>", "<num>0601020304</num><num>0601020305</num>"),
    "two numbers, one in capitals": ENVOI.replace("</num>", "</num><NUM>0601020305</NUM>"),
    "two keys": ENVOI.replace("<keyid>", "<keyid>x</keyid><keyid>"),
    "two ids": ENVOI.replace("<emailId>", "<emailId>2</emailId><emailId>"),
    "two texts": ENVOI.replace("</sms>", "</sms><sms>Autre</sms>"),
    "two addresses": ENVOI.replace("<emailAck>", "<emailAck>x@masociete.com</emailAck><emailAck>"),
    "one position twice": ENVOI.replace("<num>0601020304</num>", "<num1>0601020304</num1><num01>0601020305</num01>"),
    "a number in a number": ENVOI.replace("0601020304", "<num2>0601020305</num2>"),
    "a CDATA that holds tags": ENVOI.replace("<num>", "<![CDATA[</num><num>]]><num>", 1) + ENVOI,
    "a comment": ENVOI.replace("<num>", "<!-- <num>0601020305</num> --><num>"),
    "an attribute": ENVOI.replace("<num>", '<num a="b">'),
}


async def test_what_two_programs_could_read_differently_is_no_order(tmp_path: Path) -> None:
    """T23: duplicate tags, several envois, duplicate attachments, a mail in a mail."""
    csv = 'Content-Disposition: attachment; filename="mobiles.csv"\r\n\r\n0601020304;;x\r\n'
    body = ENVOI.replace("<num>0601020304</num><sms>Salut</sms>", "")
    kinds = {
        name: from_headers(f"From: {SENDER}", "Content-Type: text/plain; charset=utf-8", body=text)
        for name, text in CONFUSED.items()
    }
    for name, parts in {
        "a file twice": [body, csv, csv],
        "a file twice, other case": [body, csv, csv.replace("mobiles", "MOBILES")],
        "an envoi in each part": [ENVOI, ENVOI],
    }.items():
        mixed = "".join(
            f"--b\r\n{part if part.startswith('Content') else chr(13) + chr(10) + part}\r\n" for part in parts
        )
        kinds[name] = from_headers(
            f"From: {SENDER}", 'Content-Type: multipart/mixed; boundary="b"', body=mixed + "--b--"
        )
    inner = from_headers(f"From: {SENDER}").decode()
    kinds["a mail in a mail"] = from_headers(f"From: {SENDER}", "Content-Type: message/rfc822", body=inner)
    kinds["two types"] = from_headers(
        f"From: {SENDER}", "Content-Type: text/plain", "Content-Type: text/html", body=ENVOI
    )
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        replies = {name: await submit(ground, content) for name, content in kinds.items()}

        assert {name: reply[:9] for name, reply in replies.items()} == dict.fromkeys(kinds, "554 5.6.0")
        assert (ground.sms(), carrier.requests) == ([], [])
        await is_served(ground, "1")  # and no emailId was used up


async def test_no_client_uses_up_or_probes_the_ids_of_another(tmp_path: Path) -> None:
    """T21: the same emailId belongs to each account apart, and only a mail that is allowed uses it up."""
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        await submit(ground, make_mail("700", "0601020304", key="0" * 20))
        await submit(ground, make_mail("700", "0601020304"), source=STRANGER)
        await submit(ground, make_mail("700", "0601020304", key=OTHER_KEY))  # the other's key, with this one's domain
        first = await submit(ground, make_mail("700", "0601020304"))
        others = await submit(ground, make_mail("700", "0601020305", key=OTHER_KEY, domain="autre.example"))
        await ground.until(lambda: ground.states() == ["accepted"] * 2)
        await ground.mailbox.wait_for(5, timeout_s=40)
        acks = [mail.content for mail in ground.mailbox.mails if b"etatAck" in mail.content]

        assert [first[:3], others[:3]] == ["250", "250"]
        assert sorted(carrier.numbers) == ["33601020304", "33601020305"] or len(carrier.numbers) == 2
        assert [b"<code>0</code>" in ack for ack in acks] == [True, True]  # neither heard of the other's


async def test_a_mail_that_was_overheard_sends_nothing_when_it_is_played_again(tmp_path: Path) -> None:
    """T22: as it was, and with a new Message-ID; also when ten come at the same moment."""
    content = make_mail("800", "0601020304")
    async with Carrier(accepts) as carrier, siege(tmp_path, carrier) as ground:
        assert (await submit(ground, content)).startswith("250 ")
        again = content.replace(b"<800@masociete.com>", b"<801@masociete.com>")
        async with asyncio.TaskGroup() as group:
            copies = [group.create_task(submit(ground, one)) for one in [content] * 5 + [again] * 5]
        await ground.until(lambda: ground.states() == ["accepted"])
        await is_served(ground, "802")

        assert {copy.result()[:3] for copy in copies} == {"250"}
        assert len(carrier.numbers) == 2
        assert [sms["state"] for sms in ground.sms()] == ["accepted", "accepted"]


async def test_a_guessed_key_is_answered_like_any_other(tmp_path: Path) -> None:
    """T26: to whom keys may be told apart, they are by the code that the protocol has for it, and by nothing else.

    Times are not compared, which no loaded machine allows; that all keys are always compared is held by
    `test_accounts.py`, and here that the replies and the path through the log are the same.
    """
    near = [KEYID[:-1] + "b", KEYID[0] + "0" * 19, "0" * 20, KEYID + "0", KEYID[:-1], KEYID.upper(), "x"]
    async with siege(tmp_path) as ground:
        replies = {await submit(ground, make_mail(str(index), "0601020304", key=key)) for index, key in enumerate(near)}
        paths = {tuple(sorted(line)) for line in ground.events("mail_refused")}

        assert len(replies) == 1
        assert len(paths) == 1
