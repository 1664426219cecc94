"""A folder as a disk may hold it when the power goes: what was synchronised for certain, the rest as it happens.

The rules are those that POSIX promises and no file system's kindness: a write is durable once a sync of its file,
begun after it, has ended; a name that was made, moved or removed is durable once its folder was synced; until then
each may be there or not, in any combination, a write also in part, by sectors.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path

from tests.power.trace import SOCKET, Call, UnreadableTrace

SECTOR_BYTES = 512


@unique
class Loss(Enum):
    """What becomes of everything that was not synchronised."""

    ALL = "all"  # none of it is there
    LATEST = "latest"  # it is there up to some moment, in order
    RANDOM = "random"  # each piece is there or not
    TORN = "torn"  # as RANDOM, and the pieces only by sectors
    NONE = "none"  # all is there: the process died, the machine did not


@dataclass(slots=True, eq=False)
class _File:
    """One file, whatever its names."""

    content: bytearray = field(default_factory=bytearray)  # durable


@dataclass(slots=True, kw_only=True, eq=False)
class _Write:
    file: _File
    offset: int
    data: bytes
    has_ended: bool = False

    def apply(self, content: bytearray) -> None:
        _put(content, self.offset, self.data)

    def apply_torn(self, content: bytearray, chance: random.Random) -> None:
        """Some of the sectors are there."""
        start, end = self.offset, self.offset + len(self.data)
        while start < end:
            stop = min(end, (start // SECTOR_BYTES + 1) * SECTOR_BYTES)
            if chance.random() < 0.5:
                _put(content, start, self.data[start - self.offset : stop - self.offset])
            start = stop


@dataclass(slots=True, kw_only=True, eq=False)
class _Resize:
    file: _File
    size: int
    has_ended: bool = False

    def apply(self, content: bytearray) -> None:
        del content[self.size :]
        content.extend(bytes(self.size - len(content)))


@dataclass(slots=True, kw_only=True, eq=False)
class _Name:
    """A name refers to another file from now on, or to none. The folder's sync makes it durable."""

    name: str
    now: _File | None
    has_ended: bool = False
    file: None = None


_Pending = _Write | _Resize | _Name
"""Something that was done and is not durable yet."""


class Disk:
    """The files of one folder, fed with calls in their order."""

    def __init__(self, folder: Path, files: Mapping[str, bytes], is_ours: Callable[[str], bool]) -> None:
        """`files` are there for certain; names for which `is_ours` is False are left out."""
        self._folder = folder
        self._is_ours = is_ours
        self._names = {name: _File(bytearray(content)) for name, content in files.items()}  # durable
        self._seen = dict(self._names)  # by the process
        self._pending: list[_Pending] = []
        self._under_way: dict[Call, list[_Pending]] = {}  # writes: what they change; syncs: what they make durable

    @property
    def is_settled(self) -> bool:
        """True when nothing is left to chance."""
        return not self._pending

    def begin(self, call: Call) -> None:
        """The call may have had its effect from now on."""
        if call.path == SOCKET:
            return
        if call.is_sync:
            # a file's sync settles what was done to it; the folder's, what was done to names
            is_folder = call.path == str(self._folder)
            file = None if is_folder else self._seen.get(Path(call.path).name)
            if is_folder or file is not None:
                self._under_way[call] = [one for one in self._pending if one.has_ended and one.file is file]
            return
        changes = self._changes(call)
        self._under_way[call] = changes
        self._pending += changes

    def end(self, call: Call) -> None:
        """The call has had its effect, or has failed."""
        changes = self._under_way.pop(call, None)
        if not changes:
            return
        assert call.result is not None
        if call.is_sync:
            if call.result == 0:
                self._settle(changes)
            return
        for change in changes:
            change.has_ended = True
            if call.result < 0:
                self._pending.remove(change)
            elif isinstance(change, _Write) and call.result < len(change.data):
                change.data = change.data[: call.result]

    def image(self, loss: Loss, chance: random.Random) -> dict[str, bytearray]:
        """Return the files as they may be found after the power went now."""
        kept = _choose(self._pending, loss, chance)
        names = dict(self._names)
        for change in kept:
            if isinstance(change, _Name):
                _rename(names, change)
        contents = {id(file): bytearray(file.content) for file in names.values()}
        for change in kept:
            if isinstance(change, _Name) or id(change.file) not in contents:
                continue
            content = contents[id(change.file)]
            if loss is Loss.TORN and isinstance(change, _Write):
                change.apply_torn(content, chance)
            else:
                change.apply(content)
        return {name: contents[id(file)] for name, file in names.items()}

    def _settle(self, changes: Sequence[_Pending]) -> None:
        done = set(changes)
        for change in changes:
            if isinstance(change, _Name):
                _rename(self._names, change)
            else:
                change.apply(change.file.content)
        self._pending = [change for change in self._pending if change not in done]

    def _changes(self, call: Call) -> list[_Pending]:
        name = Path(call.path).name
        if not self._is_ours(name):
            return []
        file = self._seen.get(name)
        match call.name:
            case "openat" | "open" | "creat":
                return self._opened(call, name, file)
            case "pwrite64" if file is not None:
                return [_Write(file=file, offset=call.numbers[-1], data=call.data)]
            case "ftruncate" if file is not None:
                return [_Resize(file=file, size=call.numbers[-1])]
            case "unlink" | "unlinkat":
                return [] if file is None else [self._renamed(name, None)]
            case _:
                raise UnreadableTrace(f"{call.name} on {call.path} is not understood")

    def _opened(self, call: Call, name: str, file: _File | None) -> list[_Pending]:
        if file is None and "O_CREAT" in call.flags:
            return [self._renamed(name, _File())]
        if "O_TRUNC" in call.flags and file is not None:
            return [_Resize(file=file, size=0)]
        return []

    def _renamed(self, name: str, file: _File | None) -> _Name:
        if file is None:
            del self._seen[name]
        else:
            self._seen[name] = file
        return _Name(name=name, now=file)


def _choose(pending: Sequence[_Pending], loss: Loss, chance: random.Random) -> Sequence[_Pending]:
    match loss:
        case Loss.ALL:
            return ()
        case Loss.NONE:
            return pending
        case Loss.LATEST:
            return pending[: chance.randint(0, len(pending))]
        case Loss.RANDOM | Loss.TORN:
            share = chance.random()  # also few of many, and many of few
            return [change for change in pending if chance.random() < share]


def _rename(names: dict[str, _File], change: _Name) -> None:
    if change.now is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.now


def _put(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data
