"""The page at `/`: the newest SMS, for whoever tries the gateway with a browser beside it. No script."""

from collections.abc import Sequence
from html import escape

from gateway.sandbox.messages import CarriedSms

NEWEST_SHOWN = 200
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Carrier sandbox: {count} SMS</title>
<style>
body {{ font-family: sans-serif; margin: 1.5em; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #ccc; padding: 0.4em 0.6em; text-align: left; vertical-align: top; }}
td.text {{ white-space: pre-wrap; }}
</style>
</head>
<body>
<h1>Carrier sandbox</h1>
<p>{count} SMS accepted, the newest {shown} below. Nothing is sent to anybody.</p>
<table>
<thead><tr><th>Time</th><th>Number</th><th>From</th><th>Text</th><th>Parts</th><th>Tracker</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def render_page(newest: Sequence[CarriedSms], count: int) -> str:
    """Return the page that shows these of `count` SMS."""
    return _PAGE.format(count=count, shown=len(newest), rows="\n".join(_render_row(message) for message in newest))


def _render_row(message: CarriedSms) -> str:
    plain = [message["time"], message["number"], message["originator"] or ""]
    cells = "".join(f"<td>{escape(value)}</td>" for value in plain)
    rest = f"<td>{message['parts']}</td><td>{escape(message['tracker'] or '')}</td>"
    return f'<tr>{cells}<td class="text">{escape(message["text"])}</td>{rest}</tr>'
