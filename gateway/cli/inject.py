"""`mail2sms inject`."""

import asyncio
import json

import typer

from gateway.cli.client import Said, bring
from gateway.cli.exits import BAD, OK, STORE_OR_NETWORK, ConfigOption, JsonOption
from gateway.cli.mail_file import FileArgument, SenderOption, read_mail
from gateway.cli.opening import opened
from gateway.cli.sharing import with_options
from gateway.clock import SystemClock
from gateway.config import Config, load
from gateway.daemon.building import build_intake, inline_reader
from gateway.intake import Reply, Submission
from gateway.log import register_secrets, set_up_logging

LISTENER = "inject"
"""Where such mails came in, in the store."""


@with_options
def inject(
    file: FileArgument,
    *,
    config: ConfigOption,
    sender: SenderOption = None,
    said: Said,
    as_json: JsonOption = False,
) -> None:
    """Submit a mail as if it had come by SMTP, and print the reply.

    It is stored with all it causes; a running gateway sends the SMS and the reports. Line ends become CRLF. Exit status
    0 when it was taken (250), 1 when it was refused (5xx), 4 when it is to be tried again later (4xx).
    """
    mail = read_mail(file)
    settings = load(config)
    register_secrets(settings.secrets)
    set_up_logging(form=settings.log.format, level=settings.log.level)
    brought = bring(mail, sender, said, settings, default=LISTENER)
    reply = brought if isinstance(brought, Reply) else asyncio.run(_submit(settings, brought))
    if as_json:
        print(json.dumps({"code": reply.code, "enhanced": reply.enhanced, "text": reply.text}))
    else:
        print(reply)
    raise typer.Exit(_status(reply))


async def _submit(settings: Config, submission: Submission) -> Reply:
    async with opened(settings) as store:
        intake = build_intake(
            settings,
            store=store,
            clock=SystemClock(),
            reader=inline_reader(settings),
            on_admitted=_nobody_to_wake,
            on_report=_nobody_to_wake,
        )
        return await intake.submit(submission)


def _nobody_to_wake(_account: str | None = None) -> None:
    """A running gateway is another process; it looks for rows by itself every few seconds."""


def _status(reply: Reply) -> int:
    match reply.code // 100:
        case 2:
            return OK
        case 4:
            return STORE_OR_NETWORK
        case _:
            return BAD
