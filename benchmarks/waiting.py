"""What a long queue costs in memory: the daemon's, while a million SMS wait, and while it sends.

    python -m benchmarks.bigstore FILE --mails 0 --queued 10000 --waiting 100
    python -m benchmarks.waiting FILE [--seconds 60]

runs the real daemon on a copy of FILE, half of the time with a carrier that nobody can reach, half with the sandbox,
and prints how much memory it has resident, now and then and at its most; the processes that read mails not counted.
"""

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path

from gateway.sandbox import Sandbox
from tests.support.configuration import NOBODY, write_config
from tests.support.gateway import serve

SAMPLES = 6


def resident_mib(process_id: int) -> tuple[float, float]:
    """Return what the process has in memory, and the most it ever had."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    now, most = (float(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


async def watch(name: str, config: Path, seconds: float, carrier: Sandbox) -> None:
    async with serve(config) as gateway:
        shown = []
        for _ in range(SAMPLES):
            await asyncio.sleep(seconds / SAMPLES)
            shown.append(f"{resident_mib(gateway.process.pid)[0]:.0f}")
        most = resident_mib(gateway.process.pid)[1]
        print(f"{name:<24} MiB: {', '.join(shown)}; at most {most:.0f}; SMS sent: {len(carrier.messages)}", flush=True)


async def main(file: Path, seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent) as made:
        folder = Path(made)
        shutil.copy(file, folder / "gateway.db")
        async with Sandbox() as carrier:
            for name, url in (("nobody answers", f"http://{NOBODY}"), ("sending", carrier.url)):
                config = write_config(folder / "gateway.toml", carrier=url)
                await watch(name, config, seconds / 2, carrier)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    asyncio.run(main(given.file, given.seconds))
