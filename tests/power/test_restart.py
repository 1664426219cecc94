"""A process is killed in the middle of its work; the next one finds in memory what may never have reached the disk."""

import random
from pathlib import Path

import pytest

from gateway.cli.examples.client import submit
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.power import trace
from tests.power.disk import Disk, Loss
from tests.power.judge import Judge, Said, Taken
from tests.power.recording import DATABASE, write_config
from tests.power.relay import RECIPIENT, SENDER, write_order
from tests.power.replay import FILES
from tests.support.gateway import GatewayProcess, run_command, serve

ORDERS = [write_order(number) for number in range(1, 9)]


async def hand_over(gateway: GatewayProcess) -> list[Taken]:
    """All orders are taken."""
    taken = []
    for order in ORDERS:
        reply = await submit(*gateway.smtp, order.mail, sender=SENDER, recipient=RECIPIENT)
        assert reply.startswith("250 "), reply
        taken.append(Taken(mail_id=reply.split()[-1], email_id=order.email_id, numbers=order.numbers, mail=order.mail))
    return taken


@pytest.mark.slow
async def test_what_a_killed_process_left_is_on_disk_before_a_mail_that_comes_again_is_answered(tmp_path: Path) -> None:
    folder, recorded = tmp_path / "store", tmp_path / "trace"
    folder.mkdir()
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = write_config(tmp_path, folder / DATABASE, mailbox, sandbox)
        assert (await run_command("migrate", "--config", str(config))).status == 0
        async with serve(config) as gateway:
            first = await hand_over(gateway)
            await gateway.kill()
        said = Said()
        for mail in mailbox.mails:
            said.hear(trace.Call(name="write", path=trace.SOCKET, data=mail.content))
        # the worst: nothing of the log was ever on disk, and the system holds it for clean
        files = {DATABASE: (folder / DATABASE).read_bytes(), f"{DATABASE}-wal": b""}
        async with serve(config, command=(*trace.command(recorded), "gateway")) as gateway:
            again = await hand_over(gateway)
            await gateway.stop()
        await trace.wait_until_complete(recorded, gateway.process.pid)

    assert again == first
    disk, judge = Disk(folder, files, FILES.__contains__), Judge(again)
    image = tmp_path / DATABASE
    for event in trace.read(recorded, folder):
        if event.is_end:
            disk.end(event.call)
            continue
        disk.begin(event.call)
        known = len(said.taken)
        said.hear(event.call)
        if len(said.taken) > known:
            for name, content in disk.image(Loss.ALL, random.Random()).items():
                (tmp_path / name).write_bytes(content)
            assert judge.find_wrongs(image, said) == []
    assert said.taken == {mail.mail_id for mail in first}
