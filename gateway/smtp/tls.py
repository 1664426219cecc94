"""The certificate of the front door: read at the start, read again when it changes, never lost to a bad renewal.

Promises: TLS 1.2 at least, with forward secrecy and OpenSSL's security level 2; a certificate that cannot be read, has
run out or does not fit its key never takes the place of one that works. Files are looked at every `LOOK_S`, and a
change is heeded once it has lasted for one look: a renewal writes one file after the other.

Diagnostics: `TlsUnusable` at the start; events `certificate_loaded` (info), `certificate_unusable` (error),
`certificate_expires` (warning); metric `mail2sms_smtp_certificate_expiry_seconds`.
"""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import cast

import prometheus_client
import structlog

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.intake import ClientCertificate
from gateway.metrics import REGISTRY
from gateway.smtp.expiry import NotACertificate, read_expiry
from gateway.smtp.settings import TlsSettings

EXPIRY = prometheus_client.Gauge(
    "mail2sms_smtp_certificate_expiry_seconds",
    "When the certificate in use runs out, as seconds since 1970; 0: there is none.",
    registry=REGISTRY,
)

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:ECDHE+AES:!aNULL:@SECLEVEL=2"
"""For TLS 1.2. The last without GCM, for Exchange on Windows Server 2012 R2, which has nothing better with RSA."""

LOOK_S = 10.0
WARN_BEFORE = timedelta(days=14)
_WARN_EVERY = timedelta(days=1)
_MAX_PEM_BYTES = 1_048_576

_Names = tuple[tuple[str, str], ...]
_State = tuple[tuple[int, int, int] | None, ...]

_log = structlog.get_logger()


class TlsUnusable(GatewayError):
    """The certificate cannot be used; the message says why, and names the file."""


def certificate_ends_at() -> datetime | None:
    """Return when the certificate in use runs out; None: there is none."""
    ends_at = REGISTRY.get_sample_value("mail2sms_smtp_certificate_expiry_seconds")
    return datetime.fromtimestamp(ends_at, UTC) if ends_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A certificate that works, ready for handshakes."""

    context: ssl.SSLContext
    expires_at: datetime


def load_certificate(settings: TlsSettings, now: datetime) -> Loaded:
    """Return what handshakes are done with. Blocks while files are read. Raises TlsUnusable."""
    expires_at = _read_expiry(settings.certificate)
    if expires_at <= now:
        raise TlsUnusable(f"{settings.certificate} has run out, on {_day(expires_at)}: renew it")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(settings.certificate, settings.key, password="")  # or OpenSSL asks for it
    except ssl.SSLError as error:
        raise TlsUnusable(_why_not(error, settings)) from error
    except OSError as error:
        raise TlsUnusable(f"{settings.key} cannot be read: {error.strerror}") from error
    if settings.client_ca is not None:
        _ask_for_client_certificates(context, settings.client_ca)
    return Loaded(context=context, expires_at=expires_at)


def find_client(connection: ssl.SSLObject | None) -> ClientCertificate | None:
    """Return what the client has proven to be in the handshake; None: it showed no certificate."""
    if connection is None:
        return None
    encoded, shown = connection.getpeercert(binary_form=True), connection.getpeercert()
    if not encoded or not shown:  # only what was verified is shown
        return None
    alternatives = cast("_Names", shown.get("subjectAltName", ()))
    names = [value for kind, value in alternatives if kind in {"DNS", "email"}]
    if not alternatives:  # RFC 6125 §6.4.4: the common name counts where there is nothing better
        subject = cast("tuple[_Names, ...]", shown.get("subject", ()))
        names = [value for part in subject for kind, value in part if kind == "commonName"]
    return ClientCertificate(
        fingerprint=sha256(encoded).hexdigest(), names=frozenset(name.lower() for name in names if name.isascii())
    )


class TlsKeeper:
    """Holds the certificate in use, and sees to it that it is the one on disk."""

    def __init__(self, settings: TlsSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._in_use: Loaded | None = None
        self._loaded_state: _State = ()
        self._seen_state: _State = ()
        self._warned_at: datetime | None = None

    @property
    def context(self) -> ssl.SSLContext | None:
        """What the next handshake is done with; None before `load`."""
        return None if self._in_use is None else self._in_use.context

    async def load(self) -> None:
        """The certificate on disk is in use. Raises TlsUnusable, and nothing has changed."""
        state = await asyncio.to_thread(self._look_at_files)
        self._loaded_state = self._seen_state = state  # also if it fails: one complaint for each change
        self._take(await asyncio.to_thread(load_certificate, self._settings, self._clock.now()))

    async def renew(self) -> None:
        """The certificate on disk is in use, or it cannot be and the log says why."""
        try:
            await self.load()
        except TlsUnusable as error:
            good_until = self._in_use and self._in_use.expires_at.isoformat()
            advice = "the old certificate stays in use; put the files right, they are looked at every few seconds"
            _log.error("certificate_unusable", problem=str(error), old_is_good_until=good_until, advice=advice)

    async def keep(self) -> None:
        """Look at the files, and at the calendar, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """A change that was there at the last look already is heeded; an end that is near is warned of."""
        state = await asyncio.to_thread(self._look_at_files)
        if state == self._seen_state and state != self._loaded_state:
            await self.renew()
        self._seen_state = state
        self._warn()

    def _take(self, loaded: Loaded) -> None:
        self._in_use, self._warned_at = loaded, None
        EXPIRY.set(loaded.expires_at.timestamp())
        _log.info("certificate_loaded", expires_at=loaded.expires_at.isoformat())
        self._warn()

    def _warn(self) -> None:
        if self._in_use is None:
            return
        now, expires_at = self._clock.now(), self._in_use.expires_at
        if expires_at - now > WARN_BEFORE or (self._warned_at is not None and now - self._warned_at < _WARN_EVERY):
            return
        self._warned_at = now
        advice = "renew the certificate: clients that check it will not send mail any more"
        _log.warning("certificate_expires", expires_at=expires_at.isoformat(), advice=advice)

    def _look_at_files(self) -> _State:
        settings = self._settings
        files = (settings.certificate, settings.key, settings.client_ca)
        return tuple(_state_of(file) for file in files if file is not None)


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read_expiry(file: Path) -> datetime:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise TlsUnusable(f"{file} cannot be read: {error.strerror}") from error
    try:
        return read_expiry(content)
    except NotACertificate as error:
        raise TlsUnusable(f"{file} {error}") from error


def _ask_for_client_certificates(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise TlsUnusable(f"{file} holds no certificates in PEM form") from error
    except OSError as error:
        raise TlsUnusable(f"{file} cannot be read: {error.strerror}") from error
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a client's own certificate in the file vouches for itself


def _why_not(error: ssl.SSLError, settings: TlsSettings) -> str:
    match error.reason:
        case "KEY_VALUES_MISMATCH":
            return f"{settings.key} is not the key of {settings.certificate}"
        case "EE_KEY_TOO_SMALL" | "CA_KEY_TOO_SMALL" | "CA_MD_TOO_WEAK":
            return f"{settings.certificate} is too weak (key or signature): have a new one issued"
        case _:
            return f"{settings.key} is not a private key in PEM form without a password"


def _day(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M UTC")
