"""What is kept of a mail for whoever asks later why."""

from collections.abc import Mapping

Facts = Mapping[str, str | int | bool | None]
"""Plain values by name, those of a stranger cut short."""
