"""One certificate for all tests of TLS: making one takes a process."""

import pytest

from tests.smtp.house import Pem, make_certificate


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    return make_certificate(tmp_path_factory.mktemp("certificate"))
