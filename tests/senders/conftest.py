"""Keys and certificates: made once, for making them takes processes."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.store import StoreSettings, migrate
from tests.identity.conftest import Key, make_key
from tests.senders.world import Certificates, fill_zone
from tests.smtp.house import make_certificate
from tests.support.dns import DnsServer, dns_server

VOUCHED_FOR = ("scanner.cert.fr", "scanner.any.fr", "other.example")
STRAY = "stray.example"


@pytest.fixture(scope="session")
def keys() -> dict[str, Key]:
    """Return keys to sign with, by size."""
    return {str(bits): make_key(bits) for bits in (512, 1_024, 2_048)}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    clients = {name: make_certificate(folder, name) for name in (*VOUCHED_FOR, STRAY)}
    client_ca = folder / "clients.pem"
    client_ca.write_text("".join(clients[name].certificate.read_text() for name in VOUCHED_FOR))
    return Certificates(server=make_certificate(folder), clients=clients, client_ca=client_ca)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Return what copies an empty store of this version to a place."""
    first = tmp_path_factory.mktemp("empty") / "gateway.db"
    asyncio.run(migrate(StoreSettings(url=f"sqlite:///{first}")))

    def copy(place: Path) -> None:
        shutil.copyfile(first, place)

    return copy


@pytest.fixture
def database(tmp_path: Path, empty_store: Callable[[Path], None]) -> Path:
    """Return an empty store, in a folder of its own."""
    place = tmp_path / "gateway.db"
    empty_store(place)
    return place


@pytest.fixture
async def dns(keys: dict[str, Key]) -> AsyncIterator[DnsServer]:
    """Serve the zone of the document."""
    async with dns_server() as server:
        fill_zone(server, keys)
        yield server
