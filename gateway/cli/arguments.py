"""What several commands are told: numbers and accounts, read the same way and refused in the same words."""

import typer

from gateway.config import Config
from gateway.text.msisdn import Malformed, parse_number


def read_number(text: str, *, hint: str = "NUMBER") -> str:
    """Return the number in E.164."""
    number = parse_number(text)
    if isinstance(number, Malformed):
        raise typer.BadParameter(number.reason, param_hint=hint)
    return number.e164


def check_account(name: str, settings: Config, *, hint: str = "NAME") -> None:
    """Refuse what is not an account of the configuration."""
    if name not in {account.name for account in settings.accounts}:
        raise not_an_account(name, hint=hint)


def not_an_account(name: str, *, hint: str = "NAME") -> typer.BadParameter:
    """Return what is raised for it."""
    return typer.BadParameter(f"{name} is not an account of this configuration", param_hint=hint)
