"""What no single table can know: names that must agree, and what an operator would rather hear before than after.

Contradictions are looked for in the tables as they stand, so that one broken block hides nothing about the others.
"""

from collections.abc import Iterator, Mapping, Sequence

from gateway.config.model import Document
from gateway.config.problems import Problem, suggest
from gateway.policy.accounts import Account, AuthMethod

Blocks = Sequence[tuple[int, Mapping[str, object]]]

_SHORT_KEYID_CHARS = 32
"""Below this a key is easier to guess than 128 random bits written in hexadecimal."""

_WORKING_METHODS = frozenset({AuthMethod.NETWORK})
_DEFAULT_METHODS = frozenset({AuthMethod.NETWORK, AuthMethod.SMTP_AUTH})


def find_contradictions(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Everything that is wrong between blocks, whatever else is wrong with each of them."""
    accounts, providers, users = (_blocks(raw.get(section)) for section in ("accounts", "providers", "users"))
    yield from _doubles("accounts", "name", accounts)
    yield from _doubles("providers", "name", providers)
    yield from _doubles("users", "name", users)
    yield from _doubles("accounts", "keyid", accounts)
    own = _own_addresses(raw)
    for index, account in accounts:
        if str(account.get("mail")).lower() in own:
            yield Problem(
                path=f"accounts[{index}].mail",
                message="is an address of this gateway: its warnings would go to nobody",
            )
        yield from _unknown_providers(f"accounts[{index}]", account, _names(providers))
        for number, route in _blocks(account.get("routes")):
            yield from _unknown_providers(f"accounts[{index}].routes[{number}]", route, _names(providers))
    for index, user in users:
        yield from _unknown(f"users[{index}].account", "account", user.get("account"), _names(accounts))


def find_doubts(document: Document) -> Iterator[Problem]:
    """Everything that works and is probably not what was meant."""
    for index, account in enumerate(document.accounts):
        yield from _doubts_about_account(f"accounts[{index}]", account)
    longest_s = document.reading.patience_s + 2 * document.reading.deadline_s  # a mail may be read twice
    if longest_s > document.smtp.handler_timeout_s:
        yield Problem(
            path="reading.deadline_s",
            message="twice this and patience_s exceed smtp.handler_timeout_s: what is read late is given up",
        )
    used = {name for account in document.accounts for name in account.all_providers}
    for index, provider in enumerate(document.providers):
        if provider.name not in used:
            yield Problem(path=f"providers[{index}]", message="is not used by any account")
        elif provider.keyid is None and provider.kind != "sandbox":
            yield Problem(
                path=f"providers[{index}].keyid_file",
                message="is absent: the keyid of each account that uses this carrier is passed on to it",
            )
    for index, _user in enumerate(document.users):
        yield Problem(path=f"users[{index}]", message="is not used in this version: no SMTP AUTH and no console yet")


def _doubts_about_account(path: str, account: Account) -> Iterator[Problem]:
    if account.keyid and len(account.keyid.get_secret_value()) < _SHORT_KEYID_CHARS:
        yield Problem(path=f"{path}.keyid", message=f"is shorter than {_SHORT_KEYID_CHARS} characters: easy to guess")
    methods = frozenset(account.auth)
    if not methods & _WORKING_METHODS:
        yield Problem(path=f"{path}.auth", message='names nothing this version can do but "network": nobody can send')
    elif unused := sorted(method.value for method in methods - _DEFAULT_METHODS):
        quoted = ", ".join(f'"{method}"' for method in unused)
        yield Problem(path=f"{path}.auth", message=f"{quoted} cannot be checked in this version and proves nobody")


def _blocks(section: object) -> list[tuple[int, Mapping[str, object]]]:
    """Return what is a table in `[[section]]`, with its position."""
    if not isinstance(section, list):
        return []
    return [(index, block) for index, block in enumerate(section) if isinstance(block, dict)]


def _own_addresses(raw: Mapping[str, object]) -> set[str]:
    smtp, reports = raw.get("smtp"), raw.get("reports")
    recipients = smtp.get("recipients") if isinstance(smtp, dict) else None
    sender = reports.get("sender") if isinstance(reports, dict) else None
    return {str(one).lower() for one in (*(recipients if isinstance(recipients, list) else ()), sender) if one}


def _names(blocks: Blocks) -> list[str]:
    return [str(block["name"]) for _index, block in blocks if "name" in block]


def _doubles(section: str, key: str, blocks: Blocks) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, block in blocks:
        value = block.get(key)
        # The value is not repeated: a keyid is a secret.
        if isinstance(value, str) and (earlier := first.setdefault(value, index)) != index:
            yield Problem(path=f"{section}[{index}].{key}", message=f"is the {key} of {section}[{earlier}] too")


def _unknown_providers(path: str, block: Mapping[str, object], known: Sequence[str]) -> Iterator[Problem]:
    wanted = block.get("providers")
    for position, name in enumerate(wanted if isinstance(wanted, list) else []):
        yield from _unknown(f"{path}.providers[{position}]", "provider", name, known)


def _unknown(path: str, what: str, name: object, known: Sequence[str]) -> Iterator[Problem]:
    if isinstance(name, str) and name not in known:
        yield Problem(path=path, message=f'there is no {what} "{name}"{suggest(name, known)}')
