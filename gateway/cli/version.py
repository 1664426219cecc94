"""`mail2sms version`."""

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from gateway import __version__

LIBRARIES = (
    "aiosmtpd",
    "aiosmtplib",
    "aiosqlite",
    "alembic",
    "argon2-cffi",
    "dkimpy",
    "dnspython",
    "httpx",
    "lxml",
    "phonenumbers",
    "psycopg",
    "pydantic",
    "spftrace",
    "SQLAlchemy",
    "starlette",
    "uvicorn",
    "uvloop",
)


def version(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Print the version, Python's and the libraries'."""
    libraries = {name: _installed(name) for name in LIBRARIES}
    if as_json:
        print(json.dumps({"version": __version__, "python": platform.python_version(), "libraries": libraries}))
        return
    print(f"mail2sms-gateway {__version__}")
    print(f"Python {platform.python_version()} on {platform.platform()}")
    for name, found in libraries.items():
        print(f"{name} {found or 'not installed'}")


def _installed(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None
