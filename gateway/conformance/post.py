"""The reports that come back while a run lasts, each filed under its case."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from gateway.conformance.case import Outcome
from gateway.conformance.filling import Filling
from gateway.conformance.judge import expected_reports, has_all
from gateway.conformance.report import ReceivedReport, read_received
from gateway.smtp.mailbox import Mailbox


class Post:
    """Sorts what a mailbox gets; `strangers` counts what is of no case of this run."""

    def __init__(self, mailbox: Mailbox, filling: Filling) -> None:
        self.strangers = 0
        self._mailbox = mailbox
        self._filling = filling
        self._by_case: defaultdict[str, list[ReceivedReport]] = defaultdict(list)
        self._sorted = 0

    def sort(self) -> Mapping[str, Sequence[ReceivedReport]]:
        """Return the reports that have come so far, by the number of their case."""
        for mail in self._mailbox.mails[self._sorted :]:
            self._sorted += 1
            received = read_received(mail)
            case = self._filling.case_of(received.report.email_id, received.report.to)
            if case is None:
                self.strangers += 1
            else:
                self._by_case[case].append(received)
        return self._by_case

    async def wait_for(self, case: str, outcomes: Sequence[Outcome], *, timeout_s: float) -> None:
        """Return when all reports of one of the outcomes are there, or as many as there can be.

        Raises TimeoutError. Wrong reports count: what is wrong about them is for the judge.
        """
        counts = [len(expected_reports(outcome)) for outcome in outcomes]

        def is_complete(_: object) -> bool:
            received = self.sort().get(case, ())
            if len(received) >= max(counts):
                return True
            return any(
                len(received) >= count and has_all(outcome, received)
                for count, outcome in zip(counts, outcomes, strict=True)
            )

        await self._mailbox.wait_for(is_complete, timeout_s=timeout_s)
