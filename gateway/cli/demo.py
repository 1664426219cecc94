"""`mail2sms demo`: everything on loopback, the source document's own examples, and what came of each."""

import asyncio
import secrets
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gateway.cli.examples import CarrierSms, Example, Outcome, judge, load_examples, read_carrier, read_report
from gateway.cli.examples.client import submit
from gateway.cli.plain import new_console
from gateway.config import load
from gateway.daemon import Daemon
from gateway.log import set_up_logging
from gateway.sandbox import Sandbox
from gateway.smtp.mailbox import Mailbox
from gateway.smtp.passwords import hash_password
from gateway.store import migrate

DEADLINE_S = 20.0
QUIET_S = 0.3
"""How long nothing more may arrive before an example is judged: an SMS too many is as wrong as one too few."""

DEFAULT_PORT = 2525
SENDER = "alerte@masociete.com"
RECIPIENT = "sendsms@isendpro-api.com"
CONSOLE_USER = "demo"

_CONFIG = """\
[smtp]
hostname = "demo.mail2sms.example"
listen = ["127.0.0.1:{port}"]
recipients = ["{recipient}"]

[store]
url = "sqlite:///demo.db"

[reports]
smarthost = "{smarthost}"
sender = "{recipient}"

[http]
listen = "127.0.0.1:0"

[[users]]
name = "{user}"
password_hash = "{password_hash}"
roles = ["admin"]

[[accounts]]
name = "masociete"
keyid = "a296464ce012b8ab710a"
domains = ["masociete.com"]
providers = ["carrier"]

[[providers]]
name = "carrier"
kind = "sandbox"
base_url = "{carrier}/cgi-bin"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Those that talk to each other, and where to show it."""

    console: Console
    smtp: tuple[str, int]
    sandbox: Sandbox
    mailbox: Mailbox
    http: tuple[str, int] | None
    password: str  # of the console's user

    def show_title(self, title: str) -> None:
        """Print a rule with a title in it."""
        self.console.rule(Text(title, style="bold"), align="left")

    def show(self, title: str, content: str) -> None:
        """Print a heading and, below it, text exactly as it is, indented."""
        self.console.print(Text(title, style="cyan"))
        for line in content.splitlines():
            self.console.print("    " + line)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Judge the examples and end: 0 if each is as documented.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="SMTP port; absent: 2525, or a free one.")
    ] = None,
) -> None:
    """Show the whole way of a mail on loopback, with nothing to configure."""
    set_up_logging(form="text", level="error")
    console = new_console()
    with suppress(KeyboardInterrupt):
        all_right = asyncio.run(_run(console, once=once, port=_choose_port(port, once=once)))
        raise typer.Exit(0 if all_right else 1)


def _choose_port(wanted: int | None, *, once: bool) -> int:
    if wanted is not None:
        return wanted
    return 0 if once or not _is_free(DEFAULT_PORT) else DEFAULT_PORT


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _run(console: Console, *, once: bool, port: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="mail2sms-demo-") as folder:
        async with Mailbox() as mailbox, Sandbox() as sandbox:
            config_path = Path(folder) / "gateway.toml"
            host, smarthost_port = mailbox.address
            password = secrets.token_urlsafe(9)
            config_path.write_text(
                _CONFIG.format(
                    port=port,
                    recipient=RECIPIENT,
                    smarthost=f"{host}:{smarthost_port}",
                    carrier=sandbox.url,
                    user=CONSOLE_USER,
                    password_hash=hash_password(password),
                )
            )
            config = load(config_path)
            await migrate(config.store)
            async with Daemon(config) as daemon:
                stage = Stage(
                    console=console,
                    smtp=daemon.addresses.smtp[0],
                    sandbox=sandbox,
                    mailbox=mailbox,
                    http=daemon.addresses.http,
                    password=password,
                )
                all_right = await _play(stage)
                if not once:
                    await _stay(stage)
    return all_right


# --- the examples ----------------------------------------------------------------------------------------------------


async def _play(stage: Stage) -> bool:
    examples = load_examples()
    wrong = [example.name for example in examples if not await _play_one(stage, example)]
    stage.show_title("Result")
    if wrong:
        stage.console.print(f"{len(wrong)} of {len(examples)} examples are not as documented: {', '.join(wrong)}")
    else:
        stage.console.print(f"All {len(examples)} examples are as documented.")
    return not wrong


async def _play_one(stage: Stage, example: Example) -> bool:
    stage.show_title(f"{example.name}: {example.about}")
    stage.sandbox.clear()
    stage.mailbox.clear()
    replies = []
    for mail in example.mails:
        stage.show("Mail", mail.decode("utf-8", "replace"))
        reply = await submit(*stage.smtp, mail, sender=SENDER, recipient=RECIPIENT)
        stage.show("Answered", reply)
        replies.append(reply)
    await _wait_for(stage, example.expected)
    observed = Outcome(
        replies=tuple(replies),
        sms=read_carrier(stage.sandbox.messages),
        reports=tuple(read_report(mail.content) for mail in stage.mailbox.mails),
    )
    _show_outcome(stage, observed)
    problems = judge(example.expected, observed)
    for problem in problems:
        stage.console.print(Text(f"NOT as documented: {problem}", style="bold red"))
    if not problems:
        stage.console.print(Text("As documented.", style="bold green"))
    stage.console.print()
    return not problems


async def _wait_for(stage: Stage, expected: Outcome) -> None:
    """Return when all that is expected has come, or after the deadline; then watch a little for what is too much."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE_S):
            await stage.sandbox.wait_for_messages(len(expected.sms))
            await stage.mailbox.wait_for(len(expected.reports), timeout_s=DEADLINE_S)
    await asyncio.sleep(QUIET_S)


def _show_outcome(stage: Stage, observed: Outcome) -> None:
    for sms in observed.sms:
        stage.show("SMS at the carrier", _describe(sms))
    if not observed.sms:
        stage.show("SMS at the carrier", "none")
    for report in observed.reports:
        kind = "Ack" if b"<etatAck>" in report else "Not"
        stage.show(f"{kind} that came back", report.decode("iso-8859-1"))
    if not observed.reports:
        stage.show("Mail back", "none")


def _describe(sms: CarrierSms) -> str:
    return f"to {sms.number} from {sms.originator or '(no originator)'}\n{sms.text}"


# --- staying up ------------------------------------------------------------------------------------------------------

_SWAKS = """\
swaks --server {host}:{port} --from {sender} --to {recipient} \\
  --header 'Content-Type: text/plain; charset=utf-8' --header 'Content-Transfer-Encoding: 8bit' \\
  --body "<envoi><keyid>a296464ce012b8ab710a</keyid><num>0601020304</num><sms>Bonjour, 5€ offerts</sms>\
<emailId>$(date +%s)</emailId><emailAck>ack@masociete.com</emailAck><emailNot>not@masociete.com</emailNot></envoi>"
"""


async def _stay(stage: Stage) -> None:
    """Say how to send one oneself, then show what comes in until the user has seen enough."""
    host, port = stage.smtp
    stage.show_title("Now you")
    stage.console.print(f"The gateway takes mail at {host}:{port}. Send one yourself (Debian: apt install swaks):\n")
    stage.console.print(_SWAKS.format(host=host, port=port, sender=SENDER, recipient=RECIPIENT))
    stage.console.print(f"The SMS the carrier sandbox received: {stage.sandbox.url}/sandbox/messages")
    stage.console.print(f"The same as a page:                   {stage.sandbox.url}/")
    if stage.http is not None:
        console = "http://{}:{}/console".format(*stage.http)
        stage.console.print(f"The gateway's console:                {console} ({CONSOLE_USER}, {stage.password})")
    stage.console.print("Everything that arrives is shown here too. Ctrl-C ends the demo.\n")
    stage.sandbox.clear()
    stage.mailbox.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(_show_sms(stage), name="sms")
        group.create_task(_show_reports(stage), name="reports")


async def _show_sms(stage: Stage) -> None:
    shown = 0
    while True:
        await stage.sandbox.wait_for_messages(shown + 1)
        for sms in read_carrier(stage.sandbox.messages)[shown:]:
            stage.show("SMS at the carrier", _describe(sms))
            shown += 1


async def _show_reports(stage: Stage) -> None:
    shown = 0
    while True:
        with suppress(TimeoutError):
            await stage.mailbox.wait_for(shown + 1, timeout_s=3600)
        for mail in stage.mailbox.mails[shown:]:
            stage.show(f"Mail back to {', '.join(mail.recipients)}", read_report(mail.content).decode("iso-8859-1"))
            shown += 1
