"""Accounts for tests: the one of the source's examples, with whatever a test needs changed."""

from gateway.policy.accounts import Account

KEYID = "a296464ce012b8ab710a"


def make_account(**settings: object) -> Account:
    """Return a valid account; each setting given replaces the default of the tests."""
    values: dict[str, object] = {
        "name": "masociete",
        "keyid": KEYID,
        "domains": ("masociete.com",),
        "providers": ("carrier",),
    }
    return Account.model_validate(values | settings)
