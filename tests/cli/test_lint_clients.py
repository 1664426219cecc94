"""`mail2sms lint` and `inject`: who the client is said to be, and what cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import KEYID, Finished, Run
from tests.smtp.house import Pem, make_certificate
from tests.support.configuration import NOBODY, write_config

HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21l$" + "A" * 43
USERS = f"""
[[users]]
name = "glpi"
password_hash = "{HASH}"
account = "masociete"

[[users]]
name = "boss"
password_hash = "{HASH}"
"""
MAIL = f"""\
From: alerte@masociete.com
Content-Type: text/plain; charset=utf-8

<envoi><keyid>{KEYID}</keyid><emailId>1</emailId><num>0601020304</num><sms>Salut</sms></envoi>
"""
ABROAD = ("--peer", "192.0.2.7")
STRANGER = "550 5.7.1 You may not send SMS through this gateway"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    return make_certificate(tmp_path_factory.mktemp("server"))


@pytest.fixture
def files(tmp_path: Path, server: Pem) -> Path:
    """Return a folder with a mail, and a configuration with everything that can be said."""
    (tmp_path / "mail.eml").write_text(MAIL, "utf-8")
    config = write_config(
        tmp_path / "gateway.toml",
        senders={"dns_servers": [NOBODY]},
        account={
            "keyid": KEYID,
            "auth": ["network", "smtp_auth", "tls_client_cert", "dkim"],
            "client_certificates": ["scanner.example.org"],
        },
        smtp={
            "starttls": {"certificate": str(server.certificate), "key": str(server.key)},
            "listeners": [
                {"name": "lan", "listen": ["127.0.0.1:0"], "networks": ["192.0.2.0/24"], "mode": "strict"},
                {"name": "wrapped", "listen": ["127.0.0.1:0"], "tls": "implicit", "auth": False},
                {"name": "old", "listen": ["127.0.0.1:0"], "profile": "legacy", "networks": ["10.0.0.0/8"]},
                {"name": "secured", "listen": ["127.0.0.1:0"], "require_tls": True},
            ],
        },
    )
    config.write_text(config.read_text("utf-8") + USERS, "utf-8")
    return tmp_path


def lint(run: Run, files: Path, *options: str) -> Finished:
    return run("lint", str(files / "mail.eml"), "--config", str(files / "gateway.toml"), *options)


def found(run: Run, files: Path, *options: str) -> dict[str, Any]:
    done = lint(run, files, "--json", *options)
    assert done.stderr == ""
    parsed = json.loads(done.stdout)
    assert isinstance(parsed, dict)
    return parsed


def reply_of(findings: dict[str, Any]) -> str:
    reply = findings["reply"]
    return f"{reply['code']} {reply['enhanced']} {reply['text']}"


@pytest.mark.parametrize(
    ("options", "proof"),
    [
        ((), "network"),
        ((*ABROAD, "--listener", "lan"), "network"),
        ((*ABROAD, "--user", "glpi", "--tls"), "smtp_auth"),
        (("--peer", "::ffff:192.0.2.7", "--user", "glpi", "--tls"), "smtp_auth"),
        (("--listener", "smtp", "--user", "glpi"), "network"),
    ],
)
def test_client_that_may_send_is_said_to_be_proven_by_what_it_shows(
    files: Path, run: Run, options: tuple[str, ...], proof: str
) -> None:
    findings = found(run, files, *options)

    assert findings["ok"], findings
    assert findings["sender"]["proof"] == proof
    assert proof in [one["method"] for one in findings["standing"]["tried"] if one["holds"]]


def test_certificate_proves_what_it_names(files: Path, run: Run, tmp_path: Path) -> None:
    own, other = (make_certificate(tmp_path, name) for name in ("scanner.example.org", "other.example.org"))
    known = found(run, files, *ABROAD, "--certificate", str(own.certificate))
    unknown = found(run, files, *ABROAD, "--certificate", str(other.certificate), "--dns")
    whys = {one["method"]: one["why"] for one in unknown["standing"]["tried"]}

    assert known["sender"]["proof"] == "tls_client_cert"
    assert reply_of(unknown) == STRANGER
    assert whys["tls_client_cert"].startswith("client_certificates has not the one shown (other.example.org; SHA-256 ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((*ABROAD, "--listener", "old"), "554 5.7.1 This service is not for your network"),
        (("--listener", "secured"), "530 5.7.0 Send STARTTLS first"),
        (ABROAD, STRANGER),
    ],
)
def test_what_is_refused_before_or_after_the_mail_is_said(
    files: Path, run: Run, options: tuple[str, ...], expected: str
) -> None:
    findings = found(run, files, *options)

    assert not findings["ok"]
    assert reply_of(findings) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--user", "nobody"), "there is no user nobody, but: glpi, boss"),
        (("--user", "boss"), "user boss has no account or no password"),
        ((*ABROAD, "--user", "glpi"), "takes passwords over TLS alone: add --tls"),
        (("--listener", "wrapped", "--user", "glpi"), "does not offer AUTH"),
        (("--listener", "elsewhere"), "there is no listener elsewhere, but: smtp, lan, wrapped, old, secured"),
        (("--peer", "10.1.2.3", "--listener", "old", "--tls"), "there is no TLS there"),
        (("--certificate", "mail.eml"), "cannot be read"),
        (("--peer", "nowhere"), "nowhere is not an address"),
    ],
)
@pytest.mark.parametrize("command", ["lint", "inject"])
def test_what_cannot_be_is_a_wrong_command_line(
    files: Path, run: Run, command: str, options: tuple[str, ...], expected: str
) -> None:
    done = run(command, str(files / "mail.eml"), "--config", str(files / "gateway.toml"), *options)

    assert done.status == 2
    assert expected in " ".join(done.stderr.replace("│", " ").split())


def test_dns_is_asked_only_when_it_is_to_be(files: Path, run: Run) -> None:
    mail = files / "mail.eml"
    signature = "v=1; a=rsa-sha256; d=masociete.com; s=s1; h=from:content-type; bh=AAAA; b=AAAA"
    mail.write_text(f"DKIM-Signature: {signature}\n{MAIL}", "utf-8")
    findings = found(run, files, *ABROAD)
    whys = {one["method"]: one["why"] for one in findings["standing"]["tried"]}

    assert reply_of(findings).startswith("451 4.4.3")
    assert whys["dkim"] == "the DNS was not asked: try --dns"


def test_people_read_what_each_method_came_to(files: Path, run: Run) -> None:
    done = lint(run, files, *ABROAD)
    shown = done.stdout[done.stdout.index("Who may send") :]

    assert shown.splitlines()[1:5] == [
        "  masociete, network: no: 192.0.2.7 is not in the listener's networks: 127.0.0.0/8, ::1/128",
        "  masociete, smtp_auth: no: nobody has authenticated",
        "  masociete, tls_client_cert: no: no certificate was shown",
        "  masociete, dkim: no: the mail has no signature, or no From: that it could be for",
    ]


@pytest.mark.parametrize(
    ("options", "expected"), [((), (1, "550 5.7.10")), (("--tls",), (0, "250 2.0.0"))], ids=["in clear", "TLS"]
)
@pytest.mark.parametrize("command", ["lint", "inject"])
def test_account_that_requires_tls_gets_nothing_in_clear(
    files: Path, run: Run, command: str, options: tuple[str, ...], expected: tuple[int, str]
) -> None:
    config = files / "gateway.toml"
    text = config.read_text("utf-8")
    config.write_text(text.replace("client_certificates", "require_tls = true\nclient_certificates"), "utf-8")
    run("migrate", "--config", str(config))
    done = run(command, str(files / "mail.eml"), "--config", str(config), *options)

    assert (done.status, " ".join(done.stdout.split()[:2])) == expected, done.stderr
