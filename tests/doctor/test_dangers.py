"""What works and should not be so."""

from ipaddress import ip_network

import pytest

from gateway.config import Config
from gateway.doctor import Level, Section
from gateway.doctor.dangers import count_public
from tests.doctor.conftest import KEY, Write, find, levels, look, told

CONFIGURATION = Section.CONFIGURATION
OWN: dict[str, object] = {
    "smtp": {"hostname": "sms.agence.fr", "recipients": ["sms@sms.agence.fr"]},
    "reports": {"sender": "sms@sms.agence.fr"},
    "account": {"domains": ["agence.fr"], "keyid": "0123456789abcdef0123456789abcdef"},
    "provider": {"keyid": KEY},
}


def own(**more: dict[str, object]) -> dict[str, object]:
    """Return a configuration that nothing is to be said of, with more in its sections."""
    sections = {name: section for name, section in OWN.items() if isinstance(section, dict)}
    return {**OWN, **{name: {**sections.get(name, {}), **section} for name, section in more.items()}}


async def look_at(write: Write, **more: dict[str, object]) -> list[tuple[Level, str]]:
    config: Config = write(**own(**more))
    return [(one.level, one.what) for one in (await look(config, CONFIGURATION)).findings]


async def test_a_careful_configuration_is_fine(write: Write) -> None:
    assert await look_at(write) == [(Level.OK, "nothing doubtful in it")]


async def test_what_check_config_warns_of_is_told(write: Write) -> None:
    checkup = await look(write(), CONFIGURATION)

    assert find(checkup, "accounts[0].keyid", "easy to guess").level is Level.WARNING


async def test_the_key_of_the_document_is_a_failure(write: Write) -> None:
    assert find(await look(write(), CONFIGURATION), "everybody knows it").level is Level.FAILURE


async def test_the_key_of_the_document_is_a_failure_as_a_previous_one_too(write: Write) -> None:
    found = await look_at(write, account={"previous_keyid": "a296464ce012b8ab710a"})

    assert any(level is Level.FAILURE and "everybody knows it" in what for level, what in found)


async def test_examples_that_were_left_are_told(write: Write) -> None:
    finding = find(await look(write(), CONFIGURATION), "still as in the example")

    assert finding.level is Level.WARNING
    assert "hostname in [smtp]; recipients in [smtp]; sender in [reports]" in finding.what
    assert 'domains of account "masociete"' in finding.what


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (["10.0.0.0/8", "fd00::/8"], set()),
        (["62.1.2.0/24"], {Level.WARNING}),
        (["62.0.0.0/12"], {Level.WARNING}),
        ([f"{first}.0.0.0/8" for first in range(11, 75)], {Level.WARNING, Level.FAILURE}),
    ],
    ids=["private", "a few", "many", "everybody"],
)
async def test_a_listener_that_trusts_the_internet_is_told(
    write: Write, networks: list[str], expected: set[Level]
) -> None:
    found = await look_at(write, smtp={"listen": ["0.0.0.0:2525"], "networks": networks})
    levels_of_it = {one for one, what in found if "trusts" in what or "in clear" in what}

    assert levels_of_it == expected


async def test_an_account_that_nobody_can_send_for_is_a_failure(write: Write) -> None:
    found = await look_at(write, account={"auth": ["smtp_auth"]})

    assert any(level is Level.FAILURE and "nobody can send for masociete" in what for level, what in found)


async def test_reports_for_foreign_domains_are_noted(write: Write) -> None:
    found = await look_at(write, account={"report_domains": ["agence.fr", "gmail.example.net"]})

    assert (Level.NOTE, 'reports of account "masociete" may go to gmail.example.net, not domains of its own') in found


async def test_metrics_that_other_machines_can_read_are_a_warning(write: Write) -> None:
    token = {"name": "grafana", "token": "t" * 32}
    few, more = [await look_at(write, http={"listen": "0.0.0.0:8025", "tokens": tokens}) for tokens in ([], [token])]

    assert any(level is Level.WARNING and "health, metrics can be read from" in what for level, what in few)
    assert any("metrics, the interface for programs can be read from other machines" in what for _, what in more)


@pytest.mark.parametrize("require_tls", [True, False])
async def test_mail_in_clear_is_told_unless_every_account_refuses_it(write: Write, require_tls: bool) -> None:
    listener: dict[str, object] = {"listen": ["0.0.0.0:2525"], "networks": ["62.1.2.0/24"]}
    found = await look_at(write, smtp=listener, account={"require_tls": require_tls})

    assert any("in clear" in what for _, what in found) is not require_tls


async def test_a_callback_that_has_no_effect_is_told(write: Write) -> None:
    checkup = await look(write(provider={"keyid": KEY, "callback_secret": "0123456789abcdef"}), CONFIGURATION)

    assert any("nobody calls back" in line for line in told(checkup))
    assert Level.WARNING in levels(checkup)


def test_public_addresses_are_counted_once() -> None:
    networks = ["10.0.0.0/8", "62.0.0.0/24", "62.0.0.128/25", "2a01:e0a::/48", "::1/128"]

    assert count_public([ip_network(network) for network in networks]) == 256 + 2**16
