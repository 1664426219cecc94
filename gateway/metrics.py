"""The registry of all metrics. Each metric is declared at the top of the module that counts it.

Names: `mail2sms_<noun>_<unit>[_total]`; labels come from closed lists only.
"""

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

REGISTRY = CollectorRegistry(auto_describe=True)
"""Ours alone: what a library registers in the library's own default stays out of `/metrics`."""

ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)


def render_metrics() -> tuple[bytes, str]:
    """Return the metrics as Prometheus reads them, and their content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
