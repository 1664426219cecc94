"""Pages from templates: escaped always, in a visitor's language, with what that visitor may see."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from gateway.console.visit import Visit
from gateway.console.words import LANGUAGES, NAMES, has_words, say
from gateway.text.msisdn import mask
from gateway.text.spans import write_span

ROOT = "/console"
STATIC: Mapping[str, str] = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

LIVE = "every 5s"
"""How often a page looks at what changes by itself, while somebody looks at it."""

_HIDDEN = "•••"


def read_static(name: str) -> bytes:
    """Return a file of the console's own."""
    return resources.files("gateway.console").joinpath("static", name).read_bytes()


@lru_cache(maxsize=1)
def static_version() -> str:
    """Return what the addresses of these files hold, so that a new version is fetched anew."""
    digest = sha256()
    for name in STATIC:
        digest.update(read_static(name))
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates; whatever they are given is escaped."""
    made = Environment(
        loader=PackageLoader("gateway.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    static = f"{ROOT}/static/{static_version()}"
    made.globals.update(root=ROOT, static=static, languages=LANGUAGES, language_names=NAMES, live=LIVE)
    return made


def render(template: str, visit: Visit, status: int = 200, /, **given: object) -> HTMLResponse:
    """Return the page."""
    context = {"visit": visit, "form_token": visit.csrf, **_tools(visit), **given}
    return HTMLResponse(environment().get_template(template).render(context), status_code=status)


def _tools(visit: Visit) -> dict[str, object]:
    """Return what templates say and show things with."""
    language = visit.language

    def t(key: str, **values: object) -> str:
        return say(language, key, **values)

    def name_of(section: str, value: object) -> str:
        """A word of the code, such as a state; what has no words here stands as it is."""
        key = f"{section}.{value}"
        return say(language, key) if has_words(key) else str(value)

    def tel(value: str | None) -> str:
        return "–" if not value else value if visit.sees_all else mask(value)

    def text(value: str | None) -> str:
        return "–" if value is None else value if visit.sees_all else _HIDDEN

    def when(at: datetime | None) -> Markup | str:
        if at is None:
            return "–"
        local = at.astimezone()
        is_today = local.date() == visit.now.astimezone().date()
        shown = f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M}"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{local:%Y-%m-%d %H:%M:%S %Z}", shown
        )

    def age(since: datetime | None) -> str:
        return "–" if since is None else duration((visit.now - since) / timedelta(seconds=1))

    def duration(seconds: float) -> str:
        return write_span(seconds, day=say(language, "word.day"))

    def count(value: float) -> str:
        """Thousands apart, as the language has it."""
        return f"{value:,}".replace(",", "\u202f" if language == "fr" else ",")

    return {
        "t": t, "name_of": name_of, "tel": tel, "text": text, "when": when, "age": age, "duration": duration,
        "count": count, "zone": f"{visit.now.astimezone():%Z}",
    }  # fmt: skip
