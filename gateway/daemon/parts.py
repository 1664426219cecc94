"""Every part of the gateway, built from the configuration and joined: what one tells another goes through here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.activation import GivenSockets
from gateway.balances import Balances
from gateway.clock import Clock
from gateway.config import Config
from gateway.daemon.building import (
    account_networks,
    asking_windows,
    build_intake,
    build_overruns,
    build_room,
    own_addresses,
    own_hostname,
    report_rules,
    smtp_users,
    syncing_carriers,
)
from gateway.daemon.console import Bells, Front, build_console
from gateway.daemon.present import Present
from gateway.daemon.soundness import Soundness
from gateway.daemon.vitals import Vitals
from gateway.daemon.watching import Watching, build_api
from gateway.dispatcher import Dispatcher
from gateway.inquiries import Inquiries
from gateway.janitor import Janitor
from gateway.mailer import Mailer
from gateway.optout_sync import OptOutSync
from gateway.outcomes import Outcomes
from gateway.reader.pool import ReaderPool
from gateway.receipts import Receipts
from gateway.replies import Replies
from gateway.retention import Retention
from gateway.smtp.listener import Listener
from gateway.store import Store
from gateway.store.reserve import Reserve
from gateway.stories.turnaways import Turnaways
from gateway.web import Callbacks, HttpServer, health_app
from gateway.worker import Bell, Stage


class Part(Protocol):
    """A stage: it works until it is stopped."""

    async def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """Nothing more is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What parts stand on: open, and closed after them."""

    config: Config  # as at the start
    clock: Clock
    store: Store
    reserve: Reserve | None
    reader: ReaderPool
    soundness: Soundness
    given: GivenSockets
    roll: Sequence[Stage]  # of the stages that run
    find_addresses: Callable[[], Sequence[tuple[str, int]]]  # of SMTP, once they are bound
    is_draining: Callable[[], bool]


class Parts:
    """The parts of one gateway. Nothing is bound and nothing runs. Raises ProviderUnusable, DnsUnusable."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        config, clock, store = ground.config, ground.clock, ground.store
        self.present = Present(config, clock)
        self._mailer_bell, self._dispatcher_bell, self._sync_bell = Bell(), Bell(), Bell()
        self._build_learning()
        self._build_sending()
        self._build_taking()
        self._build_replies()
        self.retention = Retention(store=store, clock=clock, settings=config.retention)
        self.vitals = Vitals(
            store=store,
            stages=ground.roll,
            doors=lambda: self.listener.doors,
            count_clients=lambda: self.listener.open_connections,
            find_shortages=self._find_shortages,
            is_draining=ground.is_draining,
        )
        self.http = self._build_http()

    @property
    def stages(self) -> Mapping[str, Part]:
        """What works on the rows, beside the listeners."""
        return {
            "dispatcher": self.dispatcher,
            "mailer": self.mailer,
            "janitor": self.janitor,
            "balances": self.balances,
            "inquiries": self.inquiries,
            "replies": self.replies,
            "optouts": self.optout_sync,
            "overruns": self.overruns,
            "retention": self.retention,
            "room": self.room,
            "soundness": self._ground.soundness,
            "turnaways": self.turnaways,
        }

    def _build_learning(self) -> None:
        """Make what learns later of the fate of SMS, told by carriers or asked of them."""
        config, clock, store, present = self._ground.config, self._ground.clock, self._ground.store, self.present
        self.receipts = Receipts(
            store=store,
            clock=clock,
            accounts=lambda: present.accounts,
            rules=report_rules(config),
            mailer_bell=self._mailer_bell,
            can_ask=present.can_ask,
        )
        self.inquiries = Inquiries(
            store=store,
            receipts=self.receipts,
            clock=clock,
            accounts=lambda: present.accounts,
            providers=lambda: present.providers,
            windows_s=asking_windows(config),
            poll_s=config.janitor.every_s,
        )

    def _build_sending(self) -> None:
        """Make what sends SMS and mails, and what puts right what went wrong with them."""
        config, clock, store, present = self._ground.config, self._ground.clock, self._ground.store, self.present
        outcomes = Outcomes(
            store=store,
            clock=clock,
            accounts=lambda: present.accounts,
            rules=report_rules(config),
            mailer_bell=self._mailer_bell,
            dispatcher_bell=self._dispatcher_bell,
            can_ask=present.can_ask,
        )
        self.dispatcher = Dispatcher(
            store=store,
            outcomes=outcomes,
            clock=clock,
            bell=self._dispatcher_bell,
            accounts=present.accounts,
            carriers=present.carriers,
            settings=config.dispatcher,
        )
        self.balances = Balances(clock=clock, carriers=present.carriers)
        self.mailer = Mailer(
            store=store,
            settings=config.reports,
            hostname=own_hostname(config),
            clock=clock,
            bell=self._mailer_bell,
        )
        self.janitor = Janitor(
            store=store,
            outcomes=outcomes,
            clock=clock,
            mailer_bell=self._mailer_bell,
            settings=config.janitor,
            receipts=self.receipts,
        )

    def _build_taking(self) -> None:
        """Make what takes mails, and what says when none can be taken."""
        ground, config = self._ground, self._ground.config
        self.turnaways = Turnaways(store=ground.store, clock=ground.clock)
        self.intake = build_intake(
            config,
            store=ground.store,
            clock=ground.clock,
            reader=ground.reader,
            on_admitted=self.dispatcher.notice,
            on_report=self._mailer_bell.ring,
            turnaways=self.turnaways,
        )
        self.room = build_room(config, store=ground.store, reserve=ground.reserve, clock=ground.clock)
        ground.store.on_ruin = self.room.bell.ring  # which ends the gateway, whoever it was that found the ruin
        self.listener = Listener(
            config.smtp,
            self.intake,
            users=smtp_users(config),
            networks=account_networks(config),
            clock=ground.clock,
            given=ground.given,
            find_shortage=self.room.find_shortage,
            on_refused=self.turnaways.note_reply,
        )

    def _build_replies(self) -> None:
        """Make what takes replies and tells carriers of the STOPs among them, and what tells clients of quotas."""
        config, clock, store, present = self._ground.config, self._ground.clock, self._ground.store, self.present
        self.replies = Replies(
            store=store,
            clock=clock,
            accounts=lambda: present.accounts,
            syncing=lambda: syncing_carriers(present.config),
            rules=report_rules(config),
            own_addresses=own_addresses(config),
            mailer_bell=self._mailer_bell,
            sync_bell=self._sync_bell,
        )
        self.overruns = build_overruns(
            config, store, clock, accounts=lambda: present.accounts, mailer_bell=self._mailer_bell
        )
        self.optout_sync = OptOutSync(
            store=store,
            clock=clock,
            carriers=lambda: present.carriers,
            syncing=lambda: syncing_carriers(present.config),
            bell=self._sync_bell,
        )

    def _build_http(self) -> HttpServer | None:
        """Return what answers HTTP; None: nothing does."""
        ground, present, vitals = self._ground, self.present, self.vitals
        listen = ground.config.http.listen
        if listen is None:
            return None
        callbacks = Callbacks(
            clock=ground.clock,
            find_hook=present.find_hook,
            take_receipts=self.receipts.take,
            take_replies=self.replies.take,
        )
        watching = Watching(
            store=ground.store, present=present, room=self.room, dispatcher=self.dispatcher, vitals=vitals
        )
        gauges = watching.gauges(ground.clock)
        api = build_api(ground.store, ground.clock, present, gauges)
        front = Front(
            present=present,
            store=ground.store,
            clock=ground.clock,
            reader=ground.reader,
            dispatcher=self.dispatcher,
            balances=self.balances,
            find_addresses=ground.find_addresses,
        )
        bells = Bells(dispatcher=self._dispatcher_bell, mailer=self._mailer_bell, sync=self._sync_bell)
        console = build_console(front, bells, find_obstacles=vitals.find_obstacles)
        app = health_app(
            find_obstacles=vitals.find_obstacles,
            gauges=gauges,
            more_routes=[*callbacks.routes, *api.routes, *console.routes],
        )
        return HttpServer(app, listen=listen, given=ground.given)

    def _find_shortages(self) -> list[str]:
        shortage = self.room.find_obstacle()
        shortages = [] if shortage is None else [shortage]
        if self._ground.reader.is_unstartable:
            shortages.append("no process that reads mails can be started")
        return shortages
