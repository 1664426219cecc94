"""What every `[[providers]]` block can say, whatever its kind."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from gateway.settings import Name, Seconds, Settings

_CALLBACK_SECRET = re.compile(r"[A-Za-z0-9_-]{16,128}")


def _check_callback_secret(secret: SecretStr) -> SecretStr:
    if not _CALLBACK_SECRET.fullmatch(secret.get_secret_value()):
        raise ValueError("is part of an address that strangers may guess: write 16 to 128 letters, digits, - or _")
    return secret


CallbackSecret = Annotated[SecretStr, AfterValidator(_check_callback_secret)]
"""Last part of the address that a carrier calls back."""


class CarrierSettings(Settings):
    """What is common to all kinds of carrier."""

    name: Name = Field(description="Name of the carrier, in accounts, logs and addresses of callbacks.")
    timeout_s: Annotated[float, Field(gt=0, le=300)] = Field(
        default=30, description="Whole time of a call, in seconds; after it, it is unknown whether the SMS was sent."
    )
    width: int = Field(default=4, ge=1, le=64, description="Most calls at the same time.")
    rate: Annotated[float, Field(ge=0, le=10_000)] = Field(
        default=0, description="Most SMS a second, where the carrier sets a limit; 0: as fast as it goes."
    )
    ca_file: str | None = Field(
        default=None, description="Certificates (PEM) to trust instead of the system's, for this carrier alone."
    )
    callback_secret: CallbackSecret | None = Field(
        default=None, description="Last part of the address of its callbacks; absent: none are taken."
    )
    callback_secret_file: str | None = Field(
        default=None, description="File (or systemd credential) that holds it instead."
    )
    previous_callback_secret: CallbackSecret | None = Field(
        default=None, description="The one before, which is good too while the carrier is being told the new one."
    )
    previous_callback_secret_file: str | None = Field(
        default=None, description="File (or systemd credential) that holds it instead."
    )
    sync_optouts: bool = Field(
        default=False,
        description="Tell it of numbers that go on and off the STOP list, where it keeps a list of its own. "
        "That one holds for everybody who sends with the same key.",
    )
    low_balance: Annotated[float, Field(ge=0)] = Field(
        default=0, description="A warning when less is left there, in its own currency; 0: none."
    )
    balance_every_s: Seconds = Field(default=900, description="How often it is asked what is left, where it tells.")
