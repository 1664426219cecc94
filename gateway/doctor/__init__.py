"""`mail2sms doctor`: looks at the real installation, around the gateway as much as at it, and says what to do.

Promises: no SMS, no mail, and nothing is changed; every look has a deadline, and all of them together another; what
cannot be found out is said to be unknown, never taken for good. It may be used before the first `serve` and beside a
gateway at work, with which it talks as a client on this machine.

One module per subject; `checkup` runs them. What a library knows is asked of the room that owns the library.
"""

from gateway.doctor.checkup import Checkup, examine
from gateway.doctor.findings import Finding, Level, Section
from gateway.doctor.showing import Showing

__all__ = ["Checkup", "Finding", "Level", "Section", "Showing", "examine"]
