"""Carriers of every kind in a configuration: read, shown, and what they make of texts."""

import re
import tomllib
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.config.rendering import render_in_force
from gateway.daemon.building import text_profiles
from gateway.protocol.codes import Code
from gateway.providers.handling import Handling
from gateway.providers.registry import build_provider
from gateway.providers.smspartner import LongNumberProvider, ShortCodeProvider, SmsPartnerSettings
from gateway.providers.webhook import TwoWayWebhookProvider, WebhookSettings
from tests.config.conftest import GOOD, Find, Load
from tests.support.clock import ManualClock

ROOT = Path(__file__).resolve().parents[2]
FILES = {"smspartner.key": "key of partner", "smspartner.cb": "Zk3vQ0wT8xY1bN5m", "house.key": "key of house",
    "house.cb": "Aa3vQ0wT8xY1bN5m"}  # fmt: skip


def _documented() -> str:
    """Return every example block of the manual of carriers."""
    text = (ROOT / "docs" / "carriers.md").read_text("utf-8")
    return "\n".join(re.findall(r"```toml\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def documented(load_text: Load, tmp_path: Path) -> Config:
    """Return a configuration with the blocks of the manual, their secrets in files."""
    for name, secret in FILES.items():
        (tmp_path / name).write_text(secret, "utf-8")
        (tmp_path / name).chmod(0o600)
    http = '[http]\nlisten = "127.0.0.1:0"\npublic_url = "https://gw.example.org"\n'
    return load_text(GOOD.replace('["carrier"]', '["carrier", "long", "house"]') + _documented() + http)


def test_examples_of_the_manual_are_carriers(documented: Config) -> None:
    _, long, house = documented.providers
    built = [build_provider(settings, ManualClock()) for settings in (long, house)]

    assert isinstance(long, SmsPartnerSettings)
    assert isinstance(house, WebhookSettings)
    assert (long.long_number, house.errors["no_funds"], house.errors["bad_key"]) == (
        "33755500011",
        Code.C12_NO_CREDIT,
        Handling.HOLD,
    )
    assert [type(provider) for provider in built] == [LongNumberProvider, TwoWayWebhookProvider]
    assert documented.warnings == ()


def test_what_is_shown_can_be_read_again_and_holds_no_secret(documented: Config) -> None:
    shown = render_in_force(documented)
    house = tomllib.loads(shown)["providers"][2]

    assert house["errors"] == {
        "invalid_number": 7,
        "opted_out": 11,
        "no_funds": 12,
        "bad_key": "hold",
        "try_later": "retry",
    }
    assert house["receipt_statuses"]["DELIVRD"] == "delivered"
    assert not [secret for secret in FILES.values() if secret in shown]
    assert WebhookSettings.model_validate({**house, "callback_secret": FILES["house.cb"]}).errors["no_funds"] == 12


def test_described_carrier_says_itself_what_it_makes_of_texts(load_text: Load, tmp_path: Path) -> None:
    block = """
[[providers]]
name = "house"
kind = "webhook"
url = "https://sms.example.org/{to}"
body = '"{text}"'
max_parts = 3
stop_mention = "STOP SMS au 36180"
"""
    profile = text_profiles(load_text(GOOD + block))["house"]

    assert (profile.max_parts, profile.stop_mention, profile.stop_units) == (3, " STOP SMS au 36180", 18)


def test_partner_without_a_long_number_is_the_other_way(load_text: Load) -> None:
    block = '[[providers]]\nname = "short"\nkind = "smspartner"\napi_key = "for trying"\n'
    config = load_text(GOOD + block)

    assert isinstance(build_provider(config.providers[1], ManualClock()), ShortCodeProvider)
    assert text_profiles(config)["short"].max_parts == 10


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('errors = { "1" = 5 }', "providers[1].errors.1: must be a code of the annex"),
        ('headers = { "X Y" = "1" }', 'providers[1].headers: "X Y" is not the name of a header'),
        ('boddy = "x"', 'providers[1].boddy: unknown key; did you mean "body"?'),
        ('answer_id = "a..b"', "providers[1].answer_id: is not a place"),
        ("body = '{\"{text}\"'", "providers[1]: body: is not JSON"),
        ("body = '\"{txt}\"'", "providers[1]: body: the placeholder {txt} is not known; there are: {to}, {text}"),
    ],
)
def test_mistake_in_a_description_is_said_with_its_path(find_problems: Find, line: str, problem: str) -> None:
    lines = ['name = "house"', 'kind = "webhook"', 'url = "https://sms.example.org/{to}"', "body = '\"{text}\"'", line]
    block = "\n".join({one.split(" ")[0]: one for one in lines}.values())
    found = find_problems(f"{GOOD}\n[[providers]]\n{block}\n")

    assert len(found) == 1
    assert found[0].startswith(problem)
