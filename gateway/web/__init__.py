"""The HTTP listener: health and metrics, and what carriers call back."""

from gateway.web.gauges import Gauges
from gateway.web.health import health_app
from gateway.web.receipts import Callbacks, Hook
from gateway.web.server import HttpServer, HttpSettings

__all__ = ["Callbacks", "Gauges", "Hook", "HttpServer", "HttpSettings", "health_app"]
