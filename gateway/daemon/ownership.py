"""One gateway per SQLite file: what a node finds claimed at its start is then its own, from before it ended."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.store import StoreUnusable
from gateway.store.files import give_to_owner


@contextmanager
def sole_owner(database: Path) -> Iterator[None]:
    """Within the block no other gateway works on this file; raises StoreUnusable when one does.

    The lock is on a file of its own beside it: opening and closing the database itself would drop SQLite's locks. It
    ends with the process, however that ends; the file stays.
    """
    path = database.with_name(database.name + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise StoreUnusable(
            f"there is no folder {database.parent}: is a disk not mounted, or the url in [store] wrong? "
            "For a new gateway make the folder, then run mail2sms migrate"
        ) from error
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be created: {error.strerror}") from error
    try:
        give_to_owner(descriptor, database)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnusable(
                f"another gateway works on {database}: stop it first (several at a time need PostgreSQL)"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_owned(database: Path) -> bool | None:
    """Return whether a gateway that this process can see works on the file; None: it cannot be told.

    Asks the kernel, for taking the lock to see whether it is free could keep a gateway from starting.
    """
    try:
        status = database.with_name(database.name + ".lock").stat()
        locks = Path("/proc/locks").read_text("ascii", "replace")
    except FileNotFoundError:
        return False if Path("/proc/locks").exists() else None
    except OSError:
        return None
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return any(name in line.split() for line in locks.splitlines())
