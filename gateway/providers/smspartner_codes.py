"""SMS Partner's codes for a send, each with what is done about it and the code of ours that says it (docs/carriers.md).

The key is the operator's own: that it is wrong or blocked is no fault of a client's, but a client learns of it, as 1, 3
or 14, only when its SMS expire.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.protocol.codes import Code
from gateway.providers.handling import Handling

SCHEDULE_CODES = frozenset({45, 46, 47, 48, 49})
"""About the date of a later send: nothing was taken, and the gateway waits itself instead."""

CODES: Mapping[int, tuple[Handling, Code]] = MappingProxyType(
    {
        1: (Handling.HOLD, Code.C1_KEY_EMPTY),
        2: (Handling.REFUSED, Code.C6_NUMBER_MISSING),
        9: (Handling.NUMBER, Code.C7_NUMBER_MALFORMED),  # also "a constraint": the element says which, see ELEMENTS
        10: (Handling.HOLD, Code.C3_KEY_UNKNOWN),
        11: (Handling.HOLD, Code.C12_NO_CREDIT),
        13: (Handling.NUMBER, Code.C27_COUNTRY_NOT_ALLOWED),  # "no default price": a destination that is not served
        14: (Handling.NUMBER, Code.C11_NUMBER_BLACKLISTED),  # on their STOP list
        15: (Handling.NUMBER, Code.C999_ERROR),  # twice in one call: cannot happen, such SMS go in calls of their own
        20: (Handling.HOLD, Code.C999_ERROR),  # account disabled
        22: (Handling.RETRY, Code.C24_OUTSIDE_HOURS),  # "8h to 22h" in the label, 20h to 8h on the pages
        23: (Handling.RETRY, Code.C24_OUTSIDE_HOURS),  # Sundays and holidays
        30: (Handling.HOLD, Code.C999_ERROR),  # account blocked
        40: (Handling.HOLD, Code.C999_ERROR),  # access to the interface refused
        42: (Handling.REFUSED, Code.C999_ERROR),  # 42 and 51 are of the low-cost range, which is never asked for
        43: (Handling.REFUSED, Code.C999_ERROR),  # no text
        44: (Handling.REFUSED, Code.C33_ORIGINATOR_NOT_ALLOWED),
        45: (Handling.RETRY, Code.C999_ERROR),  # 45 to 49: see SCHEDULE_CODES
        46: (Handling.RETRY, Code.C999_ERROR),
        47: (Handling.RETRY, Code.C999_ERROR),
        48: (Handling.RETRY, Code.C999_ERROR),  # "5 to 55": the full hour, which the table of fields allows
        49: (Handling.RETRY, Code.C999_ERROR),
        50: (Handling.REFUSED, Code.C23_TOO_MANY_NUMBERS),  # cannot happen, batches are smaller
        51: (Handling.REFUSED, Code.C999_ERROR),
        52: (Handling.REFUSED, Code.C999_ERROR),  # more than ten parts
        55: (Handling.REFUSED, Code.C999_ERROR),  # "no number to send": the codes inside say why, if there are any
        90: (Handling.REFUSED, Code.C999_ERROR),  # not JSON
        96: (Handling.HOLD, Code.C14_ADDRESS_NOT_ALLOWED),
        429: (Handling.PAUSE, Code.C29_OVERFLOW),
        500: (Handling.UNKNOWN, Code.C999_ERROR),  # "a problem while adding the SMS to the queue": before or after?
        992: (Handling.REFUSED, Code.C33_ORIGINATOR_NOT_ALLOWED),
    }
)
"""Every documented code of a send. One that is not here says nothing about whether the SMS was taken."""

ELEMENTS: Mapping[str, tuple[Handling, Code]] = MappingProxyType(
    {
        "phoneNumbers": CODES[9],
        "phoneNumber": CODES[9],
        "to": CODES[9],
        "sender": CODES[44],
        "from": CODES[44],
        "message": CODES[43],
        "scheduledDeliveryDate": CODES[45],
        "time": CODES[46],
        "minute": CODES[47],
    }
)
"""What was wrong with a call that broke a constraint (code 9), by the element that is named."""

BROKEN_CONSTRAINT: tuple[Handling, Code] = (Handling.REFUSED, Code.C999_ERROR)
"""About any other element."""
