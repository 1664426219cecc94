"""The certificate of the file: usable, believed, for how long."""

from datetime import timedelta
from pathlib import Path

from gateway.clock import SystemClock
from gateway.doctor import Checkup, Level, Section
from gateway.doctor.certificates import advise_renewal
from gateway.smtp.settings import TlsSettings
from tests.doctor.conftest import Write, find, levels, look, told
from tests.smtp.house import Pem, make_certificate
from tests.support.clock import ManualClock


async def look_at(write: Write, pem: Pem, clock: ManualClock | None = None, **more: object) -> Checkup:
    starttls = {"certificate": str(pem.certificate), "key": str(pem.key), **more}
    return await look(write(smtp={"starttls": starttls}), Section.TLS, clock=clock)


async def test_a_certificate_signed_by_itself_is_noted_and_fine(write: Write, tmp_path: Path) -> None:
    checkup = await look_at(write, make_certificate(tmp_path))

    assert find(checkup, "certificate and key fit").level is Level.OK
    assert find(checkup, "signed by itself").level is Level.NOTE
    assert levels(checkup) == {Level.OK, Level.NOTE}


async def test_an_expired_certificate_is_a_failure(write: Write, tmp_path: Path) -> None:
    later = ManualClock(SystemClock().now() + timedelta(days=91))
    checkup = await look_at(write, make_certificate(tmp_path, days=90), later)

    finding = find(checkup, "has run out")
    todo = finding.todo or ""

    assert finding.level is Level.FAILURE
    assert f"write a new one to {tmp_path}/" in todo
    assert "(certificate of [smtp.starttls]) and its key to" in todo
    assert "certbot renew" in todo
    assert "systemctl reload mail2sms" in todo
    assert "serve would not start" in todo


async def test_a_certificate_that_runs_out_soon_is_a_warning(write: Write, tmp_path: Path) -> None:
    later = ManualClock(SystemClock().now() + timedelta(days=61, hours=12))  # in the middle of a day of it
    checkup = await look_at(write, make_certificate(tmp_path, days=90), later)

    finding = find(checkup, "runs out in 28 days")

    assert finding.level is Level.WARNING
    assert "systemctl reload mail2sms" in (finding.todo or "")


def test_a_certificate_that_is_a_credential_is_taken_up_by_a_restart() -> None:
    handed = Path("/run/credentials/mail2sms.service")
    settings = TlsSettings(certificate=handed / "tls.pem", key=handed / "tls.key")

    assert "systemctl restart mail2sms" in advise_renewal(settings)
    assert "reload" not in advise_renewal(settings)


async def test_the_key_of_another_certificate_is_a_failure(write: Write, tmp_path: Path) -> None:
    pem, other = make_certificate(tmp_path), make_certificate(tmp_path, "other.example.org")
    checkup = await look_at(write, Pem(certificate=pem.certificate, key=other.key))

    finding = find(checkup, "is not the key of")

    assert finding.level is Level.FAILURE
    assert f"key = {other.key}" in (finding.todo or "")


async def test_a_missing_file_is_a_failure(write: Write, tmp_path: Path) -> None:
    checkup = await look_at(write, Pem(certificate=tmp_path / "none.pem", key=tmp_path / "none.key"))

    assert find(checkup, "cannot be read").level is Level.FAILURE


async def test_a_certificate_for_another_host_is_a_warning(write: Write, tmp_path: Path) -> None:
    checkup = await look_at(write, make_certificate(tmp_path, "mail.example.net"))

    assert find(checkup, 'is for mail.example.net, not for "gw.example.org"').level is Level.WARNING


async def test_a_missing_intermediate_is_a_warning(write: Write, tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root.example", is_ca=True)
    checkup = await look_at(write, make_certificate(tmp_path, issuer=root))

    finding = find(checkup, "nobody this machine trusts vouches", "one certificate in the file")
    assert finding.level is Level.WARNING
    assert "fullchain.pem" in (finding.todo or "")


async def test_clients_authorities_that_have_run_out_are_a_warning(write: Write, tmp_path: Path) -> None:
    root = make_certificate(tmp_path, "root.example", is_ca=True, days=10)
    pem, later = make_certificate(tmp_path), ManualClock(SystemClock().now() + timedelta(days=11))

    assert find(await look_at(write, pem, client_ca=str(root.certificate)), "vouched for by 1").level is Level.OK
    assert find(await look_at(write, pem, later, client_ca=str(root.certificate)), "1 of 1").level is Level.WARNING


async def test_without_a_certificate_it_depends_on_who_can_connect(write: Write) -> None:
    alone = await look(write(), Section.TLS)
    seen = await look(write(smtp={"listen": ["0.0.0.0:0"]}), Section.TLS)

    assert levels(alone) == {Level.OK}
    assert levels(seen) == {Level.NOTE}
    assert len(told(seen)) == 1
