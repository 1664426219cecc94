"""The certificate: whether it can be used, whether clients believe it, until when, and whether it is served.

Clients are not guessed at: a handshake is made in memory, with the certificate on one side and what this machine trusts
on the other.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast

from gateway.daemon.building import own_hostname
from gateway.doctor.dialogue import Encounter
from gateway.doctor.findings import Finding, Says, Section
from gateway.doctor.patience import all_in_thread, in_thread
from gateway.doctor.subject import Subject
from gateway.smtp.entrance import find_entrances
from gateway.smtp.expiry import read_expiry
from gateway.smtp.settings import TlsSettings
from gateway.smtp.tls import TlsUnusable, load_certificate

_says = Says(Section.TLS)

WARN_BEFORE = timedelta(days=30)
_CREDENTIALS = Path("/run/credentials")
"""Where systemd hands files over, as they are when a service starts."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SELF_SIGNED = frozenset({18, 19})  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, ..._SELF_SIGNED_CERT_IN_CHAIN
_NO_ISSUER = frozenset({2, 20, 21})  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT(_LOCALLY), ..._VERIFY_LEAF_SIGNATURE
_WRONG_NAME = 62  # X509_V_ERR_HOSTNAME_MISMATCH


async def examine(subject: Subject) -> AsyncIterator[Finding]:
    """Yield what is to be said of the files; what is served is `compare_served`'s."""
    settings = subject.config.smtp.starttls
    if settings is None:
        yield _without(subject)
        return
    for finding in await all_in_thread(partial(_look_at_files, subject, settings)):
        yield finding


async def compare_served(subject: Subject, where: str, met: Encounter) -> AsyncIterator[Finding]:
    """Yield whether the certificate that was shown there is the one of the file."""
    settings = subject.config.smtp.starttls
    if settings is None or met.certificate is None:
        return
    try:
        chain = await in_thread(partial(_read_chain, settings.certificate))
        expires_at = read_expiry(ssl.DER_cert_to_PEM_cert(met.certificate).encode())
    except (OSError, ValueError):
        return  # `examine` says so
    if chain[0] == met.certificate:
        yield _says.ok(f"{where}: serves the certificate of the file, over {met.version}")
        return
    yield _says.warning(
        f"{where}: serves another certificate than that of the file, good until {_day(expires_at)}",
        "systemctl reload mail2sms (SIGHUP); if that does not help, its log says why: certificate_unusable",
    )


def _without(subject: Subject) -> Finding:
    if all(_is_local(listen) for entrance in find_entrances(subject.config.smtp) for listen in entrance.listen):
        return _says.ok("no certificate, and none is needed: only this machine can connect")
    return _says.note(
        "no certificate: keys and texts of mails travel in clear, and nobody can give a password from elsewhere",
        "write [smtp.starttls] with a certificate and its key, unless the networks in between are yours alone",
    )


def _look_at_files(subject: Subject, settings: TlsSettings) -> Iterator[Finding]:
    now, hostname = subject.clock.now(), own_hostname(subject.config)
    try:
        loaded = load_certificate(settings, now)
    except TlsUnusable as error:
        yield _says.failure(f"the certificate cannot be used: {error}", _mending(settings, now))
        return
    left = loaded.expires_at - now
    if left < WARN_BEFORE:
        yield _says.warning(
            f"the certificate runs out in {left.days} days, on {_day(loaded.expires_at)}", advise_renewal(settings)
        )
    else:
        yield _says.ok(f"certificate and key fit; good until {_day(loaded.expires_at)}; TLS 1.2 or later alone")
    yield from _look_at_trust(loaded.context, settings, hostname)
    if settings.client_ca is not None:
        yield from _look_at_client_ca(settings.client_ca, now)


def _mending(settings: TlsSettings, now: datetime) -> str:
    """Return what to do about files that cannot be used."""
    try:
        has_run_out = read_expiry(settings.certificate.read_bytes()) <= now
    except (OSError, ValueError):
        has_run_out = False
    if has_run_out:
        return f"{advise_renewal(settings)}; until then do not stop the gateway, for serve would not start"
    files = f"certificate = {settings.certificate}, key = {settings.key}"
    return f"put the files of [smtp.starttls] right: {files}; serve would not start"


def advise_renewal(settings: TlsSettings) -> str:
    """Return how to get a new certificate, and how the gateway gets it."""
    taken_up = "a gateway at work takes it up within seconds, or at once by systemctl reload mail2sms"
    if settings.certificate.is_relative_to(_CREDENTIALS):
        taken_up = "then systemctl restart mail2sms, for a credential stays as it was at the start"
    return (
        f"write a new one to {settings.certificate} (certificate of [smtp.starttls]) and its key to {settings.key} "
        f"(certbot: certbot renew), and see why nothing did so by itself; {taken_up}"
    )


def _look_at_trust(server: ssl.SSLContext, settings: TlsSettings, hostname: str) -> Iterator[Finding]:
    names = _names_in(server, settings)
    try:
        _shake_hands(server, _client(None), hostname)
    except ssl.SSLCertVerificationError as error:
        name_error = _name_error(server, settings, hostname)
        if name_error:
            yield _says.warning(
                f'the certificate is for {", ".join(names) or "no host"}, not for "{hostname}" (hostname of [smtp])',
                "have one issued for this name: clients that check it refuse to send",
            )
        if error.verify_code in _SELF_SIGNED:
            yield _says.note(
                "the certificate is signed by itself, or by an authority of your own",
                "clients that check certificates must be given it, or its authority; others do not notice",
            )
        elif error.verify_code in _NO_ISSUER:
            yield _says.warning(
                f"nobody this machine trusts vouches for the certificate ({_pieces(settings.certificate)} in the file)",
                "append the intermediate certificates (fullchain.pem); with an authority of your own, clients need it",
            )
        elif error.verify_code != _WRONG_NAME:
            yield _says.warning(
                f"clients that check certificates refuse this one: {error.verify_message}", "have a new one issued"
            )
    except ssl.SSLError as error:
        yield _says.failure(f"no TLS handshake succeeds: {error.reason}", "have a new certificate issued")
    else:
        yield _says.ok(f"clients that trust what this machine trusts accept it for {hostname}")


def _look_at_client_ca(file: Path, now: datetime) -> Iterator[Finding]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=file)
        expiries = [read_expiry(ssl.DER_cert_to_PEM_cert(one).encode()) for one in _read_chain(file)]
    except (OSError, ValueError):
        yield _says.failure(f"{file} cannot be read", "write certificates in PEM form there, readable by the service")
        return
    ended = [one for one in expiries if one <= now]
    if ended:
        yield _says.warning(
            f"{len(ended)} of {len(expiries)} certificates that vouch for clients ({file.name}) have run out",
            "replace them: clients that rely on these are not believed any more",
        )
    else:
        yield _says.ok(f"clients' certificates are vouched for by {len(expiries)} in {file.name}")


def _client(trusted: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted)
    if trusted is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate vouches for itself
    return context


def _name_error(server: ssl.SSLContext, settings: TlsSettings, hostname: str) -> bool:
    """Tell whether the name is wrong, whoever vouches for the certificate."""
    try:
        _shake_hands(server, _client(settings.certificate), hostname)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code == _WRONG_NAME
    except ssl.SSLError:
        return False
    return False


def _names_in(server: ssl.SSLContext, settings: TlsSettings) -> list[str]:
    client = _client(settings.certificate)
    client.check_hostname = False
    try:
        shown = _shake_hands(server, client, None).getpeercert() or {}
    except ssl.SSLError:
        return []
    alternatives = cast("tuple[tuple[str, str], ...]", shown.get("subjectAltName", ()))
    return [value for _kind, value in alternatives]


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, hostname: str | None) -> ssl.SSLObject:
    """Return the client's side of a handshake in memory. Raises ssl.SSLError for what a real client would."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname=hostname)
    is_done = False
    for _ in range(10):
        for side in (ours, theirs):
            try:
                side.do_handshake()
                is_done = is_done or side is ours
            except ssl.SSLWantReadError:
                continue
        if is_done:
            return ours
    raise ssl.SSLError("no end")


def _read_chain(file: Path) -> list[bytes]:
    """Return the certificates of a file, DER. Raises OSError, ValueError."""
    text = file.read_text("latin-1")
    found = []
    for piece in text.split(_BEGIN)[1:]:
        inside, end, _ = piece.partition(_END)
        if not end:
            raise ValueError("cut off")
        found.append(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{inside}{_END}"))
    if not found:
        raise ValueError("no certificate")
    return found


def _pieces(file: Path) -> str:
    number = len(_read_chain(file))
    return "one certificate" if number == 1 else f"{number} certificates"


def _is_local(listen: str) -> bool:
    return listen.startswith(("127.", "[::1]", "localhost:"))


def _day(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d")
