"""The page at `/`: a telephone for each number, with what it has seen, and a box to answer from.

It is drawn here, whole, and works without a script. With one, it is drawn again whenever something changed. Nothing but
the sandbox's own style and script may run in it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from types import MappingProxyType

from gateway.sandbox.carrier import Carrier
from gateway.sandbox.messages import CarriedSms, State
from gateway.sandbox.orders import Api
from gateway.sandbox.phones import MOST_TEXT, SentReply, converse
from gateway.sandbox.receipts import PARIS

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
STYLE = resources.files("gateway.sandbox").joinpath("page.css").read_text("utf-8")
SCRIPT = resources.files("gateway.sandbox").joinpath("page.js").read_text("utf-8")

_NAMES: Mapping[str, str] = MappingProxyType({Api.ISENDPRO.value: "iSendPro", Api.SMSPARTNER.value: "SMS Partner"})
_STATES: Mapping[State, str] = MappingProxyType(
    {
        "scheduled": "scheduled",
        "waiting": "sent",
        "delivered": "delivered",
        "undelivered": "not delivered",
        "cancelled": "cancelled",
        "trial": "trial: not sent",
    }
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="10"></noscript>
<title>Carrier sandbox</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/sandbox/page.css">
<script src="/sandbox/page.js" defer></script>
</head>
<body>
<header>
<h1>Carrier sandbox</h1>
<p>Nothing is sent to anybody. Times are those of Paris. <span id="live" hidden>Live.</span></p>
</header>
{phones}
</body>
</html>
"""
_EMPTY = """<p class="empty">No SMS yet. Send one:</p>
<pre class="empty">curl -d '{"keyid": "any", "num": "0612340001", "sms": "Bonjour"}' http://HOST:PORT/cgi-bin/sms</pre>"""


def render_page(carrier: Carrier) -> str:
    """Return the whole page."""
    return _PAGE.format(phones=render_phones(carrier))


def render_phones(carrier: Carrier) -> str:
    """Return what changes: the telephones, the one that something happened to last first."""
    phones = [_render_phone(carrier, number, bubbles) for number, bubbles in converse(carrier.box, carrier.replies)]
    count = f'<p id="count">{len(carrier.box)} SMS taken, {len(carrier.replies.list())} answers.</p>'
    return f'<main id="phones">\n{count}\n{"".join(phones) or _EMPTY}\n</main>'


def anchor_of(msisdn: str) -> str:
    """Return the name of a telephone's place on the page."""
    return f"phone-{msisdn.removeprefix('+')}"


def _render_phone(carrier: Carrier, number: str, bubbles: Sequence[CarriedSms | SentReply]) -> str:
    stopped = [_NAMES[api.value] for api, account in carrier.accounts.items() if number in account.stops]
    stop = f'<p class="stopped">STOP at {" and ".join(stopped)}</p>' if stopped else ""
    shown = "\n".join(_render_sms(one) if "msisdn" in one else _render_reply(one) for one in bubbles)
    return f"""<section class="phone" id="{anchor_of(number)}">
<h2>{escape(number)}</h2>
<div class="state">{stop}</div>
<ol class="talk">
{shown}
</ol>
<form method="post" action="/sandbox/replies">
<input type="hidden" name="number" value="{escape(number)}">
<input class="text" name="text" maxlength="{MOST_TEXT}" placeholder="Answer" aria-label="Answer from {escape(number)}"
 autocomplete="off">
<button>Send</button>
<button name="stop" value="true" class="stop">STOP</button>
</form>
</section>
"""


def _render_sms(sms: CarriedSms) -> str:
    sender = sms["originator"] or "short code"
    parts = f"{sms['parts']} parts" if sms["parts"] > 1 else "1 part"
    details = [_NAMES[sms["api"]], parts, _STATES[sms["state"]]]
    if sms["state"] == "scheduled" and sms["deliver_at"] is not None:
        details[-1] = f"scheduled for {_write_day(sms['deliver_at'])}"
    if sms["tracker"]:
        details.append(sms["tracker"])
    return f"""<li class="sms {sms["state"]}"><p class="from">{escape(sender)} {_render_time(sms["time"])}</p>
<p class="text">{escape(sms["text"])}</p><p class="about">{escape(" · ".join(details))}</p></li>"""


def _render_reply(reply: SentReply) -> str:
    about = [_NAMES[reply["api"]]] + ([] if reply["told"] else ["no callback address"])
    return f"""<li class="reply"><p class="from">answer {_render_time(reply["time"])}</p>
<p class="text">{escape(reply["text"])}</p><p class="about">{escape(" · ".join(about))}</p></li>"""


def _render_time(at: str) -> str:
    return f'<time datetime="{at}">{datetime.fromisoformat(at).astimezone(PARIS):%H:%M:%S}</time>'


def _write_day(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(PARIS):%Y-%m-%d %H:%M}"
