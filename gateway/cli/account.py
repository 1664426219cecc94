"""`mail2sms account`: blocks of the configuration, written for one's clients (docs/protocol.md §10.1)."""

import secrets
import sys
from typing import Annotated

import tomlkit
import typer
from pydantic import ValidationError

from gateway.cli import new_group
from gateway.cli.exits import ConfigOption
from gateway.config import Config, load
from gateway.policy.accounts import Account
from gateway.providers.isendpro import IsendproSettings

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
    """Write what stands in the configuration for an account: all of it, or a new key."""


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


@account.command("rotate")
def rotate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the account.")], *, config: ConfigOption
) -> None:
    """Print the lines that give an account a fresh key, and let the present one be good too until it is taken out.

    The configuration is not changed. The lines hold both keys: they are secrets.
    """
    settings = load(config)
    found = next((one for one in settings.accounts if one.name == name), None)
    if found is None or found.keyid is None:
        known = ", ".join(one.name for one in settings.accounts)
        raise typer.BadParameter(f'there is no account "{name}" in {config}, but: {known}', param_hint="NAME")
    if found.previous_keyid is not None:
        sys.stderr.write("warning: the account has a previous key already, which these lines make invalid\n")
    for carrier in _who_is_passed_the_key(settings, found):
        print(f'# Carrier "{carrier}" is passed the new key from the reload on: it has to know it first.')
    fresh = secrets.token_hex(_KEYID_BYTES)
    if found.keyid_file is None:
        print(f'# In the block of account "{name}", in place of keyid; then reload (SIGHUP):')
        print(f"keyid = {_toml(fresh)}")
        print(f"previous_keyid = {_toml(found.keyid.get_secret_value())}")
        return
    moved = f"{found.keyid_file}.previous"
    print(f"# 1. Move the file {found.keyid_file} to {moved}, with its owner and mode.")
    print(f"# 2. Write a new {found.keyid_file}, with the same owner and mode, that holds {fresh}")
    print(f'# 3. In the block of account "{name}", beside keyid_file; then reload (SIGHUP):')
    print(f"previous_keyid_file = {_toml(moved)}")


def _who_is_passed_the_key(settings: Config, found: Account) -> list[str]:
    """Return the carriers of the account that have no key of their own."""
    keyless = {one.name for one in settings.providers if isinstance(one, IsendproSettings) and one.keyid is None}
    return [name for name in found.all_providers if name in keyless]


def _toml(value: str) -> str:
    return tomlkit.item(value).as_string()


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
