"""What SMS Partner makes of characters of the GSM alphabet: some it replaces or drops in silence, as it documents.

What it lists besides is not in the alphabet, and has been transliterated before (docs/protocol.md §6.3).
"""

from collections.abc import Mapping
from types import MappingProxyType

REPLACED: Mapping[str, str] = MappingProxyType(
    {
        **dict(zip("äÄöÖüÜñÑ", "aAoOuUnN", strict=True)),
        **dict(zip("[{]}", "(())", strict=True)),
        **dict.fromkeys("^~|\\§", ""),
    }
)
"""Each character, and what reaches the phone in its place."""
