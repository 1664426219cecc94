"""What became of a mail, and why: read from the rows, told in words (`mail2sms why`, the console).

Nothing here is on the way of a mail but `turnaways`, which counts who was told no. The queries are in
`gateway.store.reading`; here they get their words.
"""

from gateway.stories.model import (
    Action,
    Done,
    Filter,
    Found,
    FoundKind,
    FoundPage,
    Moved,
    Page,
    QueuePage,
    QueueRow,
    Stats,
    StatsBy,
    StatsRow,
    Step,
    StepKind,
    Story,
    Waiting,
)
from gateway.stories.stories import Stories

__all__ = [
    "Action",
    "Done",
    "Filter",
    "Found",
    "FoundKind",
    "FoundPage",
    "Moved",
    "Page",
    "QueuePage",
    "QueueRow",
    "Stats",
    "StatsBy",
    "StatsRow",
    "Step",
    "StepKind",
    "Stories",
    "Story",
    "Waiting",
]
