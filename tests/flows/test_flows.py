"""The real command as a process, once per folder: mails in, SMS at the carrier, reports at the smarthost."""

import asyncio
import json
import shutil
from pathlib import Path
from string import Template

import pytest

from gateway.cli.examples import HERE as EXAMPLES
from gateway.cli.examples import Outcome, judge, load_example, read_carrier, read_report
from gateway.cli.examples.client import submit
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from tests.support.gateway import run_command, serve
from tests.support.postgres import PostgresServer

FLOWS = Path(__file__).parent
FOLDERS = sorted(path.parent for root in (EXAMPLES, FLOWS) for path in root.glob("*/01.eml"))
ON_POSTGRESQL = [folder for folder in FOLDERS if folder.name[:2] in {"01", "05", "06", "13", "19", "24", "27"}]
DEADLINE_S = 20.0
QUIET_S = 0.3  # how long nothing more may happen before a flow is judged


def write_config(
    source: Path, target: Path, *, mailbox: Mailbox, sandbox: Sandbox, store: str = "sqlite:///gateway.db"
) -> Path:
    """Fill in the addresses of this run."""
    host, port = mailbox.address
    template = Template(source.read_text("utf-8"))
    target.write_text(template.substitute(smarthost=f"{host}:{port}", carrier=sandbox.url, store=store), "utf-8")
    return target


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
async def test_flow_ends_as_its_files_say(folder: Path, tmp_path: Path) -> None:
    await play(folder, tmp_path, store="sqlite:///gateway.db")


@pytest.mark.slow
@pytest.mark.parametrize("folder", ON_POSTGRESQL, ids=lambda folder: str(folder.name))
async def test_flow_ends_the_same_on_postgresql(folder: Path, tmp_path: Path, postgres: PostgresServer) -> None:
    database = f"flow_{folder.name.partition('-')[0]}"
    postgres.create(database)

    await play(folder, tmp_path, store=postgres.url(database))


async def play(folder: Path, tmp_path: Path, *, store: str) -> None:
    """Run the gateway on a fresh store, send the mails of the folder, and compare all that came of them."""
    example = load_example(folder)
    envelope = folder / "envelope.json"
    addresses = {"sender": "alerte@masociete.com", "recipient": "sendsms@gw.example.org"}
    addresses |= json.loads(envelope.read_text("utf-8")) if envelope.exists() else {}
    own_config = folder / "gateway.toml"
    async with Mailbox() as mailbox, Sandbox() as sandbox:
        config = write_config(
            own_config if own_config.exists() else FLOWS / "gateway.toml",
            tmp_path / "gateway.toml",
            mailbox=mailbox,
            sandbox=sandbox,
            store=store,
        )
        migrated = await run_command("migrate", "--config", str(config))
        assert migrated.status == 0, migrated.stderr
        async with serve(config) as gateway:
            host, port = gateway.smtp
            replies = [
                await submit(host, port, mail, sender=addresses["sender"], recipient=addresses["recipient"])
                for mail in example.mails
            ]
            async with asyncio.timeout(DEADLINE_S):
                await sandbox.wait_for_messages(len(example.expected.sms))
            await mailbox.wait_for(len(example.expected.reports), timeout_s=DEADLINE_S)
            await asyncio.sleep(QUIET_S)
            status = await gateway.stop()
        observed = Outcome(
            replies=tuple(replies),
            sms=read_carrier(sandbox.messages),
            reports=tuple(read_report(mail.content) for mail in mailbox.mails),
        )

    assert [] == judge(example.expected, observed)
    assert status == 0
    shutil.rmtree(tmp_path)
