"""Writing an envoi by hand: the mail is built here, judged while one types, and sent by our own front door."""

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway.console.door import Door
from gateway.console.envoi_mail import Draft, Incomplete, Kind, Written, suggest_email_id, write_mail
from gateway.console.forms import Form
from gateway.console.ledger import Ledger
from gateway.console.rendering import ROOT, render
from gateway.console.roles import Role
from gateway.console.surroundings import Surroundings
from gateway.console.throttle import Throttle
from gateway.console.visit import Visit
from gateway.mailer.delivery import DeliveryFailed
from gateway.policy.accounts import Account

PAGE = f"{ROOT}/compose"

_LOOKS_AT_ONCE, _LOOK_EVERY_S = 20, 0.5
_LONGEST_FIELD = 200


class Composer:
    """The form, the verdict on what is in it, and the sending."""

    def __init__(self, around: Surroundings, door: Door, ledger: Ledger) -> None:
        self._around = around
        self._door = door
        self._ledger = ledger
        self._looks = Throttle(around.clock, at_once=_LOOKS_AT_ONCE, forgiven_every_s=_LOOK_EVERY_S)

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        door, role = self._door, Role.OPERATE
        return [
            Route(PAGE, door.page(self._show, role=role), methods=["GET"]),
            Route(PAGE, door.page(self._send, role=role), methods=["POST"]),
            Route(f"{PAGE}/verdict", door.page(self._judge, role=role), methods=["POST"]),
        ]

    async def _show(self, visit: Visit) -> Response:
        accounts = list(self._around.accounts())
        name = visit.query.one("account")
        chosen = next((account for account in accounts if account.name == name), accounts[0])
        sender = f"console@{_plain_domain(chosen)}"
        draft = Draft(
            account=chosen.name,
            sender=sender,
            kind=Kind.SAME,
            numbers="",
            text="",
            email_id=suggest_email_id(visit.now),
            not_to=sender,
        )
        return self._page(visit, draft)

    def _page(self, visit: Visit, draft: Draft, *, status: int = 200, problem: str | None = None) -> Response:
        given = {"draft": draft, "kinds": [kind.value for kind in Kind], "problem": problem}
        accounts = [account.name for account in self._around.accounts()]
        return render("compose.html", visit, status, accounts=accounts, **given)

    async def _judge(self, visit: Visit) -> Response:
        """The verdict, as `mail2sms lint` gives it; nothing is stored."""
        draft = read_draft(visit.form)
        if self._looks.wait_s(visit.who) > 0:
            return render("verdict.html", visit, 429, written=None, findings=None, missing="compose.too_often")
        self._looks.add(visit.who)
        try:
            written = self._write(visit, draft)
        except Incomplete as incomplete:
            return render("verdict.html", visit, written=None, findings=None, missing=incomplete.key)
        findings = await self._around.examine(draft.sender, written.mail)
        return render("verdict.html", visit, written=written, findings=findings, missing=None)

    async def _send(self, visit: Visit) -> Response:
        draft = read_draft(visit.form)
        try:
            written = self._write(visit, draft)
        except Incomplete as incomplete:
            return self._page(visit, draft, status=422, problem=visit.say(incomplete.key))
        try:
            reply = await self._around.deliver(draft.sender, self._around.recipient, written.mail)
        except DeliveryFailed as error:
            await self._ledger.note(visit, "compose", about=_about(draft), outcome="no answer")
            return self._page(visit, draft, status=502, problem=visit.say("compose.no_answer", reason=str(error)))
        await self._ledger.note(visit, "compose", about=_about(draft), outcome=reply)
        if not reply.startswith("250"):
            return self._page(visit, draft, status=422, problem=visit.say("compose.refused", reply=reply))
        mail_id = reply.rpartition(" ")[2]
        return RedirectResponse(f"{ROOT}/mail/{mail_id}", status_code=303)

    def _write(self, visit: Visit, draft: Draft) -> Written:
        account = self._around.accounts().by_name(draft.account)
        if account is None:
            raise Incomplete("compose.no_account")
        return write_mail(
            draft, account, recipient=self._around.recipient, hostname=self._around.hostname, now=visit.now
        )


def read_draft(form: Form) -> Draft:
    """Return what was typed into the form."""
    kind = next((kind for kind in Kind if kind.value == form.one("kind")), Kind.SAME)
    one = {
        name: form.one(name)[:_LONGEST_FIELD]
        for name in ("account", "sender", "email_id", "originator", "tracker", "smslong", "date", "ack_to", "not_to")
    }
    return Draft(
        **one,
        kind=kind,
        numbers=form.text("numbers"),
        text=form.text("text"),
        nostop=form.one("nostop") == "1",
        ucs2=form.one("ucs2") == "1",
    )


def _plain_domain(account: Account) -> str:
    return account.domains[0].removeprefix("*.")


def _about(draft: Draft) -> str:
    return f"{draft.account}, emailId {draft.email_id}"
