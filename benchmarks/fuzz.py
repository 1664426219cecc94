"""Coverage-guided fuzzing of whatever reads foreign bytes: by hand, for as long as one likes.

    pip install atheris
    python -m benchmarks.fuzz mail|envoi|csv|answers|child [--seconds 240] [--input FILE]

`mail` judges a mail as the gateway does, `envoi` reads a text and decides, `csv` the two files (the first NUL stands
between them), `answers` a carrier's answer, `child` the answer of a process that reads mails. Beyond the exceptions
that are promised, each says what must hold of what comes out. What breaks that, or takes ten seconds, ends the run with
the input in `fuzz-<target>-crash-...`; `--input` runs such a file alone. A finding becomes a test, in the folder of the
room it was found in, before it is mended.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from gateway.intake.judging import Judge, Judgement, Taken
    from gateway.intake.order import Arrival, IntakeRules
    from gateway.intake.submission import Submission
    from gateway.lifecycle import Accepted, MailId, SmsState
    from gateway.policy.accounts import Account, Accounts
    from gateway.policy.admission import Admission, QueuedSms, admit
    from gateway.policy.texts import TEXT_PROFILES
    from gateway.protocol.envoi import Envoi, Mode, read_envoi
    from gateway.protocol.mime import Body
    from gateway.protocol.reading import Limits, Unreadable
    from gateway.providers.isendpro_answers import assign, read_entries, verdict_of_entry
    from gateway.reader.answers import Garbled, decode_answer, encode_answer
    from gateway.reader.inline import InlineReader
    from gateway.reader.mail import read_mail
    from gateway.reports import ReportRules
    from gateway.text.gsm import is_gsm

from tests.support.accounts import make_account

ROOT = Path(__file__).parents[1]
LONGEST_BYTES = 8192
SLOWEST_S = 10
AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
PROFILE = TEXT_PROFILES["isendpro"]
ACCOUNT: Account = make_account(default_smslong=2)
JUDGES = tuple(
    Judge(
        accounts=Accounts([make_account(mode=mode), make_account(name="other", keyid="k", domains=("other.example",))]),
        text_profiles={"carrier": PROFILE},
        rules=IntakeRules(
            reports=ReportRules(hostname="gw.example.org", validity_s=3600), own_addresses=frozenset({"a@b.example"})
        ),
        reader=InlineReader(Limits()),
    )
    for mode in Mode
)
WORDS = [
    "<envoi>", "</envoi>", "<keyid>", "</keyid>", "<num>", "</num>", "<num1>", "</num1>", "<sms>", "</sms>", "<sms1>",
    "</sms1>", "<emailId>", "</emailId>", "<smslong>", "</smslong>", "<ucs2>1</ucs2>", "<date_envoi>", "</date_envoi>",
    "<![CDATA[", "]]>", "&amp;", "&#x", "<?xml ", "<!", "[1]", ";;", "mobiles.csv", "message.csv", "boundary=",
    "From: ", "Content-Type: ", "text/plain", "multipart/mixed", "charset=", "utf-16", "windows-1252", "format=flowed",
    "Content-Transfer-Encoding: ", "base64", "quoted-printable", "\\x0D\\x0A", "\\x0D\\x0A\\x0D\\x0A", "0601020304",
    "+33", "0033", "\\xC3\\x96", "\\xE2\\x82\\xAC", "\\xCC\\x81", "\\xF0\\x9F\\x98\\x80", "etat", "code",
    "tel",
]  # fmt: skip


def fuzz_mail(data: bytes) -> None:
    for judge in JUDGES:
        submission = Submission(
            content=data,
            envelope_from="alerte@masociete.com",
            peer="127.0.0.1",
            listener="main",
            networks=(ip_network("127.0.0.0/8"),),
            mode=Mode.LENIENT,
        )
        judgement = _finish(judge, Arrival(submission=submission, mail_id=MailId("M1"), at=AT))
        assert str(judgement.reply).isascii()
        assert len(str(judgement.reply)) < 512
        order = judgement.written.order if isinstance(judgement, Taken) else None
        for sms in order.envoi.sms if order and order.envoi else ():
            assert (sms.state is SmsState.QUEUED) == (sms.code is None)


def fuzz_envoi(data: bytes) -> None:
    for mode in Mode:
        _decide(Body(text=data.decode("utf-8", "replace")), mode)


def fuzz_csv(data: bytes) -> None:
    mobiles, _, message = data.decode("utf-8", "replace").partition("\0")
    text = "<envoi><keyid>k</keyid><emailId>1</emailId></envoi>"
    files = {name: content for name, content in (("mobiles.csv", mobiles), ("message.csv", message)) if content}
    for mode in Mode:
        _decide(Body(text=text, files=files), mode)


def fuzz_answers(data: bytes) -> None:
    numbers = ["33612340001", "33612340002", "33612340001"]
    entries = read_entries(data)
    found = assign(entries, numbers) if entries else []
    assert len(found) in (0, len(numbers))
    for entry in filter(None, found):
        for status in (200, 400, 503):
            verdict = verdict_of_entry(entry, status=status, raw=entry.text, retry_at=None, is_999_refusal=True)
            assert isinstance(verdict, Accepted) == (entry.code == 0 and status == 200)


def fuzz_child(data: bytes) -> None:
    try:
        answer = decode_answer(data)
    except Garbled:
        return
    written = encode_answer(answer)
    assert encode_answer(decode_answer(written)) == written


TARGETS: dict[str, Callable[[bytes], None]] = {
    "mail": fuzz_mail,
    "envoi": fuzz_envoi,
    "csv": fuzz_csv,
    "answers": fuzz_answers,
    "child": fuzz_child,
}


def _finish(judge: Judge, arrival: Arrival) -> Judgement:
    """What a judge says of a mail that is small enough not to go to a thread: it never waits."""
    try:
        judge.judge(arrival).send(None)
    except StopIteration as finished:
        judgement: Judgement = finished.value
        return judgement
    raise AssertionError("a small mail was waited for")


def _decide(body: Body, mode: Mode) -> None:
    try:
        envoi = read_envoi(body, mode=mode, limits=Limits())
    except Unreadable:
        return
    admission = admit(envoi, ACCOUNT, AT, PROFILE)
    _check(envoi, admission)


def _check(envoi: Envoi, admission: Admission) -> None:
    assert [sms.position for sms in admission.sms] == (
        [] if admission.fault else [one.position for one in envoi.recipients]
    )
    for sms in admission.sms:
        if isinstance(sms, QueuedSms):
            assert 1 <= sms.parts <= admission.max_parts <= PROFILE.max_parts
            assert sms.text.strip()
            assert sms.ucs2 is not is_gsm(sms.text)
            assert AT <= sms.due_at < sms.expires_at


def _write_seeds(target: str, folder: Path) -> None:
    """Fill a folder with what is worth beginning with."""
    mails = [path.read_bytes() for path in sorted((ROOT / "tests").rglob("*.eml"))]
    seeds = {
        "mail": mails,
        "envoi": [mail.partition(b"\r\n\r\n")[2] or mail.partition(b"\n\n")[2] for mail in mails],
        "csv": [b"0601020304;;Jean;;12\n0033601020305;;Anne\0Bonjour [1], il est [2]", b"0601020304;a\0[1] \xc3\x96"],
        "answers": [
            b'{"etat": {"etat": [{"code": "0", "tel": "0612340001", "smslong": 2}, {"code": 11, "tel": 612340002}]}}',
            b'{"etat": {"code": 3, "message": "x"}}',
            b'{"etat": [{"code": 999}]}',
        ],
        "child": [encode_answer(read_mail(mail, mode, Limits())) for mail in mails for mode in Mode],
    }
    for count, seed in enumerate(seeds[target]):
        (folder / str(count)).write_bytes(seed[:LONGEST_BYTES])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--input", type=Path, help="run this file alone")
    arguments = parser.parse_args()
    target = TARGETS[arguments.target]
    if arguments.input:
        target(arguments.input.read_bytes())
        return
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{arguments.target}-"))
    (folder / "corpus").mkdir()
    _write_seeds(arguments.target, folder / "corpus")
    (folder / "words").write_text("".join(f'"{word}"\n' for word in WORDS), "utf-8")
    options = [
        f"-max_total_time={arguments.seconds}",
        f"-max_len={LONGEST_BYTES}",
        f"-timeout={SLOWEST_S}",
        f"-dict={folder / 'words'}",
        f"-artifact_prefix=fuzz-{arguments.target}-",
        "-print_final_stats=1",
        str(folder / "corpus"),
    ]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
