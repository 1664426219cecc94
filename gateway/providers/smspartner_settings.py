"""What a `[[providers]]` block of kind "smspartner" can say."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from gateway.providers.numbers import e164
from gateway.providers.settings import CarrierSettings
from gateway.providers.transport import ServiceUrl


def _read_long_number(number: str) -> str:
    found = e164(number)
    if found is None:
        raise ValueError("is no number: write it with its country code, such as 33755500011")
    return found.removeprefix("+")


class SmsPartnerSettings(CarrierSettings):
    """A `[[providers]]` block of kind "smspartner"."""

    kind: Literal["smspartner"] = Field(default="smspartner", description="SMS Partner, over its REST interface.")
    base_url: ServiceUrl = Field(default="https://api.smspartner.fr/v1", description="Address of the interface; https.")
    api_key: SecretStr | None = Field(default=None, min_length=1, description="Key of our account there.")
    api_key_file: str | None = Field(
        default=None, description="File (or systemd credential) that holds the key instead."
    )
    rate: Annotated[float, Field(ge=0, le=10_000)] = Field(
        default=5,
        description="Most SMS a second; no limit is published, so a modest one is kept. 0: as fast as it goes.",
    )
    long_number: Annotated[str, AfterValidator(_read_long_number)] | None = Field(
        default=None,
        description="Rented number that SMS come from, such as 33755500011: one SMS a call, through vn/send. "
        "Absent: send and bulk-send, from the sender's name or a short code.",
    )
    batch_size: int = Field(
        default=50,
        ge=1,
        le=500,
        description="Most SMS in one call; this many become unknown if its answer is lost. With 1 each can be looked "
        "for by its tag then. Not with long_number.",
    )
    bulk_callbacks: bool = Field(
        default=False,
        description="Name the address of callbacks in bulk-send too, where it is not documented to be taken. Without "
        "it, receipts of different texts come by look-ups, or to the address set in the account there.",
    )
    sandbox: bool = Field(
        default=False, description="Ask the carrier to check and answer, but to send and charge nothing."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.api_key is None and self.api_key_file is None:
            raise ValueError("a key is missing: write api_key_file, or api_key")
        if self.long_number is not None and "batch_size" in self.model_fields_set and self.batch_size > 1:
            raise ValueError(
                "batch_size has no effect with long_number, which takes one SMS a call: remove one of them"
            )
        return self
