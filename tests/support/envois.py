"""Envois for tests: the first example of the source, with whatever a test needs changed."""

from dataclasses import replace

from gateway.protocol.envoi import Envoi, Recipient
from tests.support.accounts import KEYID

_FIRST_EXAMPLE = Envoi(
    keyid=KEYID,
    email_id="1548",
    email_ack="ack@masociete.com",
    email_not="not@masociete.com",
    emetteur=None,
    tracker=None,
    smslong=None,
    nostop=False,
    ucs2=False,
    date_envoi=None,
    recipients=(Recipient(position=1, tel="0601020304", text="Salut ca va ?"),),
    fault=None,
    notes=(),
)


def make_envoi(*tels: str, text: str | None = "Salut ca va ?", **elements: object) -> Envoi:
    """Return an envoi to these numbers, or to the one of the example; `elements` replace its other elements."""
    recipients = tuple(
        Recipient(position=position, tel=tel, text=text)
        for position, tel in enumerate(tels or ("0601020304",), start=1)
    )
    return replace(_FIRST_EXAMPLE, **{"recipients": recipients, **elements})  # type: ignore[arg-type]
