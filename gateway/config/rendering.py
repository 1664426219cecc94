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
from gateway.config.shape import describe_bounds, describe_type, is_list, kind_of, models_in, plain
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
whole tables are JSON: `MAIL2SMS_ACCOUNTS='[{"name": ...}]'`. A variable that has `__` and names no section or key is an
error too; any other is left to other programs.

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
        "senders": {},
        "store": {"url": "sqlite:///gateway.db"},
        "reports": {"smarthost": "127.0.0.1:25", "sender": "sendsms@gw.example.org"},
        "http": {"listen": "127.0.0.1:8025"},
        "dispatcher": {},
        "janitor": {},
        "retention": {},
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
        lines += _tables_left_out(section, model)
    for section in [name for name in Document.model_fields if name not in _STARTER]:
        lines += _table_left_out(section, Document.model_fields[section])
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
            lines += _table(title, field, model)
            for name, inner in _tables_in(model).items():
                lines += _table(_head(f"{section}.{name}", inner), inner, models_in(inner.annotation)[0])
    return "\n".join(lines) + "\n"


def _table(title: str, field: FieldInfo, model: type[Settings]) -> Iterator[str]:
    yield from (f"\n## `{title}`\n", f"{field.description}\n")
    yield from ("| Key | Takes | Default | Meaning |", "| --- | --- | --- | --- |")
    tables = _tables_in(model)
    yield from (_row(key, inner) for key, inner in model.model_fields.items() if key not in tables)


def _tables_in(model: type[Settings]) -> dict[str, FieldInfo]:
    """Return the keys of a table that are tables themselves, of one kind each."""
    return {key: field for key, field in model.model_fields.items() if len(models_in(field.annotation)) == 1}


def _head(path: str, field: FieldInfo) -> str:
    return f"[[{path}]]" if is_list(field.annotation) else f"[{path}]"


def _tables_left_out(section: str, model: type[Settings]) -> Iterator[str]:
    for name, field in _tables_in(model).items():
        yield from _table_left_out(f"{section}.{name}", field)


def _table_left_out(path: str, field: FieldInfo) -> Iterator[str]:
    """A table that need not be there: commented out as a whole, without a blank, unlike words and defaults."""
    model = models_in(field.annotation)[0]
    yield from ("", "", *_comment(field.description or ""), f"#{_head(path, field)}")
    for line in _keys(model, {}):
        is_key = line.startswith("# ") and line[2:].partition(" = ")[0] in model.model_fields
        yield f"#{line[2:]}" if is_key else line


def _keys(model: type[Settings], values: Mapping[str, object]) -> Iterator[str]:
    tables = _tables_in(model)
    for key in dict.fromkeys([*values, *(key for key in model.model_fields if key not in tables)]):
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
    taken = ", ".join(filter(None, [describe_type(field.annotation), describe_bounds(field)]))
    cells = [f"`{key}`", taken, shown, field.description or ""]
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
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update(value)
        return table.as_string()
    return tomlkit.item(value).as_string()
