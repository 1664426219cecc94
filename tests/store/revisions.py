"""Which revision of the tables is the newest."""

from pathlib import Path

from gateway.store import migrations

NEWEST = max(file.name[1:5] for file in (Path(migrations.__path__[0]) / "versions").glob("r*.py"))
