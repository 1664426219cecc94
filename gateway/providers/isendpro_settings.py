"""What a `[[providers]]` block that speaks iSendPro's language may say."""

from difflib import get_close_matches
from enum import Enum, unique
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.providers.base import Fate
from gateway.providers.settings import CarrierSettings
from gateway.providers.transport import AnyUrl, ServiceUrl

_ZONES = """\
Pacific/Midway America/Adak Etc/GMT+10 Pacific/Marquesas Pacific/Gambier America/Anchorage America/Ensenada
Etc/GMT+8 America/Los_Angeles America/Denver America/Chihuahua America/Dawson_Creek America/Belize America/Cancun
Chile/EasterIsland America/Chicago America/New_York America/Havana America/Bogota America/Caracas America/Santiago
America/La_Paz Atlantic/Stanley America/Campo_Grande America/Goose_Bay America/Glace_Bay America/St_Johns
America/Araguaina America/Montevideo America/Miquelon America/Godthab America/Argentina/Buenos_Aires
America/Sao_Paulo America/Noronha Atlantic/Cape_Verde Atlantic/Azores Europe/Belfast Europe/Dublin Europe/Lisbon
Europe/London Africa/Abidjan Europe/Amsterdam Europe/Belgrade Europe/Brussels Africa/Algiers Africa/Windhoek
Asia/Beirut Africa/Cairo Asia/Gaza Africa/Blantyre Asia/Jerusalem Europe/Minsk Asia/Damascus Europe/Moscow
Africa/Addis_Ababa Asia/Tehran Asia/Dubai Asia/Yerevan Asia/Kabul Asia/Yekaterinburg Asia/Tashkent Asia/Kolkata
Asia/Katmandu Asia/Dhaka Asia/Novosibirsk Asia/Rangoon Asia/Bangkok Asia/Krasnoyarsk Asia/Hong_Kong Asia/Irkutsk
Australia/Perth Australia/Eucla Asia/Tokyo Asia/Seoul Asia/Yakutsk Australia/Adelaide Australia/Darwin
Australia/Brisbane Australia/Hobart Asia/Vladivostok Australia/Lord_Howe Etc/GMT-11 Asia/Magadan Pacific/Norfolk
Asia/Anadyr Pacific/Auckland Etc/GMT-12 Pacific/Chatham Pacific/Tongatapu Pacific/Kiritimati
"""

GMT_ZONES = frozenset(_ZONES.split())
"""The carrier's own list, with its own spelling. Europe/Paris is not on it."""


def _check_gmt_zone(zone: str) -> str:
    if zone in GMT_ZONES:
        return zone
    near = get_close_matches(zone, sorted(GMT_ZONES), n=1)
    advice = f"did you mean {near[0]}?" if near else "Europe/Brussels has the hours of Paris"
    raise ValueError(f"is not one of the carrier's {len(GMT_ZONES)} zones: leave it out for Paris; {advice}")


GmtZone = Annotated[str, AfterValidator(_check_gmt_zone)]
"""One of the carrier's zones."""

FieldName = Annotated[str, Field(min_length=1, max_length=64)]
FieldNames = Annotated[tuple[FieldName, ...], Field(max_length=20)]
StatusWords = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=200)]


@unique
class Doubt(Enum):
    """How to read an answer of which it is not documented whether the carrier acted."""

    UNKNOWN = "unknown"
    REFUSED = "refused"


@unique
class Busy(Enum):
    """How to read an HTTP 503."""

    UNKNOWN = "unknown"
    NOT_TAKEN = "not_taken"


class IsendproDialect(CarrierSettings):
    """What everything that speaks iSendPro's language needs to know."""

    keyid: SecretStr | None = Field(
        default=None, description="Key of our account there; absent: the client's is passed on."
    )
    keyid_file: str | None = Field(default=None, description="File (or systemd credential) that holds the key instead.")
    batch_size: int = Field(
        default=50, ge=1, le=500, description="Most SMS in one call; this many become unknown if its answer is lost."
    )
    sandbox: bool = Field(
        default=False, description="Ask the carrier to check and answer, but to send and charge nothing."
    )
    on_999: Doubt = Field(
        default=Doubt.UNKNOWN, description='Code 999: "unknown" (may have been sent) or "refused" (was not).'
    )
    on_503: Busy = Field(
        default=Busy.UNKNOWN, description='HTTP 503: "unknown", or "not_taken" (was not sent, try again).'
    )
    gmt_zone: GmtZone | None = Field(
        default=None,
        description="Zone in which it is told when to send, one of its own 90; absent: Paris, and no zone is named.",
    )
    # Names and statuses of its callbacks are not documented; these are what is known and what is likely.
    callback_number: FieldNames = Field(
        default=("tel", "num", "msisdn", "phone"),
        description="Names that the field with the number may have in a callback.",
    )
    callback_status: FieldNames = Field(
        default=("statut", "status", "etat", "code"), description="The same of the status of an SMS."
    )
    callback_tracker: FieldNames = Field(
        default=("tracker", "ref", "id"), description="The same of our own mark, which it gives back."
    )
    callback_date: FieldNames = Field(
        default=("date", "date_reception", "date_ar", "timestamp"),
        description="The same of the date, which is Paris time.",
    )
    callback_text: FieldNames = Field(
        default=("message", "sms", "texte", "text", "reponse"), description="The same of the text of a reply."
    )
    status_delivered: StatusWords = Field(default=("0",), description="Statuses of a callback that mean: delivered.")
    status_undelivered: StatusWords = Field(
        default=(), description="Those that mean: not delivered, and never will be."
    )
    status_refused: StatusWords = Field(default=(), description="Those that mean: was never sent.")
    status_taken: StatusWords = Field(
        default=(), description="Those that mean: on its way. What is in none of the four lists says nothing."
    )

    @property
    def fates(self) -> dict[str, Fate]:
        """What each status means."""
        words = {
            Fate.DELIVERED: self.status_delivered,
            Fate.UNDELIVERED: self.status_undelivered,
            Fate.REFUSED: self.status_refused,
            Fate.TAKEN: self.status_taken,
        }
        return {word.casefold(): fate for fate, those in words.items() for word in those}

    @model_validator(mode="after")
    def _say_each_status_once(self) -> Self:
        listed = (*self.status_delivered, *self.status_undelivered, *self.status_refused, *self.status_taken)
        doubled = sorted({word for word in listed if [*map(str.casefold, listed)].count(word.casefold()) > 1})
        if doubled:
            raise ValueError(f"status {doubled[0]} stands twice in the lists status_...: it can mean one thing only")
        return self


class IsendproSettings(IsendproDialect):
    """A `[[providers]]` block of kind "isendpro"."""

    kind: Literal["isendpro"] = Field(default="isendpro", description="iSendPro, over its REST interface.")
    base_url: ServiceUrl = Field(
        default="https://apirest.isendpro.com/cgi-bin", description="Address of the interface; https."
    )


class SandboxSettings(IsendproDialect):
    """A `[[providers]]` block of kind "sandbox": the carrier in a box, which sends nothing."""

    kind: Literal["sandbox"] = Field(default="sandbox", description="The carrier in a box (`mail2sms sandbox`).")
    base_url: AnyUrl = Field(default="http://127.0.0.1:8026/cgi-bin", description="Address of the sandbox.")
    status_undelivered: StatusWords = Field(
        default=("21",), description="Those that mean: not delivered, and never will be."
    )
    status_taken: StatusWords = Field(default=("1",), description="Those that mean: on its way.")
