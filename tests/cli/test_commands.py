"""The commands that work on a store, as processes: what they print, what they leave behind, how they end."""

import json
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, KEYID
from tests.support.gateway import run_command, serve

pytestmark = pytest.mark.slow

MAIL = f"""\
From: Alerte <alerte@masociete.com>
To: sendsms@gw.example.org
Message-ID: <1@masociete.com>

<envoi>
<keyid>{KEYID}</keyid>
<emailId>1</emailId>
<num>0601020304</num>
<sms>.Bonjour</sms>
</envoi>
"""


def spoil(config: Path) -> None:
    """Put two mistakes in."""
    config.write_text(CONFIG.replace("recipients", "recipient").replace("127.0.0.1:0", "127.0.0.1:99999"))


def write_mail(config: Path) -> Path:
    """Write the mail to a file beside the configuration."""
    mail = config.with_name("mail.eml")
    mail.write_text(MAIL)
    return mail


async def make_store(config: Path) -> None:
    done = await run_command("migrate", "--config", str(config))
    assert done.status == 0, done.stderr


async def test_init_writes_what_serve_can_start_with(tmp_path: Path) -> None:
    folder = tmp_path / "a new folder"
    done = await run_command("init", str(folder))
    file = folder / "gateway.toml"

    assert done.status == 0, done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with serve(
        file, arguments=["--set", "smtp.listen=127.0.0.1:0", "--set", "http.listen=127.0.0.1:0"]
    ) as gateway:
        assert await gateway.stop() == 0


async def test_init_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("mine")

    done = await run_command("init", str(tmp_path))

    assert done.status == 1
    assert (tmp_path / "gateway.toml").read_text() == "mine"
    assert "it was not touched" in done.stderr


async def test_init_into_a_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("mine")

    done = await run_command("init", str(tmp_path / "gateway.toml"))

    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path}/gateway.toml is there already; it was not touched.\n"


async def test_migrate_makes_the_store_once(config: Path) -> None:
    first = await run_command("migrate", "--config", str(config))
    second = await run_command("migrate", "--config", str(config), "--json")

    assert first.stdout.startswith("The store was made")
    assert json.loads(second.stdout)["from"] == json.loads(second.stdout)["to"]


@pytest.mark.parametrize("command", ["serve", "migrate"])
async def test_a_configuration_that_cannot_be_used_is_status_3_with_every_error(command: str, config: Path) -> None:
    spoil(config)

    done = await run_command(command, "--config", str(config))

    assert (done.status, done.stdout) == (3, "")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "smtp.listen",
        "smtp.recipients",
        "smtp.recipient",
    ]


async def test_serve_without_a_store_is_status_4_and_says_what_to_do(config: Path) -> None:
    done = await run_command("serve", "--config", str(config))

    assert (done.status, done.stdout) == (4, "")
    assert "mail2sms migrate" in done.stderr
    assert not (config.parent / "gateway.db").exists()


async def test_inject_takes_a_mail_as_smtp_does(config: Path) -> None:
    await make_store(config)

    from_file = await run_command("inject", str(write_mail(config)), "--config", str(config))
    from_stdin = await run_command("inject", "-", "--config", str(config), "--json", stdin=MAIL.encode())

    assert (from_file.status, from_stdin.status) == (0, 0)
    assert from_file.stdout.startswith("250 2.0.0 Ok: queued as ")
    assert json.loads(from_stdin.stdout)["text"] == from_file.stdout.strip().removeprefix("250 2.0.0 ")


@pytest.mark.parametrize(
    ("mail", "arguments", "reply"),
    [
        (MAIL.replace(KEYID, "x"), [], "550 5.7.1 Refused with code 3"),
        (MAIL, ["--peer", "192.0.2.1"], "550 5.7.1 You may not send"),
        (MAIL.replace("From: Alerte <alerte@masociete.com>\n", ""), ["--sender", "a@example.org"], "550 5.7.1"),
        (MAIL, ["--sender", ""], "550 5.7.1"),
        (MAIL.replace("<envoi>", "<envoy>"), [], "554 5.6.0"),
        (MAIL + "\0", [], "554 5.6.0 Mail contains a NUL"),
        (MAIL + "x" * 70_000, [], "554 5.6.0 Mail contains a line that is too long"),
        (MAIL + "\n" * 11_000_000, [], "552 5.3.4"),
    ],
    ids=["key", "peer", "domain", "null sender", "not an envoi", "NUL", "long line", "too big"],
)
async def test_inject_refuses_what_smtp_refuses(config: Path, mail: str, arguments: list[str], reply: str) -> None:
    await make_store(config)

    done = await run_command("inject", "-", "--config", str(config), *arguments, stdin=mail.encode())

    assert done.status == 1
    assert done.stdout.startswith(reply)


async def test_inject_without_a_sender_or_a_file_is_a_wrong_command_line(config: Path) -> None:
    await make_store(config)
    nobody = await run_command("inject", "-", "--config", str(config), stdin=b"Subject: x\n\nx\n")
    nothing = await run_command("inject", "none.eml", "--config", str(config))
    nowhere = await run_command("inject", "-", "--config", str(config), "--peer", "x", stdin=MAIL.encode())

    assert [nobody.status, nothing.status, nowhere.status] == [2, 2, 2]
    assert "--sender" in nobody.stderr
    assert "none.eml cannot be read: No such file or directory" in nothing.stderr


async def test_inject_without_a_store_is_status_4(config: Path) -> None:
    done = await run_command("inject", "-", "--config", str(config), stdin=MAIL.encode())

    assert (done.status, done.stdout) == (4, "")
    assert "mail2sms migrate" in done.stderr


async def test_sandbox_says_what_is_wrong_with_its_options(tmp_path: Path) -> None:
    address = await run_command("sandbox", "--listen", "nowhere")
    script = await run_command("sandbox", "--listen", "127.0.0.1:0", "--script", str(tmp_path / "none.json"))

    assert [address.status, script.status] == [4, 4]
    assert "nowhere is not an address" in address.stderr
    assert "none.json: No such file or directory" in script.stderr
