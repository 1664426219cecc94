"""AUTH: who is believed, who is not, and what guessing costs."""

import asyncio
import statistics
from base64 import b64encode
from collections import Counter
from time import perf_counter

import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs

from gateway.intake import Reply
from gateway.smtp import replies
from gateway.smtp.gatekeeper import MAX_AT_ONCE
from gateway.smtp.passwords import MAX_WAITING, WIDTH, Busy, Passwords, User, hash_password, is_hash, is_password
from gateway.smtp.settings import SmtpSettings
from gateway.smtp.tally import Tally
from tests.smtp.house import MAIL, Client, Pem, RememberingHandler, client_context, open_house, smtp_settings
from tests.support.clock import ManualClock

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
GLPI = User(name="glpi", password_hash=CHEAP.hash("sésame, ouvre-toi"), account="masociete")
CONSOLE = User(name="boss", password_hash=CHEAP.hash("only looks"), account=None)
USERS = (GLPI, CONSOLE)


def plain(name: str, password: str, meant: str = "") -> bytes:
    return b64encode(f"{meant}\0{name}\0{password}".encode())


RIGHT = plain("glpi", "sésame, ouvre-toi")
WRONG = plain("glpi", "sésame")


def abroad(**changes: object) -> SmtpSettings:
    return smtp_settings(networks=[], **changes)


async def send_mail(client: Client) -> str:
    for command in (b"MAIL FROM:<a@masociete.com>", b"RCPT TO:<sendsms@gw.example.org>", b"DATA"):
        await client.ask(command)
    return await client.ask(MAIL + b".")


# --- who is believed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "exchange",
    [
        [(b"AUTH PLAIN " + RIGHT, replies.AUTHENTICATED)],
        [(b"auth plain  " + RIGHT, replies.AUTHENTICATED)],
        [(b"AUTH PLAIN " + plain("glpi", "sésame, ouvre-toi", "glpi"), replies.AUTHENTICATED)],
        [(b"AUTH PLAIN " + plain("glpi", "se\u0301same, ouvre-toi"), replies.AUTHENTICATED)],
        [(b"AUTH PLAIN", "334 "), (RIGHT, replies.AUTHENTICATED)],
        [
            (b"AUTH LOGIN", "334 VXNlcm5hbWU6"),
            (b64encode(b"glpi"), "334 UGFzc3dvcmQ6"),
            (b64encode("sésame, ouvre-toi".encode()), replies.AUTHENTICATED),
        ],
        [
            (b"AUTH LOGIN " + b64encode(b"glpi"), "334 UGFzc3dvcmQ6"),
            (b64encode("sésame, ouvre-toi".encode()), replies.AUTHENTICATED),
        ],
    ],
)
async def test_right_password_proves_the_account(exchange: list[tuple[bytes, Reply | str]]) -> None:
    handler = RememberingHandler()
    async with open_house(handler, abroad(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        for said, expected in exchange:
            assert await client.ask(said) == str(expected)
        await send_mail(client)

    assert [mail.authenticated_account for mail in handler.stored] == ["masociete"]


@pytest.mark.parametrize(
    "said",
    [
        WRONG,
        plain("nobody", "sésame, ouvre-toi"),
        plain("boss", "only looks"),  # no account
        plain("GLPI", "sésame, ouvre-toi"),
    ],
)
async def test_everybody_else_is_told_the_same_and_proves_nothing(said: bytes) -> None:
    handler = RememberingHandler()
    async with open_house(handler, abroad(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")

        assert await client.ask(b"AUTH PLAIN " + said) == str(replies.AUTH_FAILED)
        await send_mail(client)
    assert [mail.authenticated_account for mail in handler.stored] == [None]


@pytest.mark.parametrize(
    "said",
    [
        b"!!!!",
        b"====",
        b64encode(b"glpi"),
        b64encode(b"glpi\0secret"),
        b64encode(b"\0glpi\0a\0b"),
        b64encode(b"\0\0secret"),
        b64encode(b"\0glpi\0"),
        b64encode(b"other\0glpi\0secret"),
        b64encode(b"\0glpi\0\xff\xfe"),
        b64encode(b"\0" + b"g" * 65 + b"\0secret"),
        b64encode(b"\0glpi\0" + b"p" * 1_025),
        b"A" * 3_000,
    ],
)
async def test_malformed_answer_is_an_error_and_no_try(said: bytes) -> None:
    async with open_house(RememberingHandler(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        await client.ask(b"AUTH PLAIN")

        assert await client.ask(said) == str(replies.AUTH_SYNTAX)
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTHENTICATED)


async def test_longest_password_there_is_can_be_sent() -> None:
    password = "é" * 512
    user = User(name="n" * 64, password_hash=CHEAP.hash(password), account="masociete")
    async with open_house(RememberingHandler(), users=[user]) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")

        assert await client.ask(b"AUTH PLAIN " + plain("n" * 64, password)) == str(replies.AUTHENTICATED)


async def test_auth_has_its_place_in_the_dialogue() -> None:
    async with open_house(RememberingHandler(), users=USERS) as house, await house.greeted() as client:
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.HELLO_FIRST)
        await client.ask(b"EHLO c")
        assert await client.ask(b"AUTH") == str(replies.AUTH_SYNTAX)
        assert await client.ask(b"AUTH CRAM-MD5") == str(replies.UNKNOWN_MECHANISM)
        assert await client.ask(b"AUTH LOGIN") == "334 VXNlcm5hbWU6"
        assert await client.ask(b"*") == str(replies.AUTH_CANCELLED)
        await client.ask(b"MAIL FROM:<a@masociete.com>")
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTH_WITHIN_MAIL)
        await client.ask(b"RSET")
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTHENTICATED)
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTH_ALREADY)


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("AUTH=<>", replies.SENDER_OK),  # as mail servers write it
        ("SIZE=10 AUTH=<>", replies.SENDER_OK),
        ("auth=e+3Dmc2@masociete.com", replies.SENDER_OK),
        ("AUTH=", replies.MAIL_SYNTAX),
        ("AUTH=a+zz", replies.MAIL_SYNTAX),
        ("AUTH=<> AUTH=<>", replies.MAIL_SYNTAX),
        ("AUTH=" + "a" * 501, replies.MAIL_SYNTAX),
    ],
)
async def test_mail_may_say_who_wrote_it_where_auth_is_offered(parameter: str, expected: Reply) -> None:
    async with open_house(RememberingHandler(), abroad(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO glpi")
        await client.ask(b"AUTH PLAIN " + RIGHT)
        answer = await client.ask(f"MAIL FROM:<a@masociete.com> {parameter}".encode())

    assert answer == str(expected)


async def test_client_that_does_not_answer_within_auth_is_told_and_closed() -> None:
    idle = smtp_settings(trusted_idle_timeout_s=0.1)
    async with open_house(RememberingHandler(), idle, users=USERS) as house, await house.greeted() as client:
        await client.send(b"EHLO c\r\nAUTH LOGIN\r\n")

        assert (await client.rest())[-1] == str(replies.IDLE)


async def test_answer_without_end_is_cut() -> None:
    async with open_house(RememberingHandler(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        await client.ask(b"AUTH PLAIN")
        await client.send(b"A" * 300_000)

        assert await client.rest() == [str(replies.LINE_TOO_LONG)]


# --- only where nobody listens ---------------------------------------------------------------------------------------


async def test_no_password_is_asked_for_in_clear(pem: Pem) -> None:
    settings = smtp_settings(starttls=pem.as_settings(required=True))
    async with open_house(RememberingHandler(), settings, users=USERS) as house, await house.greeted() as client:
        await client.send(b"EHLO c\r\n")
        told = [await client.line() for _ in range(6)]
        with capture_logs() as logs:
            assert await client.ask(b"AUTH PLAIN") == str(replies.AUTH_NEEDS_TLS)
            assert logs == []
            assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTH_NEEDS_TLS)
        assert [event["event"] for event in logs] == ["password_exposed"]
        await client.ask(b"STARTTLS")
        await client.begin_tls(client_context(pem))
        await client.send(b"EHLO c\r\n")
        told_over_tls = [await client.line() for _ in range(6)]

        assert "250-AUTH PLAIN LOGIN" not in told
        assert "250-AUTH PLAIN LOGIN" in told_over_tls
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTHENTICATED)


async def test_what_was_proven_before_tls_is_forgotten(pem: Pem) -> None:
    handler = RememberingHandler()
    async with (
        open_house(handler, smtp_settings(starttls=pem.as_settings()), users=USERS) as house,
        await house.greeted() as client,
    ):
        await client.ask(b"EHLO c")
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTHENTICATED)  # loopback
        await client.ask(b"STARTTLS")
        await client.begin_tls(client_context(pem))
        await client.ask(b"EHLO c")
        await send_mail(client)

    assert handler.stored[0].authenticated_account is None


@pytest.mark.parametrize(("users", "auth"), [((), None), ((CONSOLE,), None), (USERS, False)])
async def test_nothing_is_offered_to_nobody(users: tuple[User, ...], auth: bool | None) -> None:
    listener = {"name": "one", "listen": ["127.0.0.1:0"], "auth": auth}
    settings = smtp_settings(listen=[], listeners=[listener])
    async with open_house(RememberingHandler(), settings, users=users) as house, await house.greeted() as client:
        await client.send(b"EHLO c\r\n")

        assert not [line for line in [await client.line() for _ in range(5)] if "AUTH" in line]
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.NOT_IMPLEMENTED)


async def test_reload_brings_new_users_to_sessions_that_are_open() -> None:
    async with open_house(RememberingHandler()) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.NOT_IMPLEMENTED)
        await house.listener.reload(USERS)

        assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTHENTICATED)


# --- guessing --------------------------------------------------------------------------------------------------------


async def test_connection_with_too_many_wrong_passwords_is_closed() -> None:
    async with open_house(RememberingHandler(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        await client.send(b"".join(b"AUTH PLAIN " + WRONG + b"\r\n" for _ in range(5)))

        assert await client.rest() == [*[str(replies.AUTH_FAILED)] * 2, str(replies.TOO_MANY_FAILURES)]


async def test_a_good_mail_between_does_not_forgive_wrong_passwords() -> None:
    async with open_house(RememberingHandler(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        for _ in range(2):
            await client.ask(b"AUTH PLAIN " + WRONG)
            await send_mail(client)

        assert await client.ask(b"AUTH PLAIN " + WRONG) == str(replies.TOO_MANY_FAILURES)


async def test_address_with_too_many_wrong_passwords_is_not_checked_any_more() -> None:
    tight = smtp_settings(max_auth_failures_per_client=2)
    async with open_house(RememberingHandler(), tight, users=USERS) as house:
        for _ in range(2):
            async with await house.greeted() as client:
                await client.ask(b"EHLO c")
                assert await client.ask(b"AUTH PLAIN " + WRONG) == str(replies.AUTH_FAILED)
        async with await house.greeted() as client:
            await client.ask(b"EHLO c")

            assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTH_LOCKED)
            assert await send_mail(client) == "250 2.0.0 Stored as 01TEST"


async def test_right_passwords_lock_nobody_out() -> None:
    tight = smtp_settings(max_auth_failures_per_client=1)
    async with open_house(RememberingHandler(), tight, users=USERS) as house:
        for _ in range(3):
            async with await house.greeted() as client:
                await client.ask(b"EHLO c")
                assert await client.ask(b"AUTH PLAIN " + RIGHT) == str(replies.AUTHENTICATED)


async def ask_at_once(said: bytes, count: int) -> Counter[str]:
    tight = smtp_settings(max_auth_failures_per_client=4)
    async with open_house(RememberingHandler(), tight, users=USERS) as house:
        clients = [await house.greeted() for _ in range(count)]
        for client in clients:
            await client.ask(b"EHLO c")
        for client in clients:
            await client.send(b"AUTH PLAIN " + said + b"\r\n")
        answers = Counter([await client.reply() for client in clients])
        for client in clients:
            client.writer.transport.abort()
    return answers


async def test_guesses_at_the_same_moment_are_counted_one_by_one() -> None:
    answers = await ask_at_once(WRONG, 20)

    assert answers == {str(replies.AUTH_FAILED): 4, str(replies.AUTH_LOCKED): 16}


async def test_right_passwords_at_the_same_moment_are_all_right() -> None:
    assert await ask_at_once(RIGHT, MAX_AT_ONCE) == {str(replies.AUTHENTICATED): MAX_AT_ONCE}


async def test_one_address_has_so_many_passwords_checked_at_once_and_no_more() -> None:
    answers = await ask_at_once(RIGHT, MAX_AT_ONCE + 15)

    assert answers[str(replies.AUTH_UNAVAILABLE)] > 0
    assert answers[str(replies.AUTHENTICATED)] >= MAX_AT_ONCE


async def test_log_says_who_tried_and_never_what() -> None:
    async with open_house(RememberingHandler(), users=USERS) as house, await house.greeted() as client:
        await client.ask(b"EHLO c")
        with capture_logs() as logs:
            await client.ask(b"AUTH PLAIN " + WRONG)
            await client.ask(b"AUTH PLAIN " + plain("typed-my-password-here", "x"))
            await client.ask(b"AUTH PLAIN " + RIGHT)  # the third wrong one would close the connection

    assert [(event["event"], event["user"], event.get("reason")) for event in logs] == [
        ("authentication_failed", "glpi", "wrong password"),
        ("authentication_failed", None, "unknown name"),
        ("client_authenticated", "glpi", None),
    ]
    assert "sésame" not in str(logs)
    assert "typed" not in str(logs)


def test_count_goes_down_by_itself_and_has_a_bound() -> None:
    clock = ManualClock()
    tally = Tally(forgiven_every_s=60, now=clock.monotonic, max_keys=3)
    for _ in range(4):
        tally.add("a")
    clock.advance(90)

    assert tally.count("a") == 2.5
    clock.advance(150)
    assert tally.count("a") == 0
    for key in ("a", "b", "a", "c", "d"):
        tally.add(key)
    assert [key for key in "abcd" if tally.count(key)] == ["a", "c", "d"]


@pytest.mark.slow
async def test_flood_of_guesses_keeps_no_good_client_waiting() -> None:
    dear = PasswordHasher(time_cost=1, memory_cost=16_384, parallelism=1)
    user = User(name="glpi", password_hash=dear.hash("right"), account="masociete")
    handler = RememberingHandler()
    async with open_house(handler, smtp_settings(max_auth_failures_per_client=1_000), users=[user]) as house:
        guessers = [await house.greeted() for _ in range(MAX_AT_ONCE)]
        for guesser in guessers:
            await guesser.send(b"EHLO c\r\n" + (b"AUTH PLAIN " + WRONG + b"\r\n") * 3)
        async with asyncio.timeout(2):
            good = Client(*await asyncio.open_connection(*house.address, local_addr=("127.0.0.2", 0)))
            await good.reply()
            await good.ask(b"EHLO c")
            assert await good.ask(b"AUTH PLAIN " + plain("glpi", "right")) == str(replies.AUTHENTICATED)
            assert await send_mail(good) == "250 2.0.0 Stored as 01TEST"
        for client in (good, *guessers):
            client.writer.transport.abort()


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_hash_is_one_of_argon2id_and_of_that_password_alone() -> None:
    made = hash_password("sésame, ouvre-toi")
    passwords = Passwords([User(name="glpi", password_hash=made, account="a")])

    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert is_hash(made)
    assert asyncio.run(passwords.check("glpi", "sésame, ouvre-toi")) is not None
    assert asyncio.run(passwords.check("glpi", "sésame, ouvre-toi ")) is None


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21l$" + "A" * 43,
        "$argon2id$v=19$m=9999999,t=1,p=1$c29tZXNhbHRzb21l$" + "A" * 43,
        "$argon2id$v=19$m=65536,t=99,p=1$c29tZXNhbHRzb21l$" + "A" * 43,
        "$argon2id$v=19$m=8,t=1,p=4$c29tZXNhbHRzb21l$" + "A" * 43,
        "$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHRzb21l$" + "A" * 43,
    ],
)
def test_hash_of_another_kind_or_of_a_cost_nobody_can_bear_is_none(text: str) -> None:
    assert not is_hash(text)


@pytest.mark.parametrize(("text", "expected"), [("", False), ("a\0b", False), ("é" * 513, False), ("é" * 512, True)])
def test_password_has_bounds(text: str, expected: bool) -> None:
    assert is_password(text) is expected


@pytest.mark.slow
async def test_unknown_name_costs_as_much_as_a_wrong_password() -> None:
    dear = PasswordHasher(time_cost=2, memory_cost=16_384, parallelism=1)
    passwords = Passwords([User(name="glpi", password_hash=dear.hash("right"), account="a")])
    times: dict[str, list[float]] = {"glpi": [], "nobody": []}
    for _ in range(15):
        for name, taken in times.items():
            begun_at = perf_counter()
            await passwords.check(name, "wrong")
            taken.append(perf_counter() - begun_at)
    known, unknown = (statistics.median(taken) for taken in times.values())

    assert 0.5 < known / unknown < 2


async def test_flood_of_passwords_is_told_to_come_back() -> None:
    passwords = Passwords([GLPI])
    async with asyncio.TaskGroup() as tasks:
        checks = [tasks.create_task(try_one(passwords)) for _ in range(WIDTH + MAX_WAITING + 20)]
    outcomes = [check.result() for check in checks]

    assert outcomes.count("busy") == 20
    assert outcomes.count("wrong") == WIDTH + MAX_WAITING


async def try_one(passwords: Passwords) -> str:
    try:
        return "wrong" if await passwords.check("glpi", "wrong") is None else "right"
    except Busy:
        return "busy"
