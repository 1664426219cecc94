"""Numbers as carriers write them, in the one form that ours have."""

import re

_SEPARATORS = re.compile(r"[\s.()\u00a0-]")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST = 40


def e164(number: object) -> str | None:
    """Return the number as E.164: `0612340001`, `33612340001`, `+33 6 12...` and 33612340001 are one and the same.

    None if it is no number. Ten digits that begin with 0 are French, as everything that carriers of France write so.
    """
    if isinstance(number, bool) or not isinstance(number, str | int):
        return None
    text = str(number)
    if len(text) > _LONGEST:
        return None
    digits = _SEPARATORS.sub("", text)
    if digits.startswith("00"):
        digits = f"+{digits[2:]}"
    elif len(digits) == 10 and digits.startswith("0"):
        digits = f"+33{digits[1:]}"
    elif not digits.startswith("+"):
        digits = f"+{digits}"
    return digits if _E164.fullmatch(digits) else None


def national(msisdn: str) -> str:
    """Return how a number (E.164) is dialled in France: `0612340001`; abroad 00 and the country's code."""
    return f"0{msisdn[3:]}" if msisdn.startswith("+33") else f"00{msisdn[1:]}"
