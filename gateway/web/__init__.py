"""The HTTP listener: health and metrics."""

from gateway.web.health import health_app
from gateway.web.server import HttpServer, HttpSettings

__all__ = ["HttpServer", "HttpSettings", "health_app"]
