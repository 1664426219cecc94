"""TLS handshakes, counted, and why one came to nothing.

Diagnostics: event `tls_failed` (info); metric `mail2sms_smtp_tls_handshakes_total`.
"""

import ssl

import prometheus_client
import structlog

from gateway.metrics import REGISTRY

HANDSHAKES = prometheus_client.Counter(
    "mail2sms_smtp_tls_handshakes", "TLS handshakes, by what became of them.", ["outcome"], registry=REGISTRY
)

_log = structlog.get_logger()


def tell_tls_failed(error: Exception) -> None:
    """A handshake that came to nothing is counted and logged."""
    HANDSHAKES.labels("failed").inc()
    _log.info("tls_failed", reason=_why_no_tls(error))


def _why_no_tls(error: Exception) -> str:
    """Return what was wrong with a handshake, in OpenSSL's words if it has any; they are from a closed list."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return "too slow" if isinstance(error, ConnectionAbortedError | TimeoutError) else "the client hung up"
