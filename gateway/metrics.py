"""The registry of all metrics. Each metric is declared at the top of the module that counts it.

Names: `mail2sms_<noun>_<unit>[_total]`; labels come from closed lists only.
"""

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from gateway import __version__

REGISTRY = CollectorRegistry(auto_describe=True)
"""Ours alone: what a library registers in the library's own default stays out of `/metrics`."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_BUILD = Gauge("mail2sms_build_info", "1, and what runs here.", ("version", "python"), registry=REGISTRY)
_BUILD.labels(__version__, platform.python_version()).set(1)

STARTED_AT = Gauge("mail2sms_start_time_seconds", "When it started, as seconds since 1970.", registry=REGISTRY)
"""Set when everything is bound; the process's own figure has the name of no program."""

RELOADED = Gauge("mail2sms_configuration_reload_ok", "0 when the last reload met an error, else 1.", registry=REGISTRY)
RELOADED.set(1)

_LINES = Counter(
    "mail2sms_log_lines_total", "Lines of the log that say that something went wrong.", ("level",), registry=REGISTRY
)
_LINES_OF = {level: _LINES.labels(level) for level in ("warning", "error")}


def count_line(level: str) -> None:
    """A line of this level went to the log; those that are not worth an alarm are not counted."""
    if level in _LINES_OF:
        _LINES_OF[level].inc()


def render_metrics() -> tuple[bytes, str]:
    """Return the metrics as Prometheus reads them, and their content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
