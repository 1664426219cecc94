"""A restored store made ready to serve: what was under way in it is settled as an operator decides."""

from enum import Enum, unique

from gateway.clock import Clock
from gateway.config import Config
from gateway.daemon.building import report_rules
from gateway.janitor import Janitor
from gateway.outcomes import Outcomes
from gateway.policy.accounts import Accounts
from gateway.receipts import Receipts
from gateway.store import Store
from gateway.worker import Bell


@unique
class Queued(Enum):
    """What becomes of SMS that waited when the copy was made."""

    HOLD = "hold"
    SEND = "send"


async def accept(config: Config, clock: Clock, queued: Queued) -> int:
    """The store is no copy any more; return how many SMS are held, or wait to be sent.

    With HOLD nothing that was under way is sent by itself, whatever its account says: calls that were under way, and
    fates that nobody knew, end as 999; what an account would send again is held with the rest.
    """
    store = await Store.open(config.store, may_be_copy=True)
    try:
        if queued is Queued.SEND:
            return await store.send_queued(clock.now())
        accounts, rules = Accounts(config.accounts), report_rules(config)
        outcomes = Outcomes(
            store=store,
            clock=clock,
            accounts=lambda: accounts,
            rules=rules,
            mailer_bell=Bell(),
            dispatcher_bell=Bell(),
        )
        receipts = Receipts(store=store, clock=clock, accounts=lambda: accounts, rules=rules, mailer_bell=Bell())
        janitor = Janitor(
            store=store,
            outcomes=outcomes,
            clock=clock,
            mailer_bell=Bell(),
            settings=config.janitor,
            receipts=receipts,
        )
        await janitor.recover_own()
        await janitor.resolve_all()
        return await store.hold_queued(clock.now())
    finally:
        await store.close()
