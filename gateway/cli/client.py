"""Who a mail's client is said to be, for commands that take a mail as if it had come over SMTP."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.mail_file import find_sender, receive
from gateway.config import Config
from gateway.intake import ClientCertificate, Reply, Submission
from gateway.smtp import replies
from gateway.smtp.certificate_file import read_client_certificate
from gateway.smtp.entrance import Entrance, find_entrances
from gateway.smtp.expiry import NotACertificate
from gateway.smtp.peer import client_address
from gateway.smtp.settings import Tls

PeerOption = Annotated[str, typer.Option(help="Address of the client it is said to come from.")]
ListenerOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The listener it comes in at; unless given, as `[smtp]` says.")
]
UserOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="A user whose name and password the client has given (AUTH).")
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--certificate", metavar="FILE", help="The client's certificate, as PEM; taken as vouched for."),
]
TlsOption = Annotated[bool, typer.Option("--tls", help="It comes over TLS; with --certificate it always does.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the command line says of the client; each of it is an option."""

    peer: PeerOption = "127.0.0.1"
    listener: ListenerOption = None
    user: UserOption = None
    certificate: CertificateOption = None
    is_encrypted: TlsOption = False


def bring(mail: bytes, sender: str | None, said: Said, settings: Config, *, default: str) -> Submission | Reply:
    """Return the mail of a file as such a client brings it, or the reply to it; `sender` None: that of its From:."""
    content = receive(mail, settings.smtp)
    if isinstance(content, Reply):
        return content
    return compose(content, find_sender(content) if sender is None else sender, said, settings, default=default)


def compose(content: bytes, envelope_from: str, said: Said, settings: Config, *, default: str) -> Submission | Reply:
    """Return the mail as such a client brings it, or the reply that it would have got before.

    `default` is the name of the listener unless one is said. What cannot be is exit status 2, with a sentence.
    """
    peer = read_peer(said.peer)
    entrance = None if said.listener is None else _find_entrance(said.listener, settings)
    certificate = None if said.certificate is None else _read_certificate(said.certificate)
    has_tls_first = entrance is not None and entrance.tls is Tls.IMPLICIT
    is_encrypted = said.is_encrypted or certificate is not None or has_tls_first
    refusal = None if entrance is None else _why_not(entrance, peer, is_encrypted=is_encrypted)
    if refusal is not None:
        return refusal
    _check_tls(settings, entrance, is_encrypted=is_encrypted)
    return Submission(
        content=content,
        envelope_from=envelope_from,
        peer=peer,
        listener=default if entrance is None else entrance.name,
        networks=settings.smtp.networks if entrance is None else entrance.networks,
        mode=settings.smtp.mode if entrance is None else entrance.mode,
        authenticated_account=None
        if said.user is None
        else _find_account(said.user, settings, entrance, peer, is_encrypted=is_encrypted),
        certificate=certificate,
        is_encrypted=is_encrypted,
    )


def read_peer(peer: str) -> str:
    """Return the address as a listener would write it."""
    try:
        return str(client_address(str(ip_address(peer))))
    except ValueError:
        raise typer.BadParameter(f"{peer} is not an address", param_hint="--peer") from None


def _find_entrance(name: str, settings: Config) -> Entrance:
    entrances = {entrance.name: entrance for entrance in find_entrances(settings.smtp)}
    if name not in entrances:
        raise typer.BadParameter(f"there is no listener {name}, but: {', '.join(entrances)}", param_hint="--listener")
    return entrances[name]


def _why_not(entrance: Entrance, peer: str, *, is_encrypted: bool) -> Reply | None:
    """Return what such a client hears of the listener before it can send anything."""
    if not entrance.lets_in(ip_address(peer)):
        return replies.NOT_FOR_YOU
    return replies.TLS_FIRST if entrance.requires_tls and not is_encrypted else None


def _check_tls(settings: Config, entrance: Entrance | None, *, is_encrypted: bool) -> None:
    if is_encrypted and (settings.smtp.starttls is None or (entrance is not None and entrance.tls is Tls.NONE)):
        raise typer.BadParameter("there is no TLS there", param_hint="--tls")


def _find_account(name: str, settings: Config, entrance: Entrance | None, peer: str, *, is_encrypted: bool) -> str:
    """Return the account of the user, who could have authenticated."""
    users = {user.name: user for user in settings.users}
    if name not in users:
        raise typer.BadParameter(f"there is no user {name}, but: {', '.join(users) or 'none'}", param_hint="--user")
    account = users[name].account
    if account is None or users[name].password_hash is None:
        raise typer.BadParameter(f"user {name} has no account or no password: AUTH fails", param_hint="--user")
    is_offered = entrance is None or entrance.offers_auth
    if not is_offered or not (is_encrypted or ip_address(peer).is_loopback):
        why = "takes passwords over TLS alone: add --tls" if is_offered else "does not offer AUTH"
        raise typer.BadParameter(f"the listener {why}", param_hint="--user")
    return account


def _read_certificate(file: Path) -> ClientCertificate:
    try:
        return read_client_certificate(file.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="--certificate") from None
    except NotACertificate as error:
        raise typer.BadParameter(f"{file} {error}", param_hint="--certificate") from None
