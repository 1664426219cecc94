"""`mail2sms account`: blocks of the configuration, written for one's clients (docs/protocol.md §10.1)."""

import secrets
from typing import Annotated

import tomlkit
import typer
from pydantic import ValidationError

from gateway.cli import new_group
from gateway.policy.accounts import Account

_KEYID_BYTES = 16

_OPTIONS = {
    "name": "NAME",
    "domains": "--domain",
    "providers": "--provider",
    "company": "--company",
    "contact": "--contact",
    "telephone": "--telephone",
    "mail": "--mail",
}
"""Where on the command line each key comes from."""

account = new_group()


@account.callback()
def _account() -> None:
    """Write the block of the configuration for a new account."""


@account.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the account, in logs and commands.")],
    *,
    domains: Annotated[
        list[str],
        typer.Option("--domain", metavar="DOMAIN", help="A domain of the senders, or *.example.org; repeatable."),
    ],
    providers: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="NAME", help='A carrier, in order of preference; "carrier" unless given.'),
    ] = None,
    company: Annotated[str | None, typer.Option(help="Whose account it is.")] = None,
    contact: Annotated[str | None, typer.Option(help="Whom to ask there.")] = None,
    telephone: Annotated[str | None, typer.Option(help="Under which number.")] = None,
    mail: Annotated[str | None, typer.Option(help="At which address; warnings of the credit go there.")] = None,
) -> None:
    """Print an [[accounts]] block with a fresh key.

    Put it into the configuration, and give the key to the client: it goes into <keyid> of each mail.
    """
    keyid = secrets.token_hex(_KEYID_BYTES)
    given = {
        "name": name,
        "keyid": keyid,
        "domains": domains,
        "providers": providers or ["carrier"],
        "company": company,
        "contact": contact,
        "telephone": telephone,
        "mail": mail,
    }
    checked = _check({key: value for key, value in given.items() if value is not None})
    values = checked.model_dump(mode="json", include=set(given), exclude_none=True) | {"keyid": keyid}
    print("[[accounts]]")
    for key in given:
        if key in values:
            print(f"{key} = {tomlkit.item(values[key]).as_string()}")


def _check(values: dict[str, object]) -> Account:
    """Return the account; else exit status 2, with a sentence."""
    try:
        return Account.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = _OPTIONS[str(first["loc"][0])]
        raise typer.BadParameter(_sentence(option, first["type"], first["msg"]), param_hint=option) from None


def _sentence(option: str, kind: str, message: str) -> str:
    if kind == "string_pattern_mismatch":
        return 'a name is letters, digits, "_", "." and "-", at most 64, and begins with a letter or digit'
    if kind in {"string_too_short", "string_too_long"}:
        return f"{option} takes 1 to 200 characters"
    return message.removeprefix("Value error, ")
