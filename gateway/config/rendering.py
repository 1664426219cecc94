"""Settings as text: the example file to begin with, the reference, and what is in force, without its secrets.

All of it comes from the descriptions and defaults of the rooms' `Settings`: a new setting is described where it is
declared, and nowhere else.
"""

import secrets
import textwrap
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import tomlkit
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config.model import Document
from gateway.config.shape import describe_type, is_list, kind_of, models_in, plain
from gateway.providers.registry import KINDS
from gateway.settings import Settings

_WIDTH = 100
_KEYID_BYTES = 16

_HEAD = """\
The configuration of the mail-to-SMS gateway. What is commented out is the default ("": absent).

Check it with:  mail2sms check-config THIS-FILE
Any key can also come from the environment, as MAIL2SMS_SMTP__HOSTNAME for hostname in [smtp].
A secret is better kept in a file of its own (keyid_file), or in a systemd credential of that name.
"""

_REFERENCE = """\
# Configuration

<!-- Made by `mail2sms check-config --reference`; a test compares. Words to change stand in the rooms' `Settings`. -->

One file in TOML. `mail2sms init` writes one to start from, with every key and what it means. `check-config FILE`
says all that is wrong with one, each error with its path and, for a misspelt key, the nearest known one; with `--show`
it prints what is in force. An unknown key is an error.

**Order.** The file, then the environment, then options; each wins over the one before. In the environment a key is
`MAIL2SMS_SECTION__KEY`, as in `MAIL2SMS_SMTP__HOSTNAME=gw.example.org`. A list is values separated by commas, or JSON;
whole tables are JSON: `MAIL2SMS_ACCOUNTS='[{"name": ...}]'`. A variable that names no section or key is an error too.

**Secrets.** Each secret key has a second form ending in `_file` that names a file to read it from; blanks and line ends
around the content are removed. If `$CREDENTIALS_DIRECTORY` is set (systemd's `LoadCredential=`), a name without a slash
is looked for there first. `--show`, the log and errors never show a secret. A file with secrets that everybody on the
machine can read gives a warning.

**Paths.** A relative path, that of a SQLite store too, begins at the folder of the configuration file.

**Reading again.** SIGHUP reads the file again and checks all of it; one that has an error changes nothing."""

_STARTER: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "smtp": {
            "hostname": "gw.example.org",
            "listen": ["127.0.0.1:2525"],
            "recipients": ["sendsms@gw.example.org"],
            "networks": ["127.0.0.0/8", "::1/128"],
        },
        "reading": {},
        "store": {"url": "sqlite:///gateway.db"},
        "reports": {"smarthost": "127.0.0.1:25", "sender": "sendsms@gw.example.org"},
        "http": {"listen": "127.0.0.1:8025"},
        "dispatcher": {},
        "janitor": {},
        "log": {},
        "accounts": {"name": "masociete", "domains": ["masociete.com"], "providers": ["carrier"]},
        "providers": {"name": "carrier", "kind": "isendpro", "base_url": "https://apirest.isendpro.com/cgi-bin"},
    }
)
"""What an operator will want to look at first; these keys stand uncommented."""


def render_example(*, keyid: str | None = None) -> str:
    """Return an annotated file to start from, which is valid as it is. `keyid`: a fresh one unless given."""
    lines = [*_comment(_HEAD.strip())]
    for section, starter in _STARTER.items():
        values = dict(starter)
        if section == "accounts":
            values = {"name": values.pop("name"), "keyid": keyid or secrets.token_hex(_KEYID_BYTES), **values}
        field = Document.model_fields[section]
        head = f"[[{section}]]" if is_list(field.annotation) else f"[{section}]"
        model = KINDS[str(values["kind"])] if section == "providers" else models_in(field.annotation)[0]
        lines += ["", "", *_comment(field.description or ""), head]
        lines += _keys(model, values)
        for key, inner, own in _tables_in(model):
            lines += _block_left_out(f"[[{section}.{key}]]", inner, own)
    return "\n".join(lines) + "\n"


def render_in_force(document: Document) -> str:
    """Return the settings in force as TOML: defaults filled in, secrets as asterisks, absent keys left out."""
    known = set(Document.model_fields)
    values = document.model_dump(mode="json", include=known, exclude_none=True)
    return tomlkit.dumps({section: values[section] for section in Document.model_fields if values[section] != []})


def render_reference() -> str:
    """Return docs/configuration.md: every key of every table."""
    lines = [_REFERENCE]
    for section, field in Document.model_fields.items():
        models = models_in(field.annotation)
        for model in models:
            title = f"[[{section}]]" if is_list(field.annotation) else f"[{section}]"
            if len(models) > 1:
                title += f' with kind = "{kind_of(model)}"'
            lines += _table(title, field.description or "", model)
            for key, inner, own in _tables_in(model):
                lines += _table(f"[[{section}.{key}]]", inner.description or "", own)
    return "\n".join(lines) + "\n"


def _table(title: str, description: str, model: type[Settings]) -> Iterator[str]:
    yield from (f"\n## `{title}`\n", f"{description}\n")
    yield from ("| Key | Takes | Default | Meaning |", "| --- | --- | --- | --- |")
    yield from (_row(key, field) for key, field in model.model_fields.items())


def _tables_in(model: type[Settings]) -> Iterator[tuple[str, FieldInfo, type[Settings]]]:
    """Every key of a table that takes tables of its own."""
    for key, field in model.model_fields.items():
        for own in models_in(field.annotation):
            yield key, field, own


def _keys(model: type[Settings], values: Mapping[str, object]) -> Iterator[str]:
    tables = {key for key, _field, _own in _tables_in(model)}
    for key in dict.fromkeys([*values, *model.model_fields]):
        field = model.model_fields[key]
        if key in tables:
            continue  # they stand at the end, as blocks
        yield ""
        yield from _comment(field.description or "")
        if key in values:
            yield f"{key} = {_toml(values[key])}"
        elif _default(field) is None:
            yield f"# {key} = {_toml(_placeholder(field))}"
        else:
            yield f"# {key} = {_toml(plain(_default(field)))}"


def _block_left_out(head: str, field: FieldInfo, model: type[Settings]) -> Iterator[str]:
    """A block that an operator may add, all of it commented out."""
    yield ""
    yield from _comment(field.description or "")
    yield f"# {head}"
    for key, inner in model.model_fields.items():
        default = _default(inner)
        value = _placeholder(inner) if default is None else plain(default)
        yield from (f"#   {line.removeprefix('# ')}" for line in _comment(inner.description or ""))
        yield f"#   {key} = {_toml(value)}"


def _row(key: str, field: FieldInfo) -> str:
    shown = "required" if field.is_required() or key == "kind" else ""
    if key != "kind" and (default := _default(field)) is not None:
        shown = f"`{_toml(plain(default))}`"
    cells = [f"`{key}`", describe_type(field.annotation), shown, field.description or ""]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.split("\n"):
        for line in textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]:
            yield f"# {line}".rstrip()


def _default(field: FieldInfo) -> Any:  # noqa: ANN401 # whatever a field's default is
    return None if field.default is PydanticUndefined else field.default


def _placeholder(field: FieldInfo) -> object:
    """Return something of the right type for a key that is absent by default."""
    if is_list(field.annotation):
        return []
    return 0 if describe_type(field.annotation) in {"number", "whole number"} else ""


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline.as_string()
    return tomlkit.item(value).as_string()
