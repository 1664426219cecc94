"""The corpus: one folder per case, `NNN-name`, with `case.toml` and the mails `01.eml`, `02.eml`.

`case.toml` says what the case shows and what must come back (docs/conformance.md). Mails and expectations hold names in
double braces that `filling` replaces in each run.
"""

import re
import tomllib
from enum import Enum, unique
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.errors import GatewayError

CORPUS = Path(__file__).parent / "corpus"
"""The corpus that comes with the kit."""

_FOLDER = re.compile(r"([0-9]{3})-[a-z0-9-]+")
_SECTION = r"^\d+\.\d+$"
_E164 = r"^\+[0-9]{8,15}$"


class CorpusError(GatewayError):
    """A case cannot be read, or says something that makes no sense."""


@unique
class Level(Enum):
    """How much is asked of the gateway."""

    STRICT = "strict"  # a tolerance may be granted or refused, but only as documented
    LENIENT = "lenient"  # every tolerance is granted (docs/protocol.md §0.1)


class _Table(BaseModel):
    """A table of `case.toml`. Texts are kept to the last blank."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ExpectedSms(_Table):
    """An SMS at the carrier, or one to each number up to `through`."""

    number: Annotated[str, Field(pattern=_E164)]
    through: Annotated[str, Field(pattern=_E164)] | None = None
    text: str
    originator: str | None = None
    ucs2: bool | None = None  # None: not looked at

    @property
    def numbers(self) -> tuple[str, ...]:
        """Every number, E.164."""
        return _count_through(self.number, self.through)


class Answer(_Table):
    """What a Not says of one number, or of each up to `through`."""

    code: int
    tel: str
    through: str | None = None

    @property
    def tels(self) -> tuple[str, ...]:
        """Every number, as submitted."""
        return _count_through(self.tel, self.through)


class ExpectedAck(_Table):
    """An Ack (docs/protocol.md §8.1)."""

    id: str = "{{id}}"
    code: Literal[0, 1, 2]
    to: str = "{{ack}}"
    mail: int = 1  # the mail it answers, from 1; 0: any


class ExpectedNot(_Table):
    """A Not (docs/protocol.md §8.2)."""

    id: str = "{{id}}"
    answers: Annotated[tuple[Answer, ...], Field(min_length=1)]
    to: str = "{{not}}"
    mail: int = 1


class Outcome(_Table):
    """What must come back, and nothing else."""

    replies: Annotated[tuple[str, ...], Field(min_length=1)]  # per mail, how its reply begins
    says: tuple[str, ...] = ()  # stands somewhere in the last reply
    sms: tuple[ExpectedSms, ...] = ()  # in any order
    acks: tuple[ExpectedAck, ...] = ()
    nots: tuple[ExpectedNot, ...] = ()


class _Description(Outcome):
    """The whole of `case.toml`."""

    about: Annotated[str, Field(min_length=1, max_length=160)]
    sections: Annotated[tuple[Annotated[str, Field(pattern=_SECTION)], ...], Field(min_length=1)]
    level: Level = Level.STRICT
    strict: Outcome | None = None
    needs: tuple[Literal["sandbox", "other-domain"], ...] = ()
    is_exact: bool = False  # the mails are sent to the octet; otherwise every line end becomes CRLF
    is_together: bool = False  # the mails are sent at the same instant
    unsaid: tuple[str, ...] = ()  # stands in no reply
    senders: tuple[str, ...] = ("{{sender}}",)  # envelope, per mail; the last one for all further mails
    recipients: Annotated[tuple[str, ...], Field(min_length=1)] = ("{{recipient}}",)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.level is Level.LENIENT) != (self.strict is not None):
            raise ValueError("a tolerance (level = lenient), and nothing else, says in [strict] how it is refused")
        return self


class Case(_Description):
    """One case with its mails, names not yet filled in."""

    name: str
    mails: tuple[bytes, ...]

    @property
    def number(self) -> str:
        """The three digits its name begins with: part of its emailIds and numbers."""
        return self.name[:3]

    def alternatives(self, level: Level) -> tuple[Outcome, ...]:
        """Return what may come back: the outcome itself, and on level STRICT the refusal of a tolerance, too."""
        return (self, self.strict) if level is Level.STRICT and self.strict is not None else (self,)


def load_case(folder: Path) -> Case:
    """Read one folder; raise CorpusError, naming it, when it is no case."""
    if not _FOLDER.fullmatch(folder.name):
        raise CorpusError(f"{folder}: a case is called by three digits and a name, as 123-some-name")
    try:
        content = tomllib.loads((folder / "case.toml").read_text("utf-8"))
        mails = tuple(file.read_bytes() for file in sorted(folder.glob("[0-9][0-9].eml")))
        case = Case.model_validate({**content, "name": folder.name, "mails": mails})
    except (OSError, ValueError) as error:
        raise CorpusError(f"{folder / 'case.toml'}: {error}") from error
    for outcome in case.alternatives(Level.STRICT):
        if len(outcome.replies) != len(mails):
            raise CorpusError(f"{folder}: {len(mails)} mails, {len(outcome.replies)} replies")
    return case


def load_corpus(root: Path = CORPUS) -> tuple[Case, ...]:
    """Read every case below `root`, in order of name. Raises CorpusError."""
    cases = tuple(load_case(folder) for folder in sorted(root.iterdir()) if (folder / "case.toml").is_file())
    if len({case.number for case in cases}) < len(cases):
        raise CorpusError(f"{root}: two cases have the same number")
    return cases


def _count_through(first: str, last: str | None) -> tuple[str, ...]:
    if last is None:
        return (first,)
    head = first[: len(first) - len(first.lstrip("+0"))]
    width = len(first) - len(head)
    return tuple(f"{head}{number:0{width}}" for number in range(int(first), int(last) + 1))
