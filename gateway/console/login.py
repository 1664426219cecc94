"""Logging in and out, and the choice of language and colours."""

import hmac
from ipaddress import ip_address, ip_network

import structlog
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.console.door import LANGUAGE_COOKIE, LOGIN, THEME_COOKIE, YEAR_S, Door, local_path
from gateway.console.ledger import Ledger
from gateway.console.rendering import ROOT, render
from gateway.console.sessions import Sessions
from gateway.console.surroundings import Surroundings
from gateway.console.throttle import Throttle
from gateway.console.visit import THEMES, Visit
from gateway.console.words import LANGUAGES
from gateway.errors import GatewayError
from gateway.text.spans import write_span

_log = structlog.get_logger(__name__)

TRIES_PER_CLIENT, CLIENT_FORGIVEN_S = 10, 30.0
TRIES_PER_NAME, NAME_FORGIVEN_S = 50, 10.0
"""A name may be tried more often: whoever guesses must not be able to shut its owner out for long."""

_LONGEST_NAME = 64
_LONGEST_PASSWORD = 1_024
_NETWORK_BITS = 64  # of IPv6: what one client has to itself


class Login:
    """The pages of whoever is not logged in yet."""

    def __init__(self, around: Surroundings, door: Door, sessions: Sessions, ledger: Ledger) -> None:
        self._around = around
        self._door = door
        self._sessions = sessions
        self._ledger = ledger
        self._by_client = Throttle(around.clock, at_once=TRIES_PER_CLIENT, forgiven_every_s=CLIENT_FORGIVEN_S)
        self._by_name = Throttle(around.clock, at_once=TRIES_PER_NAME, forgiven_every_s=NAME_FORGIVEN_S)

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        door = self._door
        return [
            Route(LOGIN, door.open_page(self._show), methods=["GET"]),
            Route(LOGIN, door.open_page(self._log_in), methods=["POST"]),
            Route(f"{ROOT}/logout", door.page(self._log_out), methods=["POST"]),
            Route(f"{ROOT}/preferences", door.open_page(self._prefer), methods=["POST"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        if visit.user is not None:
            return RedirectResponse(local_path(visit.query.one("next")), status_code=303)
        return render("login.html", visit, name="", next=visit.query.one("next"), problem=None)

    async def _log_in(self, visit: Visit) -> Response:
        name, password = visit.form.one("name")[:_LONGEST_NAME], visit.form.text("password")
        client = _client_of(visit.peer)
        wait_s = max(self._by_client.wait_s(client), self._by_name.wait_s(name))
        if wait_s > 0:
            return self._say(visit, 429, "login.wait", wait_s=wait_s)
        self._by_client.add(client)
        self._by_name.add(name)
        try:
            is_right = len(password) <= _LONGEST_PASSWORD and await self._around.check_password(name, password)
        except GatewayError as error:
            if not error.temporary:
                raise
            return self._say(visit, 503, "login.busy")
        user = self._around.users().get(name)
        if user is None or not is_right:
            await self._note_failure(visit, name)
            return self._say(visit, 403, "login.wrong")
        self._by_client.forgive(client)
        self._by_name.forgive(name)
        if visit.user is not None:
            await self._sessions.close(visit.request.cookies[self._door.session_cookie])
        token = await self._sessions.open(user)
        await self._ledger.note(visit, "login", about=name, outcome="done", who=name)
        response = RedirectResponse(local_path(visit.form.one("next")), status_code=303)
        self._door.set_cookie(response, self._door.session_cookie, token)
        self._door.set_cookie(response, self._door.guest_cookie, "")
        return response

    async def _note_failure(self, visit: Visit, name: str) -> None:
        """What was typed for a name may be a password: only a name that there is is written down."""
        if any(hmac.compare_digest(name.encode(), known.encode()) for known in self._around.users()):
            await self._ledger.note(visit, "login", about=name, outcome="wrong password", who=name)
        else:
            _log.warning("console_refused", status=403, page=LOGIN, peer=visit.peer, cause="login.wrong")

    def _say(self, visit: Visit, status: int, key: str, *, wait_s: float = 0.0) -> Response:
        problem = visit.say(key, wait=write_span(wait_s + 1, day=visit.say("word.day"))) if wait_s else visit.say(key)
        given = {"name": visit.form.one("name"), "next": visit.form.one("next"), "problem": problem}
        response = render("login.html", visit, status, **given)
        if wait_s:
            response.headers["Retry-After"] = str(int(wait_s) + 1)
        return response

    async def _log_out(self, visit: Visit) -> Response:
        await self._sessions.close(visit.request.cookies[self._door.session_cookie])
        await self._ledger.note(visit, "logout", about=visit.who, outcome="done")
        response = RedirectResponse(LOGIN, status_code=303)
        self._door.set_cookie(response, self._door.session_cookie, "")
        return response

    async def _prefer(self, visit: Visit) -> Response:
        """The browser remembers it; nobody else does."""
        response = RedirectResponse(_back(visit.form.one("back")), status_code=303)
        for cookie, field, known in (
            (LANGUAGE_COOKIE, "language", LANGUAGES),
            (THEME_COOKIE, "theme", THEMES),
        ):
            if visit.form.one(field) in known:
                self._door.set_cookie(response, cookie, visit.form.one(field), max_age=YEAR_S)
        return response


def _back(wanted: str) -> str:
    return wanted if wanted.partition("?")[0] == LOGIN and wanted.isprintable() else local_path(wanted)


def _client_of(peer: str) -> str:
    """Return who it is as far as guessing goes: with IPv6 a client has a whole network."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    return peer if address.version == 4 else str(ip_network((address, _NETWORK_BITS), strict=False))
