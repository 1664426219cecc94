"""Who may read and do what: the files with secrets, the user, the limits."""

import resource
import stat
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

from gateway.config.secret_files import list_secret_files
from gateway.doctor.findings import Finding, Says, Section
from gateway.doctor.machine import UNLIMITED, user_name
from gateway.doctor.patience import all_in_thread
from gateway.doctor.subject import CREDENTIALS, Subject

_says = Says(Section.RIGHTS)

_USED_FILES = 64
_RESERVED_FILES = 8


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of them."""
    for finding in await all_in_thread(partial(_look, subject)):
        yield finding


def _look(subject: Subject) -> Iterator[Finding]:
    yield from _look_at_user(subject)
    yield from _look_at_files(subject)
    yield from _look_at_limits(subject)


def _look_at_user(subject: Subject) -> Iterator[Finding]:
    service, me = subject.service_uid, user_name(subject.uid)
    if subject.gateway is not None:
        runs = f"the gateway runs as {user_name(subject.gateway.uid)}, pid {subject.gateway.pid}"
        if subject.gateway.uid == 0:
            yield _says.warning(
                f"{runs}: a fault in it would be one of the whole machine",
                "let it run as a user of its own, as deploy/mail2sms.service does",
            )
        else:
            yield _says.ok(runs)
    elif service == 0 and subject.uid == 0:
        yield _says.warning(
            "the store belongs to root, so the gateway is to run as root",
            "let it run as a user of its own, as deploy/mail2sms.service does, and give the store to that user",
        )
    if service is not None and service != subject.uid:
        who = user_name(service)
        yield _says.warning(
            f"this looks as {me}, the gateway's user is {who}: what {me} may do is not what {who} may",
            f"run it as the service does: sudo -u {who} mail2sms doctor --config {subject.config.path}",
        )


def _look_at_files(subject: Subject) -> Iterator[Finding]:
    config = subject.config
    secrets = list_secret_files(config, config.path.parent, subject.environ)
    credentials = subject.environ.get(CREDENTIALS)
    fine = []
    for file in (config.path, *secrets):
        troubles = list(_look_at_file(subject, file))
        yield from troubles
        if not troubles:
            fine.append(file)
    if fine:
        yield _says.ok(f"readable by nobody who should not: {', '.join(str(file) for file in fine)}")
    starttls = config.smtp.starttls
    if starttls is not None:
        yield from _look_at_file(subject, starttls.key)
    yield from _look_at_quarantine(subject)
    if credentials is not None:
        yield _says.ok(f"secrets come as credentials of systemd, from {credentials}")


def _look_at_file(subject: Subject, file: Path) -> Iterator[Finding]:
    try:
        status, folder = file.stat(), file.parent.stat()
    except OSError as error:
        yield _says.failure(f"{file} cannot be looked at: {error.strerror}", "see that this user may enter its folder")
        return
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IROTH:
        yield _says.failure(
            f"everybody on this machine can read {file} (mode {mode:04o})",
            f"chmod o-rwx {file}, and replace the secrets",
        )
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield _says.failure(f"others than its owner can write to {file} (mode {mode:04o})", f"chmod go-w {file}")
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        yield _says.failure(f"everybody on this machine can replace {file}", f"chmod o-w {file.parent}")
    owners = {0, subject.uid, subject.service_uid}
    if status.st_uid not in owners:
        yield _says.warning(
            f"{file} belongs to {user_name(status.st_uid)}, who is neither root nor the gateway",
            f"chown root {file}, and a group that the gateway is in",
        )


def _look_at_quarantine(subject: Subject) -> Iterator[Finding]:
    """It holds whole mails, keys included."""
    beside = None if subject.database is None else subject.database.parent / "quarantine"
    folder = subject.config.reading.quarantine or beside
    if folder is None or not folder.is_dir():
        return  # the first mail that cannot be read makes it
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield _says.failure(
            f"others can look into {folder} (mode {mode:04o}), which holds mails with their keys",
            f"chmod 0700 {folder}",
        )


def _look_at_limits(subject: Subject) -> Iterator[Finding]:
    """Those of the gateway, if it runs and they can be seen; else ours, which may be others."""
    gateway, wanted = subject.gateway, subject.config.smtp.max_connections
    if gateway is not None:
        most_files, whose = gateway.most_files, "the gateway"
        if gateway.core_bytes:
            yield _says.warning(
                "a crash of the gateway would write keys and texts to the disk", "write LimitCORE=0 in its unit"
            )
        elif gateway.core_bytes is not None:
            yield _says.ok("a crash leaves no memory on the disk (core dumps are off)")
    else:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most_files = UNLIMITED if limit == resource.RLIM_INFINITY else limit
        whose = "a process started from here"
    if most_files is None:
        return
    possible = max(1, (most_files - _USED_FILES) // 2 - _RESERVED_FILES)
    if possible < wanted:
        yield _says.warning(
            f"{whose} may open {most_files} files: enough for {possible} connections; max_connections is {wanted}",
            f"write LimitNOFILE={2 * (wanted + _RESERVED_FILES + _USED_FILES)} in its unit, or lower max_connections",
        )
    else:
        number = "as many files as it likes" if most_files == UNLIMITED else f"{most_files} files"
        yield _says.ok(f"{whose} may open {number}, enough for {wanted} connections")
