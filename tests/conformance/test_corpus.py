"""The corpus as files: what it shows, that it is whole, and that no two cases can be taken for one another."""

import re
from collections import Counter
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.conformance import Case, CorpusError, Level, load_case, load_corpus
from gateway.conformance.case import Answer, ExpectedAck, ExpectedNot
from gateway.conformance.filling import Filling
from gateway.conformance.report import Report, describe_difference, render_ack, render_not
from tests.citations import find_sections
from tests.conformance.house import IDENTITY

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "protocol" / "golden"
CORPUS = load_corpus()
RUN = "26030410300012"

NOT_SHOWN = {
    "0.3": "where the mode is set is the operator's; the level of the run follows it",
    "2.11": "the names of tolerances are for the operator; no report carries them",
    "3.4": "the schema is a file of the repository; its own tests hold it against envois",
    "6.6": "hours need a commercial account and a time of day",
    "8.5": "trying again for two days needs a smarthost that refuses",
    "8.6": "needs a telephone that answers",
    "10.1": "an account is the operator's configuration",
    "10.2": "a credit is the gateway's own affair; it needs an account that is set up with one",
    "10.3": "needs an account whose credit is nearly spent",
    "10.4": "needs a carrier without credit",
    "10.5": "a quota is the gateway's own affair; it needs an account that is set up with one",
    "10.6": "needs an account whose volume is watched",
}
"""Sections that no case shows, and why."""

filling = Filling(identity=IDENTITY, run=RUN, clock=SystemClock())


def test_every_section_is_shown_or_listed_with_a_reason() -> None:
    rules = {one for one in find_sections((ROOT / "docs" / "protocol.md").read_text("utf-8")) if "." in one}
    shown = {section for case in CORPUS for section in case.sections}

    assert shown - rules == set()
    assert rules - shown == set(NOT_SHOWN)


def test_the_corpus_has_as_many_cases_as_its_document_says() -> None:
    said = re.search(r"(\d+) cases", (ROOT / "docs" / "conformance.md").read_text("utf-8"))

    assert said is not None
    assert int(said[1]) == len(CORPUS)


def test_a_number_belongs_to_one_case_only() -> None:
    owners: dict[str, set[str]] = {}
    for case in CORPUS:
        for outcome in case.alternatives(Level.STRICT):
            for sms in outcome.sms:
                for number in sms.numbers:
                    owners.setdefault(number, set()).add(case.name)

    assert {number: cases for number, cases in owners.items() if len(cases) > 1} == {}


def test_numbers_that_get_an_sms_are_nobodys() -> None:
    """Kept for films by the regulator, but for the source's own example, which is assigned to nobody."""
    nobodys = re.compile(r"\+33(?:63998\d{4}|19900\d{4}|701020304)")
    numbers = {number for case in CORPUS for sms in case.sms for number in sms.numbers}

    assert {number for number in numbers if not nobodys.fullmatch(number)} == set()


def test_the_numbers_of_a_case_begin_with_its_own() -> None:
    strays = [
        (case.name, number)
        for case in CORPUS
        for sms in case.sms
        for number in sms.numbers
        if number.startswith("+3363998") and number[8:11] != case.number
    ]

    assert strays == []


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: str(case.name))
def test_names_are_filled_in_everywhere(case: Case) -> None:
    filled = filling.fill(case, case.alternatives(Level.STRICT))

    assert [mail for mail in filled.mails if b"{{" in mail.content] == []
    assert "{{" not in "".join(outcome.model_dump_json() for outcome in filled.alternatives)


def test_a_run_has_ids_of_its_own_and_knows_them_again() -> None:
    case = CORPUS[0]
    filled = filling.fill(case, case.alternatives(Level.LENIENT))

    assert filling.case_of(f"{RUN}{case.number}0", "anybody@masociete.com") == case.number
    assert filling.case_of("?", filled.alternatives[0].acks[0].to) == case.number
    assert filling.case_of("1548", "ack@masociete.com") is None
    assert f"<emailId>{RUN}{case.number}0</emailId>".encode() in filled.mails[0].content


def test_mails_of_one_case_share_a_message_id_only_on_purpose() -> None:
    shared = []
    for case in CORPUS:
        ids = Counter(mail.message_id for mail in filling.fill(case, ()).mails)
        if ids.most_common(1)[0][1] > 1:
            shared.append(case.number)

    assert shared == ["141", "142", "143", "144"]


def test_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    folder = write_case(tmp_path, 'replies = ["250"]', b"{{nonsense}}")

    with pytest.raises(CorpusError, match="nonsense"):
        filling.fill(load_case(folder), ())


@pytest.mark.parametrize(
    "content",
    [
        'replies = ["250"]\nsomething = 1',
        "replies = []",
        'replies = ["250", "250"]',
        'replies = ["250"]\nlevel = "lenient"',
        'replies = ["250"]\n[strict]\nreplies = ["554"]',
        "not toml",
    ],
)
def test_a_case_that_makes_no_sense_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="999-a-case"):
        load_case(write_case(tmp_path, content, b""))


def write_case(root: Path, content: str, mail: bytes) -> Path:
    folder = root / "999-a-case"
    folder.mkdir()
    (folder / "case.toml").write_text(f'about = "x"\nsections = ["1.1"]\n{content}\n', "utf-8")
    (folder / "01.eml").write_bytes(mail)
    return folder


def test_encoded_blocks_are_encoded_after_names_are_filled_in(tmp_path: Path) -> None:
    mail = b"{{base64}}{{id}}\n{{/base64}}{{qp}}\xe9=\n{{/qp}}{{3*ab}}"
    [filled] = filling.fill(load_case(write_case(tmp_path, 'replies = ["250"]', mail)), ()).mails

    assert filled.content == b"MjYwMzA0MTAzMDAwMTI5OTkwDQo=\r\n=E9=3D\r\nababab"


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_kit_writes_an_ack_as_the_source_does(code: int) -> None:
    ack = ExpectedAck(id="?" if code == 2 else "1548", code=code)

    assert render_ack(ack).body == (GOLDEN / f"ack-{code}.xml").read_bytes()


@pytest.mark.parametrize("name", ["not-one", "not-two"])
def test_the_kit_writes_a_not_as_the_source_does(name: str) -> None:
    golden = (GOLDEN / f"{name}.xml").read_bytes()
    text = golden.decode("iso-8859-1")
    pairs = zip(re.findall(r"<code\d*>(\d+)<", text), re.findall(r"<tel\d*>(.*?)<", text), strict=True)
    answers = tuple(Answer(code=int(code), tel=tel) for code, tel in pairs)
    email_id = re.findall("<emailId>(.*?)<", text)[0]

    assert render_not(ExpectedNot(id=email_id, answers=answers)).body == golden


def test_what_the_kit_repeats_of_a_mail_is_escaped() -> None:
    body = render_not(ExpectedNot(id="<é&€>", answers=(Answer(code=7, tel="?"),))).body

    assert "<emailId>&lt;é&amp;&#8364;&gt;</emailId>".encode("iso-8859-1") in body


def test_the_first_difference_of_a_report_is_named() -> None:
    right = render_ack(ExpectedAck(id="1", code=1, to="a@b.example"))
    wrong = render_ack(ExpectedAck(id="1", code=0, to="a@b.example"))

    assert describe_difference(right, wrong) == "Ack, line 4: <code>0</code>, not <code>1</code>"
    assert describe_difference(right, Report(to="c@b.example", body=right.body)) == (
        "Ack went to c@b.example, not to a@b.example"
    )
    assert describe_difference(right, Report(to="a@b.example", body=right.body + b"\n")) == "Ack has 8 lines, not 7"


def test_the_wording_is_that_of_the_annex() -> None:
    lines = (GOLDEN / "annex.tsv").read_text("utf-8").splitlines()
    annex = {int(code): message for code, message in (line.split("\t", 1) for line in lines)}

    for code, message in annex.items():
        body = render_not(ExpectedNot(id="1", answers=(Answer(code=code, tel="?"),))).body
        assert f"<message>{message}</message>".encode("iso-8859-1") in body
