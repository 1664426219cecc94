"""`mail2sms health`."""

import http.client
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

_DEADLINE_S = 10.0
_OK, _BAD = 0, 1  # as in gateway.cli.exits, which imports the whole configuration


def health(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration.", readable=False)
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Where to ask, in place of the configuration.")] = None,
) -> None:
    """Say whether the gateway takes mail, for supervisors of containers.

    Asks /readyz where `[http]` has a `listen`, else for the greeting of an SMTP listener. With `--url`, as in
    http://127.0.0.1:8025/readyz, no configuration is read, which takes a tenth of the time. Exit status 0: it takes
    mail; 1: it does not, or does not answer within 10 seconds, and why.
    """
    if (config is None) == (url is None):
        raise typer.BadParameter("give one of --config and --url", param_hint="--config")
    # with --url nothing of the gateway is imported
    obstacle = ask(url) if url is not None else import_module("gateway.cli.health_checks").find_obstacle(config)
    if obstacle:
        sys.stderr.write(f"{obstacle}\n")
    else:
        print("ready")
    raise typer.Exit(_BAD if obstacle else _OK)


def ask(url: str) -> str:
    """Return why no mail is taken, as the address says; nothing when it is."""
    place = urlsplit(url)
    if place.scheme != "http" or place.hostname is None:
        raise typer.BadParameter("must begin with http://HOST", param_hint="--url")
    line = http.client.HTTPConnection(place.hostname, place.port or 80, timeout=_DEADLINE_S)
    try:
        line.request("GET", place.path or "/readyz")
        answer = line.getresponse()
        said = answer.read(4_096).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"nobody answers at {url}: {error}"
    finally:
        line.close()
    return "" if answer.status == 200 else said or f"{url} answers {answer.status}"
