"""The smarthost is down, hangs, refuses: reports wait for it, SMS do not, and nothing of one report delays another."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox, Step
from tests.conformance.house import free_port
from tests.faults.field import FakeTime, Field, field, make_mail, message_id

pytestmark = pytest.mark.slow


def reasons(ground: Field, event: str) -> list[str]:
    return [str(line["reason"]) for line in ground.events(event)]


async def test_reports_wait_for_a_smarthost_that_is_down_and_sms_do_not(tmp_path: Path) -> None:
    time, port = FakeTime(tmp_path), free_port()
    async with (
        Sandbox() as sandbox,
        field(tmp_path, env=time.env, carrier=sandbox.url, smarthost=("127.0.0.1", port)) as ground,
    ):
        for index in range(5):
            await ground.send(make_mail(str(index), f"060102030{index}"))
        await ground.until(lambda: ground.states() == ["accepted"] * 5)
        await ground.logged("report_deferred")
        await ground.until(lambda: len(ground.reports()) == 10)  # five Acks, five Nots

        assert {sms["number"] for sms in sandbox.messages} == {f"3360102030{index}" for index in range(5)}

        async with Mailbox(port=port) as mailbox:
            time.step(timedelta(hours=2))
            await mailbox.wait_for(10, timeout_s=90)

        assert set(Counter(message_id(mail) for mail in mailbox.mails).values()) == {1}


async def test_what_one_report_meets_concerns_no_other(tmp_path: Path) -> None:
    """Greylisted, refused for good, answered never, cut off behind the dot: each once, with others in between."""
    time = FakeTime(tmp_path)
    async with (
        Sandbox() as sandbox,
        field(tmp_path, env=time.env, carrier=sandbox.url, reports={"timeout_s": 2, "connections": 1}) as ground,
    ):
        mailbox = ground.mailbox
        mailbox.refuse(Step.RCPT, "450 4.2.0 Greylisted")
        await ground.send(make_mail("grey", "0601020301"))
        await ground.logged("report_deferred")
        await ground.logged("report_sent")
        mailbox.refuse(Step.RCPT, "550 5.1.1 No such user")
        await ground.send(make_mail("gone", "0601020302"))
        await ground.logged("report_failed")
        await ground.logged("report_sent", times=2)
        mailbox.hang_up_after_dot(is_kept=True)
        await ground.send(make_mail("cut", "0601020303"))
        await ground.logged("report_deferred", times=2)
        mailbox.delay(Step.DOT, 30)
        await ground.send(make_mail("late", "0601020304"))
        await ground.until(lambda: any("no answer in time" in reason for reason in reasons(ground, "report_deferred")))
        mailbox.delay(Step.DOT, 0)
        time.step(timedelta(hours=1))
        await ground.until(
            lambda: sorted({one["state"] for one in ground.reports()}) == ["failed", "sent"], timeout_s=90
        )
        ids = Counter(message_id(mail) for mail in mailbox.mails)

        assert ground.states() == ["accepted"] * 4
        assert len(ground.events("report_failed")) == 1
        assert len(ids) == 7  # eight reports, one refused for good
        assert any("Greylisted" in reason for reason in reasons(ground, "report_deferred"))
        assert max(ids.values()) == 2  # the one that was kept and not answered went again under its name
