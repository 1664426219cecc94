"""What comes into the stage and what goes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from gateway.policy.sender import ClientCertificate
from gateway.protocol.envoi import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A mail whose DATA is complete, with what the session knows of its client."""

    content: bytes  # as on the wire after unstuffing, CRLF lines
    envelope_from: str
    peer: str  # address of the client
    listener: str
    networks: tuple[IPv4Network | IPv6Network, ...]  # the listener's trusted networks
    mode: Mode
    authenticated_account: str | None = None  # by SMTP AUTH
    certificate: ClientCertificate | None = None  # shown in the TLS handshake
    is_encrypted: bool = False  # it came over TLS
    facts: Mapping[str, str | int | bool | None] = field(default_factory=dict, compare=False)  # of the connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the client is told: `250`, `2.0.0`, one sentence."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"
