"""The console as the daemon serves it: joined to the configuration in force, the store, and the stages it wakes."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from gateway.balances import Balances
from gateway.clock import Clock
from gateway.config import Config
from gateway.console.app import Console
from gateway.console.roles import ConsoleUser, highest
from gateway.console.surroundings import CarrierHealth, Place, Surroundings
from gateway.daemon.building import (
    build_vouching,
    intake_rules,
    own_hostname,
    report_rules,
    stop_rules,
    text_profiles,
)
from gateway.daemon.present import Present
from gateway.dispatcher import Dispatcher
from gateway.intake import Submission
from gateway.intake.findings import PLACEHOLDER_ID, Findings, find
from gateway.intake.forecast import make_forecast
from gateway.intake.judging import Judge, Taken
from gateway.intake.order import Arrival
from gateway.lifecycle import MailId, SmsId
from gateway.mailer.delivery import DeliveryFailed, deliver
from gateway.reader.inline import Reader
from gateway.reports import ReportWriter
from gateway.smtp.entrance import Entrance, find_entrances
from gateway.smtp.passwords import Passwords, User
from gateway.smtp.settings import Tls
from gateway.smtp.tls import certificate_ends_at
from gateway.store import Store
from gateway.store.base import RenderNot
from gateway.store.words import RenderReceipts
from gateway.stories import Action, Done, Stories
from gateway.stories.desk import Desk
from gateway.web import HttpSettings
from gateway.web.server import is_loopback
from gateway.worker import Bell

LISTENER = "console"
"""Where a mail that is only looked at says that it came in."""

_DELIVERY_S = 30.0
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Front:
    """What the console is given: everything in it is as configured now."""

    def __init__(
        self,
        *,
        present: Present,
        store: Store,
        clock: Clock,
        reader: Reader,
        dispatcher: Dispatcher,
        balances: Balances,
        find_addresses: Callable[[], Sequence[tuple[str, int]]],
    ) -> None:
        """`find_addresses` returns where the SMTP listener is bound, once it is."""
        self.present = present
        self.store = store
        self.clock = clock
        self._reader = reader
        self._dispatcher = dispatcher
        self._balances = balances
        self._find_addresses = find_addresses
        self._known: Config | None = None
        self._users: Mapping[str, ConsoleUser] = {}
        self._passwords = Passwords(())

    def users(self) -> Mapping[str, ConsoleUser]:
        """Return who may log in, by name."""
        self._look()
        return self._users

    async def check_password(self, name: str, password: str) -> bool:
        """Tell whether it is that user's. Raises Busy."""
        self._look()
        return await self._passwords.check(name, password) is not None

    def _look(self) -> None:
        """A reload may have changed the users."""
        config = self.present.config
        if self._known is config:
            return
        self._known = config
        self._users = {user.name: user for user in _console_users(config)}
        self._passwords = Passwords(
            User(name=user.name, password_hash=user.password_hash, account=None) for user in self._users.values()
        )

    def health(self) -> Sequence[CarrierHealth]:
        """Return how each carrier is."""
        kinds = {settings.name: settings for settings in self.present.config.providers}
        figures = self._balances.figures()
        return [
            CarrierHealth(
                name=link.name,
                kind=kinds[link.name].kind if link.name in kinds else "",
                is_open=link.gate.is_open,
                opens_in_s=link.gate.opens_in_s,
                is_suspect=link.gate.is_suspect,
                waiting_accounts=self._dispatcher.links.held_at(link.name),
                left=figures[link.name].left if link.name in figures else None,
                currency=figures[link.name].currency if link.name in figures else "",
                is_low=link.name in figures and figures[link.name].is_low,
            )
            for link in self._dispatcher.links
        ]

    def writers(self, now: datetime) -> tuple[RenderNot, RenderReceipts]:
        """Return what writes the reports of one transaction."""
        rules = report_rules(self.present.config)
        return ReportWriter(now=now, rules=rules, accounts=lambda: self.present.accounts).both

    # --- writing a mail ----------------------------------------------------------------------------------------------

    async def examine(self, sender: str, mail: bytes) -> Findings:
        """Return what would become of the mail, decided by what decides about mails; nothing is stored."""
        config, now = self.present.config, self.clock.now()
        entrance, (host, _port) = self._choose_entrance()
        submission = Submission(
            content=mail,
            envelope_from=sender,
            peer=host,
            listener=LISTENER,
            networks=entrance.networks,
            mode=entrance.mode,
        )
        judge = Judge(
            accounts=self.present.accounts,
            text_profiles=text_profiles(config),
            rules=intake_rules(config),
            reader=self._reader,
            vouching=build_vouching(config, self.clock),
        )
        judgement = await judge.judge(Arrival(submission=submission, mail_id=MailId(PLACEHOLDER_ID), at=now))
        foreseen = None
        if isinstance(judgement, Taken):
            foreseen = await self.store.foresee(judgement.written.order)
        forecast = make_forecast(judgement, foreseen, now=now, rules=report_rules(config))
        return find(forecast, envelope_from=sender, peer=host, now=now, remark=None)

    async def deliver(self, sender: str, recipient: str, mail: bytes) -> str:
        """Return what our own listener says to the mail. Raises DeliveryFailed."""
        _entrance, address = self._choose_entrance()
        hostname = own_hostname(self.present.config)
        return await deliver(
            address, sender=sender, recipient=recipient, mail=mail, hostname=hostname, timeout_s=_DELIVERY_S
        )

    def _choose_entrance(self) -> tuple[Entrance, tuple[str, int]]:
        """Return the first listener that a plain client on this machine can speak to, and its address from here."""
        entrances = [entrance for entrance in find_entrances(self.present.config.smtp) for _ in entrance.listen]
        for entrance, (host, port) in zip(entrances, self._find_addresses(), strict=False):
            if entrance.tls is not Tls.IMPLICIT and not entrance.proxies and not entrance.is_legacy:
                return entrance, (_LOOPBACK.get(host, host), port)
        raise DeliveryFailed("no listener takes a mail from this machine without a proxy, and with STARTTLS at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bells:
    """Of the stages that have work by what is done in the console."""

    dispatcher: Bell
    mailer: Bell
    sync: Bell  # of the STOP list, with carriers


def build_console(front: Front, bells: Bells, *, find_obstacles: Callable[[], Awaitable[Sequence[str]]]) -> Console:
    """Return the console. It answers nothing while nobody may log in."""
    present, store, clock = front.present, front.store, front.clock
    config = present.config
    desk = Desk(store, clock, front.writers)

    async def act(action: Action, ids: Sequence[SmsId], by: str, may_double: bool) -> Done:
        done = await desk.act(action, ids, by=by, may_double=may_double)
        bells.dispatcher.ring()
        if done.reports:
            bells.mailer.ring()
        return done

    return Console(
        Surroundings(
            clock=clock,
            store=store,
            stories=Stories(store, clock, lambda: present.accounts),
            place=find_place(config.http),
            users=front.users,
            check_password=front.check_password,
            accounts=lambda: present.accounts,
            carriers=lambda: present.config.providers,
            health=front.health,
            stop_rules=lambda: stop_rules(present.config),
            writers=front.writers,
            act=act,
            on_reports=bells.mailer.ring,
            on_optouts=bells.sync.ring,
            examine=front.examine,
            deliver=front.deliver,
            recipient=config.smtp.recipients[0],
            hostname=own_hostname(config),
            find_obstacles=find_obstacles,
            certificate_ends_at=certificate_ends_at,
        )
    )


def find_place(http: HttpSettings) -> Place:
    """Return where the console is reached, and how safely."""
    names = {name.lower() for name in http.hosts}
    public = urlsplit(http.public_url or "")
    if public.hostname:
        names.add(public.hostname)
    return Place(
        hosts=frozenset(names),
        is_secure=http.tls_proxy or public.scheme == "https",
        is_exposed=not http.tls_proxy and (http.listen is None or not is_loopback(http.listen)),
    )


def _console_users(config: Config) -> Iterator[ConsoleUser]:
    for user in config.users:
        role = highest(user.roles)
        if role is not None and user.password_hash is not None:
            yield ConsoleUser(name=user.name, password_hash=user.password_hash.get_secret_value(), role=role)
