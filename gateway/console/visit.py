"""One request of somebody to the console: who, in which language, at what time."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from starlette.requests import Request

from gateway.console.forms import NO_FORM, Form
from gateway.console.roles import ConsoleUser, Role
from gateway.console.words import Language, say

Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = ("auto", "light", "dark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a page knows of whom it is for."""

    request: Request = field(repr=False)
    now: datetime
    language: Language
    theme: Theme
    csrf: str = field(repr=False)  # what the forms of the page carry
    user: ConsoleUser | None = None  # None: nobody is logged in
    form: Form = field(default=NO_FORM, repr=False)  # what was posted
    query: Form = field(default=NO_FORM, repr=False)  # what stands in the address

    @property
    def sees_all(self) -> bool:
        """True when numbers and texts are shown whole."""
        return self.user is not None and self.user.may(Role.OPERATE)

    @property
    def is_admin(self) -> bool:
        """True when it may be seen who did what."""
        return self.user is not None and self.user.may(Role.ADMIN)

    @property
    def who(self) -> str:
        """The user's name; nobody's is empty."""
        return "" if self.user is None else self.user.name

    @property
    def peer(self) -> str:
        """The address of the browser, or of what is in front of us."""
        return "" if self.request.client is None else self.request.client.host

    @property
    def path(self) -> str:
        """Where this is."""
        return self.request.url.path

    @property
    def here(self) -> str:
        """Where this is, with what was asked: for coming back."""
        query = self.request.url.query
        return f"{self.path}?{query}" if query else self.path

    @property
    def is_fragment(self) -> bool:
        """True when only a part of a page is asked for, by its script."""
        return self.request.headers.get("hx-request") == "true"

    def say(self, key: str, **values: object) -> str:
        """Return the words for `key` in the visitor's language."""
        return say(self.language, key, **values)
