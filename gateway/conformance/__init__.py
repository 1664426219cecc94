"""The conformance kit: a corpus of mails played against any SMTP address, and a judge of what comes back.

It knows nothing of the gateway under test but its addresses: the mails go in by SMTP, the reports come back by SMTP to
a mailbox of the kit's own, and the SMS are looked up at a carrier sandbox, over HTTP. What must come back is written
down in the corpus, and bytes of reports are made here from the source document's layout, not by the gateway's code.

Promises. Every case is judged by itself: a report belongs to the case whose emailId or address it carries, an SMS to
the case that owns its number, and what nobody expected is a failure too. No wait is longer than the deadline of a case.
A corpus can be played again against the same gateway: emailIds, Message-IDs and report addresses are new in every run.
"""

from gateway.conformance.case import CORPUS, Case, CorpusError, Level, Outcome, load_case, load_corpus
from gateway.conformance.filling import Identity
from gateway.conformance.play import Play, Target, Unreachable
from gateway.conformance.results import Result, Run, Verdict, to_json, to_junit

__all__ = [
    "CORPUS",
    "Case",
    "CorpusError",
    "Identity",
    "Level",
    "Outcome",
    "Play",
    "Result",
    "Run",
    "Target",
    "Unreachable",
    "Verdict",
    "load_case",
    "load_corpus",
    "to_json",
    "to_junit",
]
