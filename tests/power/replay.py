"""Images of the disk at many instants of a recorded run, each recovered and judged.

`python -m tests.power.replay FOLDER IMAGES SEED PART PARTS` prints one line of JSON; the test runs one for each
processor. Instants are spread evenly over everything the gateway did, with chance within each stretch.
"""

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path

import uvloop

from gateway.config import load
from gateway.daemon.gateway import Daemon
from gateway.log import set_up_logging
from tests.power import trace
from tests.power.disk import Disk, Loss
from tests.power.judge import Judge, Said
from tests.power.recording import DATABASE, Recording

FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-journal")
"""What SQLite recovers from; the index of the log (-shm) is made anew, the lock ends with the process."""

_LOSSES = (Loss.ALL, Loss.LATEST, Loss.TORN, Loss.RANDOM, Loss.ALL, Loss.LATEST, Loss.TORN, Loss.NONE)
_STARTED_EVERY = 10
_MOST_WRONGS = 20


@dataclass(slots=True, kw_only=True)
class Result:
    """What was found on the images."""

    images: int = 0
    unsettled: int = 0  # images that chance had a part in
    started: int = 0  # images on which the daemon itself was started
    wrong_images: int = 0
    by_loss: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)  # the first of them
    kinds: Counter[str] = field(default_factory=Counter)  # images by what was wrong with them

    def note(self, loss: Loss, wrongs: Sequence[str], *, where: int) -> None:
        """Count an image and what was wrong with it."""
        self.images += 1
        self.by_loss[loss.value] += 1
        self.wrong_images += bool(wrongs)
        self.kinds.update({wrong.partition(":")[0] for wrong in wrongs})
        room = _MOST_WRONGS - len(self.wrongs)
        self.wrongs += [f"after event {where}, {loss.value}: {wrong}" for wrong in wrongs[:room]]

    def add(self, other: "Result") -> None:
        """Take in what another part found."""
        self.images += other.images
        self.unsettled += other.unsettled
        self.started += other.started
        self.wrong_images += other.wrong_images
        self.by_loss += other.by_loss
        self.kinds += other.kinds
        self.wrongs += other.wrongs


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """The disk and the word that is out, at one event of the run."""

    event: int
    loss: Loss
    disk: Disk
    said: Said
    chance: random.Random

    def write_image(self, folder: Path) -> Path:
        """The files are in the folder as the power left them, and nothing else of the store; return the database."""
        for path in folder.glob(f"{DATABASE}*"):
            path.unlink()
        for name, content in self.disk.image(self.loss, self.chance).items():
            (folder / name).write_bytes(content)
        return folder / DATABASE


def instants(recording: Recording, images: int, seed: int, *, part: int = 0, parts: int = 1) -> Iterator[Instant]:
    """Go through the run once and stop at the instants of one part; what is yielded is good until the next."""
    total = sum(1 for _ in trace.read(recording.trace, recording.store))
    chance = random.Random(seed)
    stops = Counter(int((index + chance.random()) * total / images) for index in range(images))
    disk = Disk(recording.store, {DATABASE: recording.before.read_bytes()}, FILES.__contains__)
    said, index = Said(), 0
    for number, event in enumerate(trace.read(recording.trace, recording.store)):
        if event.is_end:
            disk.end(event.call)
        else:
            disk.begin(event.call)
            said.hear(event.call)
        for _ in range(stops[number]):
            index += 1
            if index % parts == part:
                loss = _LOSSES[index // parts % len(_LOSSES)]
                own = random.Random(f"{seed} {index}")
                yield Instant(event=number, loss=loss, disk=disk, said=said, chance=own)


async def replay(recording: Recording, images: int, seed: int, *, part: int, parts: int) -> Result:
    """Judge every image of a part; start the daemon itself on some."""
    result, judge = Result(), Judge(recording.read_taken())
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as name:
        folder = Path(name)
        config = folder / "gateway.toml"
        text = (recording.folder / "gateway.toml").read_text()
        config.write_text(text.replace(str(recording.store), str(folder)))
        for instant in instants(recording, images, seed, part=part, parts=parts):
            result.unsettled += not instant.disk.is_settled
            database = instant.write_image(folder)
            if result.images % _STARTED_EVERY == 0:
                result.started += 1
                wrongs = await _start(config, database)
                wrongs += judge.find_wrongs(database, instant.said)
            else:
                wrongs = judge.find_wrongs(database, instant.said)
            result.note(instant.loss, wrongs, where=instant.event)
    return result


def _fast_folder() -> Path | None:
    """In memory, where there is such a place: an image is written for a moment only."""
    memory = Path("/dev/shm")  # noqa: S108 the folder inside it is made by tempfile
    return memory if memory.is_dir() else None


async def _start(config: Path, database: Path) -> list[str]:
    """Let the daemon recover the store as it does at each start; return what it left undone."""
    daemon = Daemon(load(config, environ={}))
    try:
        await daemon.start()
    except Exception as error:  # noqa: BLE001 whatever keeps it from starting is what we look for
        return [f"unstartable: {error}"]
    await daemon._resources.aclose()
    with closing(sqlite3.connect(database)) as connection:
        left = connection.execute(
            "SELECT 'sms ' || id FROM sms WHERE state = 'sending' "
            "UNION ALL SELECT 'report ' || id FROM report WHERE state = 'sending'"
        ).fetchall()
    return [f"unrecovered: {row} is still being sent" for (row,) in left]


def parse_result(line: str | bytes) -> Result:
    """Return what a part printed."""
    found: Mapping[str, object] = json.loads(line)
    result = Result(**found)  # type: ignore[arg-type]
    result.by_loss, result.kinds = Counter(result.by_loss), Counter(result.kinds)
    return result


def main() -> None:
    """Print the result of one part."""
    folder, (images, seed, part, parts) = Path(sys.argv[1]), map(int, sys.argv[2:6])
    set_up_logging(form="json", level="error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(replay(Recording(folder=folder), images, seed, part=part, parts=parts))
    sys.stdout.write(json.dumps({each.name: getattr(result, each.name) for each in fields(result)}) + "\n")


if __name__ == "__main__":
    main()
