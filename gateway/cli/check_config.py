"""`mail2sms check-config`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.exits import CONFIGURATION, JsonOption, SetOption, read_overrides
from gateway.clock import SystemClock
from gateway.config import Config, ConfigError, Document, load
from gateway.config.problems import Problem
from gateway.config.rendering import render_in_force, render_reference
from gateway.smtp.tls import TlsUnusable, load_certificate


def check_config(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The configuration.", readable=False)] = None,
    *,
    show: Annotated[bool, typer.Option("--show", help="Print what is in force, secrets masked.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema; needs no FILE.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="Print every key and its meaning; no FILE.")] = False,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say everything that is wrong with a configuration.

    Exit status 3 when anything is. The environment and `--set` count, as they do for `serve`.
    """
    if schema:
        print(json.dumps(Document.model_json_schema(), indent=2, ensure_ascii=False))
        return
    if reference:
        print(render_reference(), end="")
        return
    if file is None:
        raise typer.BadParameter("a FILE is needed", param_hint="FILE")
    try:
        config = load(file, read_overrides(settings))
        _check_certificate(config)
    except ConfigError as error:
        _report_errors(error, as_json=as_json)
        raise typer.Exit(CONFIGURATION) from None
    if as_json:
        print(json.dumps(_answer([], config.warnings) | ({"config": _in_force(config)} if show else {})))
        return
    for warning in config.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    print(render_in_force(config) if show else f"{file} is good: {_summary(config)}.")


def _check_certificate(config: Config) -> None:
    """Raises ConfigError when `serve` could not start with it. A reload only keeps the old one: it is not in `load`."""
    if config.smtp.starttls is None:
        return
    try:
        load_certificate(config.smtp.starttls, SystemClock().now())
    except TlsUnusable as error:
        raise ConfigError([Problem(path="smtp.starttls", message=str(error))]) from error


def _report_errors(error: ConfigError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_answer(error.problems, ())))
        return
    sys.stderr.write(f"{error}\n")
    count = len(error.problems)
    print(f"{count} {'error' if count == 1 else 'errors'}; this configuration cannot be used.")


def _answer(problems: Sequence[Problem], warnings: Sequence[Problem]) -> dict[str, object]:
    return {
        "ok": not problems,
        "errors": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in warnings],
    }


def _in_force(config: Config) -> dict[str, object]:
    return config.model_dump(mode="json", include=set(Document.model_fields), exclude_none=True)


def _summary(config: Config) -> str:
    accounts, providers = len(config.accounts), len(config.providers)
    return (
        f"{accounts} {'account' if accounts == 1 else 'accounts'}, "
        f"{providers} {'provider' if providers == 1 else 'providers'}"
    )
