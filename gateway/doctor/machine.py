"""What Linux tells of the machine: whose process, which file system, what limits. Reads only; None: not to be seen."""

import os
import pwd
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

UNLIMITED = sys.maxsize
SUPERVISOR = "systemd"

_LISTENING = "0A"
_MAPS = ("net/tcp", "net/tcp6")
_LOOPED_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of this machine."""

    pid: int
    name: str
    uid: int
    most_files: int | None = None  # soft limit of descriptors; None: not to be seen
    core_bytes: int | None = None  # soft limit of core dumps; None: not to be seen

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def find_process(pid: int) -> Process | None:
    """Return the process of that number, if it can be looked at."""
    folder = PROC / str(pid)
    try:
        name = (folder / "comm").read_text("utf-8", "replace").strip()
        uid = folder.stat().st_uid
    except OSError:
        return None
    most_files, core = _limits(folder)
    return Process(pid=pid, name=name, uid=uid, most_files=most_files, core_bytes=core)


def find_lock_holder(path: Path) -> Process | None:
    """Return who holds the lock (flock) on a file: nobody is disturbed, as a try to take it would."""
    try:
        status = path.stat()
        lines = (PROC / "locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK" or words[3] != "WRITE":
            continue
        held_device, _, inode = words[5].rpartition(":")
        # overlayfs and btrfs tell another device than stat does: theirs begin with 0
        if inode == str(status.st_ino) and (held_device == device or held_device.startswith("00:")):
            return find_process(int(words[4]))
    return None


def find_listener(port: int) -> Process | None:
    """Return who listens on a TCP port; only root sees the processes of others.

    Of several, one that is not systemd: it hands sockets to services, and keeps them too.
    """
    inodes = set(_listening_inodes(port))
    found: Process | None = None
    for pid in _processes_with(inodes) if inodes else ():
        found = find_process(pid) or found
        if found is not None and found.name != SUPERVISOR:
            return found
    return found


def find_file_system(path: Path) -> str | None:
    """Return the type of the file system that a file or folder is on, such as "ext4"."""
    try:
        lines = (PROC / "self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    found, longest = None, -1
    for line in lines:
        left, _, right = line.partition(" - ")
        words = left.split()
        if len(words) < 5 or not right:
            continue
        place = Path(_unescape(words[4]))
        if path.is_relative_to(place) and len(place.parts) >= longest:  # a later one lies above
            found, longest = right.split()[0], len(place.parts)
    return found


def first_free_port() -> int:
    """Return the first port that needs no capability."""
    try:
        return int((PROC / "sys/net/ipv4/ip_unprivileged_port_start").read_text("ascii"))
    except (OSError, ValueError):
        return 1024


def user_name(uid: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def try_to_bind(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Raise the OSError that listening there would begin with. Nobody can connect meanwhile: it is not listened on."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)


def _limits(folder: Path) -> tuple[int | None, int | None]:
    """Return how many descriptors, and how large a core dump."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in (folder / "limits").read_text("ascii", "replace").splitlines():
            name, soft = line[:26].strip(), line[26:].split()[:1]
            if soft:
                found[name] = int(soft[0]) if soft[0].isdecimal() else UNLIMITED
    return found.get("Max open files"), found.get("Max core file size")


def _listening_inodes(port: int) -> Iterator[str]:
    for name in _MAPS:
        with suppress(OSError):
            for line in (PROC / name).read_text("ascii", "replace").splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                    yield words[9]


def _processes_with(inodes: set[str]) -> Iterator[int]:
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if any(_inode_of(link) in inodes for link in (folder / "fd").iterdir()):
                    yield int(folder.name)


def _inode_of(link: Path) -> str | None:
    with suppress(OSError):
        target = str(link.readlink())
        if target.startswith("socket:["):
            return target[len("socket:[") : -1]
    return None


def _unescape(text: str) -> str:
    for escaped, plain in _LOOPED_ESCAPES:
        text = text.replace(escaped, plain)
    return text
