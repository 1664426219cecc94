"""Whole mails and what is read of them, in both modes: golden/mails/*.eml and the .txt beside each.

A `.txt` changes only in a commit that says why. `PYTHONPATH=. python tests/protocol/test_golden_mails.py` writes them.
"""

from dataclasses import fields
from pathlib import Path

import pytest

from gateway.protocol.envoi import Envoi, read_envoi
from gateway.protocol.mime import read_body, read_headers
from gateway.protocol.reading import Limits, Mode, Unreadable

MAILS = sorted((Path(__file__).parent / "golden" / "mails").glob("*.eml"))


def describe(raw: bytes) -> str:
    """Return what both modes make of a mail, one line for each thing."""
    headers = read_headers(raw)
    lines = [f"from {headers.from_address}", f"message id {headers.message_id}"]
    for mode in Mode:
        lines += ["", f"{mode.value}:"]
        try:
            body = read_body(raw, Limits(), mode)
            envoi = read_envoi(body, mode=mode, limits=Limits())
            lines += [f"  charset {body.charset}", *_describe_envoi(envoi)]
            lines += [f"  note: {note}" for note in (*body.notes, *envoi.notes)]
        except Unreadable as error:
            lines.append(f"  unreadable: {error}")
    return "\n".join(lines) + "\n"


def _describe_envoi(envoi: Envoi) -> list[str]:
    plain = [field.name for field in fields(envoi) if field.name not in ("recipients", "notes", "fault_reason")]
    plain += ["fault_reason"] if envoi.fault_reason else []
    lines = [f"  {name} {getattr(envoi, name)!r}" for name in plain]
    return lines + [f"  to {one.position} {one.tel!r}: {one.text!r}" for one in envoi.recipients]


@pytest.mark.parametrize("mail", MAILS, ids=lambda mail: str(mail.stem))
def test_mail_is_read_as_its_golden_file_says(mail: Path) -> None:
    assert describe(mail.read_bytes()) == mail.with_suffix(".txt").read_text("utf-8")


if __name__ == "__main__":
    for mail in MAILS:
        mail.with_suffix(".txt").write_text(describe(mail.read_bytes()), "utf-8")
