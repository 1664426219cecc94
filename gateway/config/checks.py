"""What no single table can know: names that must agree, and what an operator would rather hear before than after.

Contradictions are looked for in the tables as they stand, so that one broken block hides nothing about the others.
"""

from collections.abc import Iterator, Mapping, Sequence

from gateway.config.model import Document
from gateway.config.problems import Problem, suggest
from gateway.config.trust import doubts_about_trust
from gateway.policy.accounts import Account, AuthMethod, ReceiptsBy
from gateway.providers.isendpro import IsendproSettings
from gateway.smtp.entrance import find_entrances
from gateway.web.server import is_loopback

Blocks = Sequence[tuple[int, Mapping[str, object]]]

_SHORT_KEYID_CHARS = 32
"""Below this a key is easier to guess than 128 random bits written in hexadecimal."""


def find_contradictions(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Everything that is wrong between blocks, whatever else is wrong with each of them."""
    accounts, providers, users = (_blocks(raw.get(section)) for section in ("accounts", "providers", "users"))
    yield from _doubles("accounts", "name", accounts)
    yield from _doubles("providers", "name", providers)
    yield from _doubles("users", "name", users)
    yield from _double_keys(accounts)
    http = raw.get("http")
    yield from _doubles("http.tokens", "name", _blocks(http.get("tokens") if isinstance(http, Mapping) else None))
    own = _own_addresses(raw)
    for index, account in accounts:
        for key, what in (("mail", "warnings"), ("reply_to", "replies")):
            if str(account.get(key)).lower() in own:
                yield Problem(
                    path=f"accounts[{index}].{key}",
                    message=f"is an address of this gateway: its {what} would go to nobody",
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
        if account.require_tls and document.smtp.starttls is None:
            message = "is true, and there is no certificate (smtp.starttls): no mail of the account can be taken"
            yield Problem(path=f"accounts[{index}].require_tls", message=message)
        if AuthMethod.AUTHRES in account.auth and not document.senders.relays:
            message = '"authres" proves nobody: there is no relay in [[senders.relays]]'
            yield Problem(path=f"accounts[{index}].auth", message=message)
    longest_s = document.reading.patience_s + 2 * document.reading.deadline_s  # a mail may be read twice
    if longest_s > document.smtp.handler_timeout_s:
        yield Problem(
            path="reading.deadline_s",
            message="twice this and patience_s exceed smtp.handler_timeout_s: what is read late is given up",
        )
    yield from _doubts_about_callbacks(document)
    yield from doubts_about_trust(document)
    used = {name for account in document.accounts for name in account.all_providers}
    for index, provider in enumerate(document.providers):
        if provider.name not in used:
            yield Problem(path=f"providers[{index}]", message="is not used by any account")
        elif isinstance(provider, IsendproSettings) and provider.keyid is None:
            yield Problem(
                path=f"providers[{index}].keyid_file",
                message="is absent: the keyid of each account that uses this carrier is passed on to it",
            )
    yield from _doubts_about_certificates(document)
    yield from _doubts_about_users(document)
    yield from _doubts_about_console(document)


def _doubts_about_callbacks(document: Document) -> Iterator[Problem]:
    """What carriers say later is lost, or is not asked for, or can be read on its way."""
    http = document.http
    if http.public_url is not None and http.public_url.startswith("http://"):
        yield Problem(
            path="http.public_url", message="is http: the secrets of callbacks can be read on their way; write https"
        )
    missing = [key for key, value in (("public_url", http.public_url), ("listen", http.listen)) if value is None]
    called = {one.name for one in document.providers if one.callback_secret is not None and not missing}
    for index, provider in enumerate(document.providers):
        if provider.callback_secret is not None and missing:
            keys = " and ".join(f"{key} of [http]" for key in missing)
            yield Problem(
                path=f"providers[{index}].callback_secret", message=f"has no effect without {keys}: nobody calls back"
            )
        if provider.callback_secret is None and provider.previous_callback_secret is not None:
            yield Problem(
                path=f"providers[{index}].previous_callback_secret",
                message="stands without callback_secret: the carrier is told no address to call back",
            )
    for index, account in enumerate(document.accounts):
        if account.receipts is ReceiptsBy.MAIL and not called.intersection(account.all_providers):
            yield Problem(
                path=f"accounts[{index}].receipts",
                message="asks for what none of its carriers says: none has a callback_secret that takes effect",
            )
        if account.reply_to is not None and not called.intersection(account.all_providers):
            yield Problem(
                path=f"accounts[{index}].reply_to",
                message="will get nothing: none of its carriers has a callback_secret that takes effect",
            )


def _doubts_about_account(path: str, account: Account) -> Iterator[Problem]:
    for name, key in (("keyid", account.keyid), ("previous_keyid", account.previous_keyid)):
        if key and len(key.get_secret_value()) < _SHORT_KEYID_CHARS:
            message = f"is shorter than {_SHORT_KEYID_CHARS} characters: easy to guess"
            yield Problem(path=f"{path}.{name}", message=message)
    if AuthMethod.SPF in account.auth:
        message = '"spf" is proven by everybody whose mails leave through the same provider: "dkim" is better'
        yield Problem(path=f"{path}.auth", message=message)


def _doubts_about_certificates(document: Document) -> Iterator[Problem]:
    smtp = document.smtp
    wants = {name for name in AuthMethod if any(name in account.auth for account in document.accounts)}
    has_ca = smtp.starttls is not None and smtp.starttls.client_ca is not None
    for index, account in enumerate(document.accounts):
        path = f"accounts[{index}].client_certificates"
        uses = AuthMethod.TLS_CLIENT_CERT in account.auth
        if uses and not account.client_certificates:
            yield Problem(path=path, message='is empty, so "tls_client_cert" in `auth` proves nobody')
        elif uses and not has_ca:
            message = "no client is asked for a certificate: smtp.starttls.client_ca is absent"
            yield Problem(path=path, message=message)
        elif account.client_certificates and not uses:
            yield Problem(path=path, message='proves nobody: `auth` does not name "tls_client_cert"')
    if has_ca and AuthMethod.TLS_CLIENT_CERT not in wants:
        message = 'clients are asked for certificates, and no account has "tls_client_cert" in its `auth`'
        yield Problem(path="smtp.starttls.client_ca", message=message)


def _doubts_about_users(document: Document) -> Iterator[Problem]:
    accounts = {account.name: account for account in document.accounts}
    is_offered = any(entrance.offers_auth for entrance in find_entrances(document.smtp))
    for index, user in enumerate(document.users):
        path = f"users[{index}]"
        if user.account is None and not user.roles:
            message = "is absent, and so are roles: the user can neither send nor use the console"
            yield Problem(path=f"{path}.account", message=message)
        elif user.account is None:
            continue
        elif AuthMethod.SMTP_AUTH not in accounts[user.account].auth:
            message = f'account "{user.account}" does not have "smtp_auth" in its `auth`: the password proves nothing'
            yield Problem(path=f"{path}.account", message=message)
        elif not is_offered:
            yield Problem(path=path, message="is of no use: no listener offers AUTH")
        elif document.smtp.starttls is None:
            message = "can authenticate on loopback alone: without smtp.starttls no password is taken from elsewhere"
            yield Problem(path=path, message=message)


def _doubts_about_console(document: Document) -> Iterator[Problem]:
    """Who may log in cannot, or not safely."""
    http = document.http
    first = next((index for index, user in enumerate(document.users) if user.roles), None)
    if first is None:
        return
    if http.listen is None:
        yield Problem(path=f"users[{first}].roles", message="are of no use: without http.listen there is no console")
    elif not http.tls_proxy and not is_loopback(http.listen):
        message = (
            "is not loopback: the console is not served there in clear; "
            "put a proxy with TLS in front and write tls_proxy = true, or listen on 127.0.0.1"
        )
        yield Problem(path="http.listen", message=message)


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
        if isinstance(value, str) and (earlier := first.setdefault(value, index)) != index:
            yield Problem(path=f"{section}[{index}].{key}", message=f"is the {key} of {section}[{earlier}] too")


def _double_keys(accounts: Blocks) -> Iterator[Problem]:
    """No key may be another account's too, present or previous. It is not repeated: it is a secret."""
    first: dict[str, tuple[int, str]] = {}
    for index, account in accounts:
        for key in ("keyid", "previous_keyid"):
            value = account.get(key)
            if isinstance(value, str) and (earlier := first.setdefault(value, (index, key))) != (index, key):
                whose = f"the {earlier[1]} of accounts[{earlier[0]}] too"
                yield Problem(path=f"accounts[{index}].{key}", message=f"is {whose}")


def _unknown_providers(path: str, block: Mapping[str, object], known: Sequence[str]) -> Iterator[Problem]:
    wanted = block.get("providers")
    for position, name in enumerate(wanted if isinstance(wanted, list) else []):
        yield from _unknown(f"{path}.providers[{position}]", "provider", name, known)


def _unknown(path: str, what: str, name: object, known: Sequence[str]) -> Iterator[Problem]:
    if isinstance(name, str) and name not in known:
        yield Problem(path=path, message=f'there is no {what} "{name}"{suggest(name, known)}')
