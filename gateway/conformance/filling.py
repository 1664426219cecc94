"""Names in double braces, in mails and expectations, replaced by what they are in this run.

| Name | Becomes |
| --- | --- |
| `id`, `id1` … `id9` | emailIds of this case: digits, new in every run |
| `ack`, `not` | report addresses of this case, new in every run |
| `key`, `domain`, `other_domain`, `sender`, `recipient` | as on the command line |
| `DOMAIN`, `RECIPIENT`, `recipient_domain` | in upper case; what follows its `@` |
| `future` | an instant 300 days ahead, as `date_envoi` has it |
| `70000*x` | the text after the asterisk so many times |

`{{base64}}…{{/base64}}` and `{{qp}}…{{/qp}}` stand around octets that travel in that transfer encoding.
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from gateway.clock import Clock
from gateway.conformance.case import Case, CorpusError, Outcome

_NAME = re.compile(r"\{\{(?:(?P<times>[0-9]{1,6})\*(?P<piece>[^{}]+)|(?P<name>[A-Za-z0-9_]+))\}\}")
_BLOCK = re.compile(rb"\{\{(base64|qp)\}\}(.*?)\{\{/\1\}\}", re.DOTALL)
_MESSAGE_ID = re.compile(rb"^Message-ID:[ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_AHEAD = timedelta(days=300)
_ENCODED_LINE_BYTES = 57  # makes 76 characters of base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """For whom the mails pass: an account of the gateway under test. `other_domain` belongs to another account."""

    key: str
    domain: str
    recipient: str
    sender: str
    other_domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail as it goes over the wire, before dots are stuffed."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    message_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledCase:
    """A case of this run. `alternatives` are those of the level that is played."""

    case: Case
    mails: tuple[Mail, ...]
    alternatives: tuple[Outcome, ...]
    unsaid: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """Fills in the names of one run. `run` is digits."""

    identity: Identity
    run: str
    clock: Clock

    def fill(self, case: Case, alternatives: tuple[Outcome, ...]) -> FilledCase:
        """Return the case with every name replaced. Raises CorpusError for a name that is none."""
        names = self._names(case)
        mails = tuple(
            self._fill_mail(case, content, case.senders[min(index, len(case.senders) - 1)], names)
            for index, content in enumerate(case.mails)
        )
        filled = tuple(
            Outcome.model_validate(_replace_everywhere(one.model_dump(include=_OUTCOME), names, case.name))
            for one in alternatives
        )
        unsaid = tuple(_replace(text, names, case.name) for text in case.unsaid)
        return FilledCase(case=case, mails=mails, alternatives=filled, unsaid=unsaid)

    def case_of(self, email_id: str, recipient: str) -> str | None:
        """Return the number of the case that a report is about; None: not of this run."""
        if email_id.startswith(self.run):
            return email_id[len(self.run) :][:3]
        local = recipient.partition("@")[0]
        _, _, tag = local.partition(f"-{self.run}-")
        return tag or None

    def _names(self, case: Case) -> Mapping[str, str]:
        identity, number = self.identity, case.number
        ids = {f"id{digit}": f"{self.run}{number}{digit}" for digit in range(1, 10)}
        return {
            **ids,
            "id": f"{self.run}{number}0",
            "ack": f"ack-{self.run}-{number}@{identity.domain}",
            "not": f"not-{self.run}-{number}@{identity.domain}",
            "key": identity.key,
            "domain": identity.domain,
            "DOMAIN": identity.domain.upper(),
            "other_domain": identity.other_domain or "",
            "sender": identity.sender,
            "recipient": identity.recipient,
            "RECIPIENT": identity.recipient.upper(),
            "recipient_domain": identity.recipient.rpartition("@")[2],
            "future": f"{self.clock.now() + _AHEAD:%Y-%m-%d %H:%M}",
        }

    def _fill_mail(self, case: Case, template: bytes, sender: str, names: Mapping[str, str]) -> Mail:
        # Any octet has its character in Latin-1, and names and what they become are ASCII.
        content = _replace(template.decode("latin-1"), names, case.name).encode("latin-1")
        content = _BLOCK.sub(_encode, content)
        if not case.is_exact:
            content = to_wire(content)
        header_end = _HEADER_END.search(content)
        found = _MESSAGE_ID.search(content, 0, header_end.start() if header_end else 0)
        return Mail(
            sender=_replace(sender, names, case.name),
            recipients=tuple(_replace(one, names, case.name) for one in case.recipients),
            content=content,
            message_id=found[1].decode("latin-1") if found else None,
        )


_OUTCOME = set(Outcome.model_fields)


def to_wire(mail: bytes) -> bytes:
    """Return the mail with CRLF line ends, whatever the file has."""
    return mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _replace(text: str, names: Mapping[str, str], where: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found["times"]:
            return found["piece"] * int(found["times"])
        if found["name"] in {"base64", "qp"}:
            return found[0]
        if found["name"] not in names:
            raise CorpusError(f"{where}: {{{{{found['name']}}}}} is not a name")
        return names[found["name"]]

    return _NAME.sub(value, text)


def _replace_everywhere(value: object, names: Mapping[str, str], where: str) -> object:
    match value:
        case str():
            return _replace(value, names, where)
        case dict():
            return {key: _replace_everywhere(one, names, where) for key, one in value.items()}
        case list() | tuple():
            return [_replace_everywhere(one, names, where) for one in value]
        case _:
            return value


def _encode(block: re.Match[bytes]) -> bytes:
    content = to_wire(block[2])
    if block[1] == b"qp":
        return binascii.b2a_qp(content, istext=True)
    starts = range(0, len(content), _ENCODED_LINE_BYTES)
    return b"".join(binascii.b2a_base64(content[start : start + _ENCODED_LINE_BYTES]) for start in starts)
