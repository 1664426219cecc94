"""What the listener is told of the accounts: the networks in which nobody waits for the banner."""

from ipaddress import ip_network
from pathlib import Path

from gateway.config import load
from gateway.daemon.building import account_networks
from tests.support.configuration import write_config


def test_networks_of_all_accounts_are_known_each_once(tmp_path: Path) -> None:
    others = [
        {"name": "b", "keyid": "key-b", "networks": ["192.0.2.0/24", "2001:db8::/32"]},
        {"name": "c", "keyid": "key-c", "networks": []},
    ]
    config = write_config(tmp_path / "gateway.toml", account={"networks": ["192.0.2.0/24"]}, more_accounts=others)

    assert account_networks(load(config, environ={})) == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
