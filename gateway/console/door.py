"""Who comes in: every request to the console passes here, and every answer leaves here.

Promises. Only under a name of ours (no page of elsewhere that points its name at us is answered). Only who is logged
in, with the role the page asks for. A POST only from a page of that very session. Every answer forbids the browser to
keep it, to frame it, and to run anything that is not a file of the console.
"""

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

import structlog
from markupsafe import escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from gateway.console.forms import NO_FORM, Form, FormRefused, read_fields, read_form
from gateway.console.rendering import ROOT, render
from gateway.console.roles import ConsoleUser, Role
from gateway.console.sessions import Sessions, csrf_of, is_csrf, new_token
from gateway.console.surroundings import Surroundings
from gateway.console.visit import THEMES, Theme, Visit
from gateway.console.words import choose_language
from gateway.store.errors import StoreUnavailable, StoreUnusable

_log = structlog.get_logger(__name__)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

LANGUAGE_COOKIE = "mail2sms_language"
THEME_COOKIE = "mail2sms_theme"
YEAR_S = 365 * 86_400

LOGIN = f"{ROOT}/login"

Page = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """The request is not done; the page says so with the words of `key`."""

    def __init__(self, status: int, key: str) -> None:
        super().__init__(key)
        self.status = status
        self.key = key


class Door:
    """Lets visitors in to pages."""

    def __init__(self, around: Surroundings, sessions: Sessions) -> None:
        self._around = around
        self._sessions = sessions
        prefix = "__Host-" if around.place.is_secure else ""
        self.session_cookie = f"{prefix}mail2sms_session"
        self.guest_cookie = f"{prefix}mail2sms_guest"

    # --- pages -----------------------------------------------------------------------------------------------------

    def page(self, page: Page, *, role: Role = Role.VIEW, is_live: bool = False) -> Endpoint:
        """Return what answers requests for a page of users with that role.

        `is_live`: the page asks for it by itself, which is no sign of its user.
        """

        async def answer(request: Request) -> Response:
            return await self._guarded(request, lambda: self._enter(request, page, role, is_live=is_live))

        return answer

    def open_page(self, page: Page) -> Endpoint:
        """Return what answers requests for a page of anybody: the log-in, and the choice of a language."""

        async def answer(request: Request) -> Response:
            return await self._guarded(request, lambda: self._welcome(request, page))

        return answer

    async def _enter(self, request: Request, page: Page, role: Role, *, is_live: bool) -> Response:
        token = request.cookies.get(self.session_cookie, "")
        user = await self._sessions.find(token, is_user=not is_live)
        if user is None:
            return _send_to_login(request)
        visit = await self._read(request, user, token)
        if not user.may(role):
            raise Refusal(403, "error.role")
        return await page(visit)

    async def _welcome(self, request: Request, page: Page) -> Response:
        """A guest has a token, too: nobody else's page can post the log-in."""
        token = request.cookies.get(self.session_cookie, "")
        user = await self._sessions.find(token, is_user=True) if token else None
        if user is not None:
            return await page(await self._read(request, user, token))
        known = request.cookies.get(self.guest_cookie, "")
        guest = known or new_token()
        response = await page(await self._read(request, None, guest))
        if not known:
            self.set_cookie(response, self.guest_cookie, guest)
        return response

    async def _read(self, request: Request, user: ConsoleUser | None, token: str) -> Visit:
        query = read_fields(request.scope["query_string"])
        if request.method != "POST":
            return self._visit(request, user, csrf_of(token), query=query)
        if not _is_of_ours(request):
            raise Refusal(403, "error.csrf")
        form = await read_form(request)
        if not is_csrf(form.one("token"), token):
            raise Refusal(403, "error.csrf")
        return self._visit(request, user, csrf_of(token), posted=form, query=query)

    def _visit(
        self, request: Request, user: ConsoleUser | None, csrf: str, posted: Form = NO_FORM, query: Form = NO_FORM
    ) -> Visit:
        language = choose_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
        return Visit(
            request=request,
            now=self._around.clock.now(),
            language=language,
            theme=_theme_of(request),
            csrf=csrf,
            user=user,
            form=posted,
            query=query,
        )

    async def _guarded(self, request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
        """Answer, whatever happens, with the headers that every answer has."""
        try:
            response = await self._answer(request, answer)
        except Refusal as refusal:
            response = self._explain(request, refusal.status, refusal.key)
        except FormRefused as refusal:
            response = self._explain(request, refusal.status, "error.form")
        except (StoreUnavailable, StoreUnusable):
            response = self._explain(request, 503, "error.store")
        except Exception:  # noqa: BLE001 here it is logged, and answered
            _log.exception("console_failed", method=request.method, page=request.url.path)
            response = self._explain(request, 500, "error.failed")
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    async def _answer(self, request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
        if not self._around.users():
            return PlainTextResponse("Not Found", status_code=404)
        if self._around.place.is_exposed:
            raise Refusal(403, "error.exposed")
        if not self._is_ours(request.headers.get("host", "")):
            raise Refusal(421, "error.host")
        return await answer()

    def _is_ours(self, host: str) -> bool:
        """True for a name of ours, and for any address: what a page of elsewhere cannot make its own name."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name == "localhost" or name in self._around.place.hosts or _is_address(name)

    def _explain(self, request: Request, status: int, key: str) -> Response:
        visit = self._visit(request, None, "")
        _log.warning("console_refused", status=status, page=request.url.path, peer=visit.peer, cause=key)
        return render("error.html", visit, status, status_code=status, sentence=visit.say(key))

    # --- cookies ---------------------------------------------------------------------------------------------------

    def set_cookie(self, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
        """The browser holds this, out of reach of scripts and of other sites; "" takes it away."""
        response.set_cookie(
            name,
            value,
            max_age=max_age if value else 0,
            path="/",
            secure=self._around.place.is_secure,
            httponly=True,
            samesite="strict",
        )


def local_path(wanted: str) -> str:
    """Return where to go on, if it is a page of the console; else its first one."""
    is_one = wanted.startswith(f"{ROOT}/") and "\\" not in wanted and wanted.isprintable() and "//" not in wanted
    return wanted if is_one and not wanted.startswith(LOGIN) else ROOT


def _send_to_login(request: Request) -> Response:
    if request.headers.get("hx-request") == "true":
        return PlainTextResponse("", status_code=401, headers={"HX-Redirect": LOGIN})
    if request.method != "GET":
        return RedirectResponse(LOGIN, status_code=303)
    query = request.url.query
    here = f"{request.url.path}?{query}" if query else request.url.path
    if request.headers.get("sec-fetch-site") == "cross-site":
        # Followed from a mail or another site: the browser kept the cookie back, and sends it when it comes from here
        return HTMLResponse(f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(here)}">')
    return RedirectResponse(f"{LOGIN}?next={quote(here, safe='/')}", status_code=303)


def _is_of_ours(request: Request) -> bool:
    """True unless the browser says that a page of elsewhere posts this."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _theme_of(request: Request) -> Theme:
    chosen = request.cookies.get(THEME_COOKIE)
    return next((theme for theme in THEMES if theme == chosen), "auto")
