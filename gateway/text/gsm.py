"""The GSM 03.38 alphabet: what a text costs, where it is cut, what stands in for the rest (docs/protocol.md §6).

Every function speaks of the text *as it goes out*: without `ucs2`, a character outside the alphabet is first replaced
by its nearest (§6.3); with it, a text that has such a character goes out as UCS-2, and any other as GSM all the same.
Units are septets in GSM (an extension character takes two) and 16-bit units in UCS-2 (a surrogate pair is two).
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique
from functools import lru_cache
from itertools import pairwise

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""What takes one septet: all 127 of the default alphabet, the escape aside."""

EXTENSION = frozenset("\f^{}\\[~]|€")
"""What takes two septets: the escape and one more."""

_ALPHABET = BASIC | EXTENSION
_UNKNOWN = "?"
_JOINER = "\u200d"
_MOST_MARKS = 8
_FEW = 16  # foreign characters in a text, up to which it is read faster once for each than character by character

_PAIRS = """
    … ...  · .  ¸ ,  ¦ |  × x  ± +/-  ≈ ~  ≠ <>  ≤ <=  ≥ >=  ˜ ~  ˆ ^  ˙ .  ° o  µ u  © (c)  ® (r)  ‰ o/oo  ¢ c  ƒ f
    → ->  ← <-  ↔ <->  ⇒ =>  ✓ OK  ✔ OK  ☎ Tel  ☺ :-)  ☹ :-(  ♥ <3  ❤ <3
    ç Ç  œ oe  Œ OE  đ d  Đ D  ð d  Ð D  þ th  Þ Th  ł l  Ł L  ħ h  Ħ H  ı i  ŋ n  Ŋ N  ŧ t  Ŧ T  ĸ k  ẞ SS
"""

_NEAREST = {
    **dict.fromkeys("‘’‚‛′ʹʻʼˈ`´", "'"),
    **dict.fromkeys("“”„‟″«»〝〞¨", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃•◦▪●‣¯", "-"),
    **dict.fromkeys("⁄∕÷", "/"),
    **dict.fromkeys("\t\u00a0\u202f", " "),
    **dict.fromkeys("\v\u0085\u2028\u2029", "\n"),
    **dict(zip(_PAIRS.split()[::2], _PAIRS.split()[1::2], strict=True)),
    **dict(zip("‹›", "<>", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),  # Greek capitals that look Latin share their septet
}
"""The nearest of what Unicode's own decomposition does not bring into the alphabet. Each goes to `_ALPHABET` only."""


@unique
class Encoding(Enum):
    """How a text goes over the air, with what one SMS and one part of a longer one hold (docs/protocol.md §6.2)."""

    GSM = "gsm"
    UCS2 = "ucs2"

    @property
    def single_units(self) -> int:
        """The most units of a text that is one SMS."""
        return 160 if self is Encoding.GSM else 70

    @property
    def part_units(self) -> int:
        """The most units of each part of a longer text: the rest is the header that joins them."""
        return 153 if self is Encoding.GSM else 67


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a text costs."""

    encoding: Encoding
    units: int
    parts: int  # at least 1: an empty text is one SMS, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Transliteration:
    """A text within the alphabet, and each replacement that was made, once, as (from, to)."""

    text: str
    changes: tuple[tuple[str, str], ...]


def is_gsm(text: str) -> bool:
    """Tell whether every character of `text` is in the alphabet or its extension."""
    return _ALPHABET.issuperset(text)


def transliterate(text: str) -> Transliteration:
    """Return `text` with the nearest the alphabet has, `?` where it has nothing near (docs/protocol.md §6.3)."""
    if is_gsm(text):
        return Transliteration(text=text, changes=())
    foreign = [character for character in dict.fromkeys(text) if character not in _ALPHABET]
    if len(foreign) > _FEW or any(map(_is_mark, foreign)):
        return _transliterate_each(text)
    changes = [(character, _nearest(character)) for character in foreign]
    for old, new in changes:  # each stands for itself, and what replaces it is in the alphabet
        text = text.replace(old, new)
    return Transliteration(text=text, changes=tuple(changes))


def count_parts(text: str, ucs2: bool = False, reserve_units: int = 0) -> Size:
    """Return what `text` costs, `reserve_units` being added to its end by somebody else (docs/protocol.md §6.2).

    `units` are those of the text alone; `parts` hold both. What is added is made of characters of one unit.
    """
    outgoing, encoding = _encode(text, ucs2=ucs2)
    units = _units_of(outgoing, encoding)
    if units + reserve_units <= encoding.single_units:
        return Size(encoding=encoding, units=units, parts=1)
    starts = _part_starts(outgoing, encoding)
    last_part_units = _units_of(outgoing[starts[-1] :], encoding)
    last_parts = max(1, _ceil_div(last_part_units + reserve_units, encoding.part_units))
    return Size(encoding=encoding, units=units, parts=len(starts) - 1 + last_parts)


def split_parts(text: str, ucs2: bool = False) -> tuple[str, ...]:
    """Return the parts of `text`, in order; no extension character and no surrogate pair is ever split between two."""
    outgoing, encoding = _encode(text, ucs2=ucs2)
    if _units_of(outgoing, encoding) <= encoding.single_units:
        return (outgoing,)
    starts = _part_starts(outgoing, encoding)
    return tuple(outgoing[start:end] for start, end in pairwise([*starts, len(outgoing)]))


def cut_to_parts(text: str, max_parts: int, ucs2: bool = False, reserve_units: int = 0) -> str:
    """Return the longest beginning of `text` that fits, with `reserve_units` to spare, into `max_parts` (§6.4).

    It ends with a whole character, its accents and joiners included. Empty when the reserve alone fills the parts.
    """
    outgoing, encoding = _encode(text, ucs2=ucs2)
    if count_parts(outgoing, ucs2=ucs2, reserve_units=reserve_units).parts <= max_parts:
        return outgoing
    limit = encoding.single_units if max_parts == 1 else encoding.part_units
    fits = full_parts = used = 0
    for units in _units_of_each(outgoing, encoding):
        if used + units > limit:
            full_parts, used = full_parts + 1, 0
        used += units
        if full_parts * limit + used + reserve_units > max_parts * limit:
            break
        fits += 1
    return outgoing[: _whole_characters(outgoing, fits)]


def _transliterate_each(text: str) -> Transliteration:
    """Return the same by going through `text` once, each character taken together with its accents."""
    pieces = []
    changes: dict[str, str] = {}
    for cluster in _clusters(text):
        nearest = changes.get(cluster)
        if nearest is None:
            nearest = cluster if is_gsm(cluster) else _nearest(cluster)
            if nearest != cluster:
                changes[cluster] = nearest
        pieces.append(nearest)
    return Transliteration(text="".join(pieces), changes=tuple(changes.items()))


def _encode(text: str, *, ucs2: bool) -> tuple[str, Encoding]:
    """Return `text` as it goes out, and how."""
    if not ucs2:
        return transliterate(text).text, Encoding.GSM
    return text, Encoding.GSM if is_gsm(text) else Encoding.UCS2


def _units_of(outgoing: str, encoding: Encoding) -> int:
    """Return the sum of `_units_of_each`, many times faster."""
    if encoding is Encoding.GSM:
        return len(outgoing) + sum(map(outgoing.count, EXTENSION))
    return len(outgoing.encode("utf-16-be", "surrogatepass")) // 2


def _units_of_each(outgoing: str, encoding: Encoding) -> Iterator[int]:
    if encoding is Encoding.GSM:
        return (2 if character in EXTENSION else 1 for character in outgoing)
    return (2 if character > "\uffff" else 1 for character in outgoing)


def _part_starts(outgoing: str, encoding: Encoding) -> list[int]:
    """Return where each part of a long text begins: as much as fits into each, in order."""
    starts = [0]
    used = 0
    for index, units in enumerate(_units_of_each(outgoing, encoding)):
        if used + units > encoding.part_units:
            starts.append(index)
            used = 0
        used += units
    return starts


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _whole_characters(text: str, end: int) -> int:
    """Return the nearest end at or before `end` that leaves no accent or joiner behind; `end` when there is none."""
    whole = end
    while 0 < whole < len(text) and (_is_mark(text[whole]) or text[whole - 1] == _JOINER):
        whole -= 1
    return whole or end


def _clusters(text: str) -> Iterator[str]:
    """Yield each character with the marks that follow it, at most eight: composing is quadratic in their number."""
    start = 0
    for index in range(1, len(text)):
        if index - start > _MOST_MARKS or not _is_mark(text[index]):
            yield text[start:index]
            start = index
    yield text[start:]


def _is_mark(character: str) -> bool:
    """Tell whether it belongs to the character before it: accents, variation selectors, the zero-width joiner."""
    return character >= "\u0300" and (character == _JOINER or unicodedata.category(character).startswith("M"))


@lru_cache(maxsize=32_768)  # a few MiB at most: more characters than any language writes SMS with
def _nearest(cluster: str) -> str:
    composed = unicodedata.normalize("NFC", cluster)
    if is_gsm(composed):
        return composed
    if composed in _NEAREST:
        return _NEAREST[composed]
    decomposed = unicodedata.normalize("NFKD", composed)
    letters = [character for character in decomposed if not _is_invisible(character)]
    if any(map(unicodedata.combining, decomposed)) and not "".join(letters).isalpha():
        return _UNKNOWN  # a stroke through a sign changes its meaning
    nearest = "".join(_nearest_of_one(character) for character in letters)
    return _UNKNOWN if _UNKNOWN in nearest and not nearest.strip(f"{_UNKNOWN} ") else nearest


def _nearest_of_one(character: str) -> str:
    for candidate in (character, character.upper()):  # the alphabet has capital Greek letters only
        if is_gsm(candidate):
            return candidate
        if candidate in _NEAREST:
            return _NEAREST[candidate]
    return _UNKNOWN


def _is_invisible(character: str) -> bool:
    return _is_mark(character) or unicodedata.category(character) == "Cf"
