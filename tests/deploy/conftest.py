"""A gateway as it stands in a DMZ; the fixtures are those of the daemon's own tests."""

from tests.daemon.conftest import config, mailbox, sandbox

__all__ = ["config", "mailbox", "sandbox"]
