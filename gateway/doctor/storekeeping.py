"""The store: whether it is there, of this version, sound, durable, ours alone, has room, and nothing is stuck in it."""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from gateway.daemon.shortage import needed_bytes
from gateway.doctor.findings import Finding, Says, Section, count
from gateway.doctor.machine import find_file_system, user_name
from gateway.doctor.patience import all_in_thread, why
from gateway.doctor.subject import Subject
from gateway.lifecycle import ReportState, SmsState
from gateway.store.base import Backlog
from gateway.store.examining import Examined, PostgresFacts, examine_store
from gateway.store.reserve import Reserve

_says = Says(Section.STORE)

LOOK_S = 6.0
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2"}
)
_GONE_AT_REBOOT = frozenset({"tmpfs", "ramfs"})
_LATE_S = 3_600.0
_GIB = 1024**3


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of the store."""
    database = subject.database
    if database is not None:
        for finding in await all_in_thread(partial(_look_at_place, subject, database)):
            yield finding
    examined = await examine_store(subject.config.store, subject.clock, limit_s=LOOK_S)
    if examined.trouble is not None:
        yield _says.failure(_sentence(str(examined.trouble)), _what_to_do(subject, str(examined.trouble)))
        return
    for finding in _judge(subject, examined):
        yield finding


def _judge(subject: Subject, examined: Examined) -> Iterator[Finding]:
    if examined.mark is not None:
        yield _says.failure(
            f"the store is {examined.mark}: SMS that wait in it may have been sent since",
            "say what shall become of them: mail2sms restore --queued hold (or send); serve does not start before",
        )
    if examined.postgres is not None:
        yield from _judge_postgres(examined.postgres)
    elif examined.damage is not None:
        yield _says.failure(
            f"the store is damaged ({examined.damage})", "stop the gateway, look with mail2sms verify, restore a backup"
        )
    elif examined.journal_mode != "wal":
        yield _says.failure("the store has no write-ahead log: serve does not start", "run mail2sms migrate")
    else:
        how = "sound" if examined.is_sound else f"as far as it could be read in {LOOK_S:g} s, sound"
        yield _says.ok(f"of this version, {how}, with a write-ahead log; every commit is flushed to the disk")
    if examined.backlog is not None:
        yield from _judge_backlog(subject, examined.backlog)


def _judge_postgres(facts: PostgresFacts) -> Iterator[Finding]:
    if facts.is_standby:
        yield _says.failure(
            "this PostgreSQL server is a standby and takes no writes", "point url in [store] to the primary"
        )
    if facts.is_encrypted is False:
        yield _says.warning(
            "the connection to PostgreSQL is not encrypted: numbers and texts can be read on the way",
            "add ?sslmode=verify-full to url in [store]",
        )
    if facts.synchronous_commit == "local":
        yield _says.note(
            'PostgreSQL: synchronous_commit is "local": what a standby has not got yet is lost at a failover',
            'set it to "on" if there is a synchronous standby',
        )
    yield _says.ok(
        f"PostgreSQL {facts.version.split()[0]}, of this version, synchronous_commit {facts.synchronous_commit}, "
        f"answers within {facts.answer_ms:.0f} ms"
    )


def _judge_backlog(subject: Subject, backlog: Backlog) -> Iterator[Finding]:
    now, config = subject.clock.now(), subject.config
    waiting = sum(backlog.sms.get(state.value, 0) for state in (SmsState.QUEUED, SmsState.SENDING))
    reports = backlog.reports.get(ReportState.DUE.value, 0)
    yield _says.ok(f"waiting: {waiting} SMS, {count(reports, 'report')}")
    held, uncertain = backlog.sms.get(SmsState.HELD.value, 0), SmsState.UNCERTAIN.value
    if held:
        yield _says.note(
            f"{held} SMS are held, and go nowhere before somebody says so", "look at them, release or cancel"
        )
    age_s = _age_s(backlog.oldest_sms.get(uncertain), now)
    if age_s > config.janitor.reconcile_window_s + _LATE_S:
        yield _says.warning(
            f"SMS are uncertain for {_words(age_s)}, longer than reconcile_window_s",
            "does the gateway run? mail2sms verify lists them",
        )
    limit = config.store.most_waiting_sms
    if limit and waiting >= limit:
        yield _says.failure(f"{waiting} SMS wait: no mail is taken (452)", "are the carriers down? See below")
    age_s = _age_s(backlog.oldest_reports.get(ReportState.DUE.value), now)
    if age_s > _LATE_S:
        yield _says.warning(
            f"the oldest report waits for {_words(age_s)}", "is the smarthost down (see below), or the gateway?"
        )
    age_s = _age_s(backlog.oldest_sms.get(SmsState.SENDING.value), now)
    if age_s > _LATE_S:
        yield _says.warning(
            f"an SMS is being sent for {_words(age_s)}", "start the gateway: it finds out what became of the call"
        )


def _look_at_place(subject: Subject, database: Path) -> Iterator[Finding]:
    """The file and the disk under it; blocks as long as that does."""
    folder = database.parent
    try:
        folder_status = folder.stat()
    except OSError as error:
        yield _says.failure(
            f"there is no folder {folder} ({why(error)})", "is a disk not mounted, or url in [store] wrong?"
        )
        return
    yield from _look_at_disk(subject, database)
    if folder_status.st_mode & stat.S_IWOTH:
        yield _says.failure(f"everybody on this machine can write to {folder}", f"chmod 0750 {folder}")
    for name in (database.name, f"{database.name}-wal", f"{database.name}-shm"):
        yield from _look_at_file(subject, folder / name)


def _look_at_file(subject: Subject, file: Path) -> Iterator[Finding]:
    try:
        status = file.stat()
    except OSError:
        return  # whether it has to be there is for others to say
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        yield _says.failure(f"everybody on this machine can read {file} (mode {mode:04o})", f"chmod 0600 {file}")
    elif mode & (stat.S_IRGRP | stat.S_IWGRP):
        yield _says.note(f"a group can read {file} (mode {mode:04o})", f"chmod 0600 {file}, unless that is meant")
    service = subject.service_uid
    if service is not None and status.st_uid != service:
        yield _says.failure(
            f"{file} belongs to {user_name(status.st_uid)}, the gateway runs as {user_name(service)}",
            f"chown {user_name(service)} {file}",
        )


def _look_at_disk(subject: Subject, database: Path) -> Iterator[Finding]:
    folder = database.parent
    kind = find_file_system(folder.resolve())
    if kind is not None and (kind in _REMOTE or kind.startswith("fuse")):
        yield _says.failure(
            f"{folder} is on {kind}, not on a local disk: what is flushed there may be lost, and locks do not hold",
            "move the store to a local disk, or use PostgreSQL",
        )
    elif kind in _GONE_AT_REBOOT:
        yield _says.failure(
            f"{folder} is in memory ({kind}): everything is gone with the next start of the machine",
            "move the store to a disk: /var/lib/mail2sms",
        )
    elif kind == "overlay":
        yield _says.warning(
            f"{folder} is inside a container: the store is gone when the container is made anew",
            "mount a volume there",
        )
    status = os.statvfs(folder)
    free, needed = status.f_bavail * status.f_frsize, needed_bytes(subject.config.smtp.max_mail_bytes)
    reserve = subject.config.store.reserve_bytes
    if free < needed:
        yield _says.failure(
            f"the disk of {folder} has {_bytes(free)} left: below {_bytes(needed)} no mail is taken (452)",
            "make room: mail2sms purge, or a larger disk",
        )
    elif free < 4 * needed + reserve:
        yield _says.warning(
            f"the disk of {folder} has {_bytes(free)} left; below {_bytes(needed)} no mail is taken (452)", "make room"
        )
    else:
        yield _says.ok(f"{folder}: {_bytes(free)} free" + ("" if kind is None else f", on {kind}"))
    if status.f_files and status.f_favail < 100:
        yield _says.failure(
            f"the disk of {folder} has {status.f_favail} inodes left", "remove files that are not needed"
        )
    if reserve and Reserve(database, reserve).is_spent and database.exists():
        yield from _judge_reserve(subject, reserve)


def _judge_reserve(subject: Subject, reserve: int) -> Iterator[Finding]:
    if subject.gateway is None:
        yield _says.note(f"the reserve of {_bytes(reserve)} is not set aside yet: the next start does it")
        return
    yield _says.failure(
        f"the reserve of {_bytes(reserve)} beside the store is spent: no mail is taken and no SMS is sent",
        f"make room on its disk, at least {_bytes(reserve * 3 // 2)}; the gateway goes on by itself then",
    )


def _what_to_do(subject: Subject, trouble: str) -> str:
    if "mail2sms" in trouble or "restore" in trouble or "install" in trouble:
        return "do what it says; serve does not start before"
    if subject.database is None:
        return "does the server run, and is url in [store] right? Try it with psql, as the user of the service"
    if "not a file" in trouble:
        return "run this as the user of the service, and see whose the file is"
    return "see that its disk works and that this user may read it"


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:]


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else (now - since).total_seconds()


def _words(seconds: float) -> str:
    hours = seconds / 3_600
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def _bytes(number: int) -> str:
    return f"{number / _GIB:.1f} GiB" if number >= _GIB else f"{number / 1024**2:.0f} MiB"
