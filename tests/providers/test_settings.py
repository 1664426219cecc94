"""What a `[[providers]]` block may say."""

import pytest
from pydantic import SecretStr, ValidationError

from gateway.providers.isendpro import IsendproSettings, SandboxSettings
from gateway.providers.registry import KINDS, build_provider
from gateway.providers.transport import ProviderUnusable
from tests.providers.carriers import KEY, SETTINGS, batch_of
from tests.support.clock import ManualClock


def test_settings_need_a_name_only() -> None:
    settings = SETTINGS.validate_python({"kind": "isendpro", "name": "carrier"})

    assert isinstance(settings, IsendproSettings)
    assert settings.base_url == "https://apirest.isendpro.com/cgi-bin"
    assert (settings.timeout_s, settings.batch_size, settings.width) == (30, 50, 4)


def test_every_kind_is_what_its_settings_say() -> None:
    needed = {
        "smspartner": {"api_key": KEY},
        "webhook": {"url": "https://sms.example/{to}", "body": '"{text}"'},
    }
    built = {
        kind: SETTINGS.validate_python({"kind": kind, "name": "carrier", **needed.get(kind, {})}) for kind in KINDS
    }

    assert {kind: type(settings) for kind, settings in built.items()} == dict(KINDS)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://carrier.example/cgi-bin/", "https://carrier.example/cgi-bin"),
        ("http://localhost:8026/cgi-bin", "http://localhost:8026/cgi-bin"),
        ("http://127.9.9.9/", "http://127.9.9.9"),
        ("http://[::1]:8026", "http://[::1]:8026"),
    ],
)
def test_address_is_https_or_of_this_machine(url: str, expected: str) -> None:
    assert IsendproSettings(name="carrier", base_url=url).base_url == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://carrier.example/cgi-bin",
        "http://127.0.0.1.carrier.example",
        "http://192.0.2.1",
        "ftp://carrier.example",
        "carrier.example/cgi-bin",
        "https://",
        "https://user:secret@carrier.example",
        "https://carrier.example/?x=1",
        "https://carrier.example/#x",
        "https://carrier.example:99999",
        "https://carrier.example:0",
        "https://carrier..example",
        f"https://{'x' * 64}.example",
        "https://[::1",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="base_url"):
        IsendproSettings(name="carrier", base_url=url)


@pytest.mark.parametrize("field", [{"batch_size": 501}, {"batch_size": 0}, {"timeout_s": 0}, {"widht": 3}])
def test_settings_out_of_bounds_are_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SETTINGS.validate_python({"kind": "isendpro", "name": "carrier", **field})


def test_sandbox_may_be_on_another_machine() -> None:
    settings = SETTINGS.validate_python({"kind": "sandbox", "name": "box", "base_url": "http://sandbox:8026/cgi-bin"})

    assert isinstance(settings, SandboxSettings)
    assert settings.base_url == "http://sandbox:8026/cgi-bin"


def test_key_file_that_was_not_read_is_not_taken_for_no_key() -> None:
    settings = IsendproSettings(name="carrier", keyid_file="isendpro.key")

    with pytest.raises(ProviderUnusable, match="keyid_file"):
        build_provider(settings, ManualClock())


def test_missing_authority_file_is_said_clearly() -> None:
    settings = IsendproSettings(name="carrier", ca_file="/nowhere/ca.pem")

    with pytest.raises(ProviderUnusable, match="ca_file"):
        build_provider(settings, ManualClock())


def test_key_does_not_print() -> None:
    settings = IsendproSettings(name="carrier", keyid=SecretStr(KEY))

    assert KEY not in repr(settings)
    assert KEY not in repr(batch_of("+33612340001"))


def test_batch_prints_neither_number_nor_text() -> None:
    printed = repr(batch_of("+33612340001"))

    assert "Bonjour" not in printed
    assert "612340001" not in printed
