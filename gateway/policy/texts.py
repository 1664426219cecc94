"""From the text of a mail to the text of an SMS (docs/protocol.md §6): line breaks, alphabet, length, STOP mention.

What a carrier makes of a text (how many parts it takes, what its STOP mention costs) is data, one `TextProfile` each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.text import smspartner
from gateway.text.gsm import count_parts, cut_to_parts, is_gsm, transliterate

_LINE_BREAK = "Ö"
_LINE_BREAK_IN_TWO = "O\u0308"  # as some systems write it: the letter, then its dots
_UNKNOWN = "?"
_SHOWN_CHANGES = 12
_UNITS_OF_ONE = 160
_FEWEST_PARTS_READ = 8  # so that what a text needs is said exactly up to here


@dataclass(frozen=True, slots=True, kw_only=True)
class TextProfile:
    """What a carrier does with texts."""

    max_parts: int
    stop_units: int  # what the STOP mention takes from a commercial text
    stop_mention: str = ""  # what the gateway adds, with the blank before it; empty: the carrier adds its own
    line_break_units: int = 1  # what a line break takes there
    replaced: Mapping[str, str] = field(default_factory=dict)  # characters of the alphabet, and what it sends instead


_ISENDPRO = TextProfile(max_parts=6, stop_units=160 - 141)  # the mail document: 141 of 160 are left

TEXT_PROFILES: Mapping[str, TextProfile] = MappingProxyType(
    {
        "isendpro": _ISENDPRO,
        "smspartner": TextProfile(
            max_parts=10,
            stop_units=_ISENDPRO.stop_units,  # its mention's length is not published
            line_break_units=2,
            replaced=smspartner.REPLACED,
        ),
        "sandbox": _ISENDPRO,
    }
)
"""By kind of provider, where the kind alone says it."""


def described_profile(*, max_parts: int, stop_mention: str) -> TextProfile:
    """Return the profile of a carrier that the configuration describes; no mention: the carrier adds its own."""
    if not stop_mention:
        return TextProfile(max_parts=max_parts, stop_units=_ISENDPRO.stop_units)
    mention = f" {transliterate(stop_mention).text}"
    return TextProfile(max_parts=max_parts, stop_units=count_parts(mention).units, stop_mention=mention)


def narrowest_profile(profiles: Iterable[TextProfile]) -> TextProfile:
    """Return what holds for whichever of the carriers takes the SMS in the end; none at all: iSendPro's."""
    known = tuple(profiles) or (_ISENDPRO,)
    return TextProfile(
        max_parts=min(profile.max_parts for profile in known),
        stop_units=max(profile.stop_units for profile in known),
        stop_mention=max(profile.stop_mention for profile in known),  # any, if one needs it: twice rather than never
        line_break_units=max(profile.line_break_units for profile in known),
        replaced=_replaced_by_all(known),
    )


def _replaced_by_all(profiles: Sequence[TextProfile]) -> Mapping[str, str]:
    """Return what happens to a text whoever takes it: what only some replace, only those replace."""
    first, *others = (profile.replaced for profile in profiles)
    return {old: new for old, new in first.items() if all(other.get(old) == new for other in others)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """What the account and the envoi ask of every text."""

    profile: TextProfile
    max_parts: int  # at most the profile's
    may_cut: bool
    wants_ucs2: bool
    carries_stop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A text as it goes to the carrier. `notes` are for the operator: characters at most, never texts."""

    text: str
    parts: int
    ucs2: bool
    notes: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()  # each character that was replaced, and what by


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsendable:
    """A text that cannot be sent: code 999 (docs/protocol.md §3, §6.4)."""

    reason: str


def prepare_text(submitted: str | None, rules: TextRules) -> Prepared | Unsendable:
    """Return the final text, or why there is none."""
    text = (submitted or "").replace(_LINE_BREAK_IN_TWO, _LINE_BREAK)
    notes: list[str] = []
    if breaks := text.count(_LINE_BREAK):
        text = text.replace(_LINE_BREAK, "\n")  # docs/protocol.md §6.1
        notes.append(f"line breaks made of {_LINE_BREAK}: {breaks}")
    ucs2 = rules.wants_ucs2 and not is_gsm(text)  # docs/protocol.md §6.3
    text, changes, is_all = _convert(text, ucs2, rules)
    notes += _describe_changes(changes)
    if not text.strip():
        return Unsendable(reason="no text")
    reserve = _reserve(text, rules)
    parts = count_parts(text, ucs2, reserve).parts
    if parts > rules.max_parts:  # docs/protocol.md §6.4
        needed = f"{parts} parts" if is_all else f"at least {parts} parts"
        if not rules.may_cut:
            return Unsendable(reason=f"the text needs {needed}, {rules.max_parts} allowed")
        notes.append(f"text cut from {needed} to {rules.max_parts}")
        text = cut_to_parts(text, rules.max_parts, ucs2, reserve)
        ucs2 = ucs2 and not is_gsm(text)  # what asked for it may just have been cut off
        reserve = _reserve(text, rules)
        parts = count_parts(text, ucs2, reserve).parts
    if rules.carries_stop:
        text += rules.profile.stop_mention
    return Prepared(text=text, parts=parts, ucs2=ucs2, notes=tuple(notes), changes=changes)


def _reserve(text: str, rules: TextRules) -> int:
    """Return what is added to the text: the STOP mention (docs/protocol.md §6.5), and line breaks that take more."""
    mention = rules.profile.stop_units if rules.carries_stop else 0
    return mention + text.count("\n") * (rules.profile.line_break_units - 1)


def _convert(text: str, ucs2: bool, rules: TextRules) -> tuple[str, tuple[tuple[str, str], ...], bool]:
    """Return the text as it goes out, what was replaced in it, and whether it is all of it.

    Of a text that is far too long only a beginning is looked at, one that is still too long by more than a part: 500
    texts of 10,000 characters would take seconds.
    """
    beginning = text[: _UNITS_OF_ONE * max(_FEWEST_PARTS_READ, rules.max_parts + 3)]
    if len(beginning) < len(text):
        outgoing, changes = _transliterate(beginning, ucs2, rules.profile.replaced)
        if count_parts(outgoing, ucs2).parts > rules.max_parts + 1:
            return outgoing, changes, False
    return *_transliterate(text, ucs2, rules.profile.replaced), True


def _transliterate(text: str, ucs2: bool, replaced: Mapping[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the text within the alphabet and then, where there is one, within the carrier's narrower one."""
    if ucs2:
        return text, ()
    transliteration = transliterate(text)
    text, changes = transliteration.text, dict(transliteration.changes)
    narrowed = [old for old in dict.fromkeys(text) if old in replaced] if replaced else []
    for old in narrowed:
        text = text.replace(old, replaced[old])  # what comes instead is not replaced again: it is in no key
        changes.setdefault(old, replaced[old])
    return text, tuple(changes.items())


def _describe_changes(changes: tuple[tuple[str, str], ...]) -> list[str]:
    lost = [old for old, new in changes if new == _UNKNOWN]
    replaced = [f"{old}→{new}" for old, new in changes if new != _UNKNOWN]
    notes = []
    if replaced:
        notes.append(f"transliterated: {_list_some(replaced)}")
    if lost:
        notes.append(f"sent as {_UNKNOWN}, without counterpart in the GSM alphabet: {_list_some(lost)}")
    return notes


def _list_some(items: list[str]) -> str:
    shown = " ".join(item if item.isprintable() else ascii(item)[1:-1] for item in items[:_SHOWN_CHANGES])
    return f"{shown} and {len(items) - _SHOWN_CHANGES} more" if len(items) > _SHOWN_CHANGES else shown
