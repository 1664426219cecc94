"""Telephone numbers: read as submitted, kept as E.164, masked whenever printed (docs/protocol.md §5).

`Msisdn` and `mask` are what makes it safe to log: a number only ever appears whole where the code says `.e164`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers

_SEPARATORS = " \t\u00a0\u2007\u2009\u202f.()-\u2010\u2011\u2012\u2013\u2014\u2212"
_UNSEEN = "\u00ad\u200b\u200c\u200d\u200e\u202a\u202c\u202d\u2060\u2066\u2068\u2069\ufeff"
"""What comes along when a number is copied from contacts. Marks that turn the order of what is seen are not."""
_REMOVED = dict.fromkeys(map(ord, _SEPARATORS + _UNSEEN))
_LONGEST_SUBMITTED = 40
_LONGEST_COUNTRY_CODE = 3
_MASK = "*****"
_SHORTEST_MASKED_WITH_ENDS = 9


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Msisdn:
    """A number of the world's plan. Printing it, by whatever way, shows its first and its last three characters."""

    e164: str  # with the plus

    def __str__(self) -> str:
        return mask(self.e164)

    def __repr__(self) -> str:
        return f"Msisdn({mask(self.e164)})"

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """Not a number: code 7 (docs/protocol.md §5.1). `reason` is for the operator and holds no digit of it."""

    reason: str


def parse_number(tel: str, home_country: str = "FR") -> Msisdn | Malformed:
    """Return the number that `tel` stands for, seen from `home_country` (an ISO code).

    National is ten digits, the first a 0; international is `+33...`, `0033...`, or the eleven digits `33...`. Whether
    such a number is assigned is not asked: the protocol's own example 0701020304 is not (docs/protocol.md §5.3).
    """
    if len(tel) > _LONGEST_SUBMITTED:
        return Malformed(reason="too long for a number")
    compact = tel.strip().translate(_REMOVED)  # docs/protocol.md §5.1
    has_plus = compact.startswith("+")
    digits = compact[1:] if has_plus else compact
    if not (digits.isascii() and digits.isdigit()):  # isdigit alone takes ² and Arabic-Indic digits
        return Malformed(reason="characters that belong to no number" if digits else "no digits")
    home_code = _code_of_country(home_country)
    if has_plus:
        return _international(digits)
    if digits.startswith("00"):
        return _international(digits[2:])
    if len(digits) == 10 and digits.startswith("0"):
        return Msisdn(e164=f"+{home_code}{digits[1:]}")
    if len(digits) == 9 + len(home_code) and digits.startswith(home_code):  # docs/protocol.md §5.2
        return _international(digits)
    return Malformed(reason="neither ten digits nor an international number")


def country_of(number: Msisdn) -> str | None:
    """Return the ISO code of the country that `number` belongs to, by its prefix; None for services of no country."""
    countries = _countries_of_prefix(number.e164[: 1 + _LONGEST_COUNTRY_CODE])
    country = countries[0] if countries else None
    if len(countries) > 1:  # without a number of its own, that of the main one, which is the first
        country = phonenumbers.region_code_for_number(phonenumbers.parse(number.e164)) or country
    return country if country is not None and country.isalpha() and country != "ZZ" else None  # 001 is no country


@lru_cache(maxsize=256)  # the world has fewer
def _code_of_country(country: str) -> str:
    return str(phonenumbers.country_code_for_region(country))


@lru_cache(maxsize=1_000)  # every beginning there is
def _countries_of_prefix(prefix: str) -> Sequence[str]:
    """Return the countries that share the number's country code, the main one first. No code begins another."""
    codes = (int(prefix[1:end]) for end in range(2, _LONGEST_COUNTRY_CODE + 2))
    found = (phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code) for code in codes)
    return next(filter(None, found), ())


def mask(tel: str) -> str:
    """Return what may be printed of a number as submitted: its first and last characters, whatever it contains."""
    digits = "".join(character for character in tel[:_LONGEST_SUBMITTED] if character in "0123456789")
    if len(digits) < _SHORTEST_MASKED_WITH_ENDS:
        return _MASK
    head = f"+{digits[:2]}" if tel.lstrip().startswith("+") else digits[:2]
    return f"{head}{_MASK}{digits[-3:]}"


def _international(digits: str) -> Msisdn | Malformed:
    """Return the number of `digits`, a country code first. A national 0 after it, `+33 (0)6...`, is dropped."""
    try:
        parsed = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return Malformed(reason="no such country code, or too short or too long")
    if not phonenumbers.is_possible_number(parsed):
        return Malformed(reason="too short or too long for its country")
    e164: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return Msisdn(e164=e164)
