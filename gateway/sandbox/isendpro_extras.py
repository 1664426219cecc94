"""iSendPro's other calls: counting, credit, HLR, the blacklist, the report of sends, directories, links, sub-accounts.

What is written into the two zip files is not documented; the columns here are a guess.
"""

import csv
import io
import secrets
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

from gateway.clock import Clock
from gateway.sandbox.account import Account, Purse
from gateway.sandbox.isendpro import (
    Wrong,
    answer_entries,
    label_of,
    read_key,
    read_local,
    read_msisdn,
    read_numbers,
    read_order,
    to_answer,
)
from gateway.sandbox.messages import MessageBox
from gateway.sandbox.orders import Answer, Api, reserved_code
from gateway.sandbox.receipts import PARIS, write_local
from gateway.text.gsm import count_parts

MOST_DIRECTORIES = 1000
MOST_IN_DIRECTORY = 10_000
MOST_SUBACCOUNTS = 1000
_MOST_TEXT = 10_000
_OPERATORS = ("ORAN", "SFR0", "BOUY", "FREE")
"""Only the first is documented. Which one a number has, its last two digits decide."""

_MOST_CREDIT = Decimal(1_000_000_000)


@dataclass(slots=True)
class _Subaccount:
    login: str
    key: str
    purse: Purse = field(default_factory=lambda: Purse(Decimal(0)))


Call = Callable[[Mapping[str, object]], Answer]


class IsendproExtras:
    """Answers what does not send. Each method is given the fields of its call, and raises Wrong."""

    def __init__(self, account: Account, box: MessageBox, clock: Clock) -> None:
        self.directories: dict[str, list[str]] = {}
        self._account = account
        self._box = box
        self._clock = clock
        self._subaccounts: dict[str, _Subaccount] = {}
        self.by_body: Mapping[tuple[str, str], Call] = MappingProxyType(
            {
                ("POST", "/cgi-bin/comptage"): self.count,
                ("POST", "/cgi-bin/hlr"): self.look_up,
                ("POST", "/cgi-bin/repertoire"): self.make_directory,
                ("PUT", "/cgi-bin/repertoire"): self.change_directory,
                ("POST", "/cgi-bin/shortlink"): self.shorten,
                ("POST", "/cgi-bin/subaccount"): self.make_subaccount,
                ("PUT", "/cgi-bin/subaccount"): self.change_subaccount,
            }
        )
        self.by_query: Mapping[tuple[str, str], Call] = MappingProxyType(
            {
                ("GET", "/cgi-bin/campagne"): self.report,
                ("POST", "/cgi-bin/setlistenoire"): self.stop,
                ("POST", "/cgi-bin/dellistenoire"): self.unstop,
                ("POST", "/cgi-bin/getlistenoire"): self.list_stopped,
            }
        )

    def purse_of(self, key: str) -> Purse:
        """Return what a key pays with: a sub-account's is its own, and empty at first."""
        subaccount = self._subaccounts.get(key)
        return self._account.purse if subaccount is None else subaccount.purse

    def tell_credit(self, fields: Mapping[str, object], *, is_gone: bool) -> Answer:
        """Answer `/credit`."""
        key = read_key(fields)
        wanted = _read_choice(fields, "credit", {"1", "2"})
        euros = Decimal(0) if is_gone else self.purse_of(key).left
        told = {"credit": _write_euros(euros)}
        if wanted == "2":
            told["quantite"] = str(int(euros / self._account.price))
        return to_answer({"etat": told})

    def count(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/comptage`: characters (those of the extension count twice) and parts."""
        _read_choice(fields, "comptage", {"1"})
        order = read_order(fields, is_multi=False, directories={})
        size = count_parts(order.lines[0].text, order.ucs2)
        entry = {"nb_caractere": str(size.units), "nb_sms": str(size.parts), "tel": order.lines[0].number}
        return answer_entries([entry])

    def look_up(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/hlr`: an operator for each number, `?` for one that nobody has."""
        read_key(fields)
        _read_choice(fields, "getHLR", {"1"})
        numbers = read_numbers(fields.get("num"), is_list=True)
        return answer_entries([{"operateur": _operator_of(number), "tel": number} for number in numbers])

    # --- the blacklist -----------------------------------------------------------------------------------------------

    def stop(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/setlistenoire`; the odd spelling of the switch is the platform's."""
        number, msisdn = self._read_listed(fields, "setlisteNoire")
        self._account.stops.add(msisdn, self._clock.now())
        return answer_entries([{"tel": number, "listeNoire": "OK"}])

    def unstop(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/dellistenoire`, OK also for a number that was not on it."""
        number, msisdn = self._read_listed(fields, "delListeNoire")
        self._account.stops.remove(msisdn)
        return answer_entries([{"tel": number, "listeNoire": "OK"}])

    def list_stopped(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/getlistenoire`: a CSV file in a zip file."""
        read_key(fields)
        _read_choice(fields, "getListeNoire", {"1"})
        rows = [(msisdn.removeprefix("+"), write_local(at)) for _, msisdn, at in self._account.stops]
        return _zip("listenoire.csv", ("numero", "date"), rows)

    def _read_listed(self, fields: Mapping[str, object], switch: str) -> tuple[str, str]:
        read_key(fields)
        _read_choice(fields, switch, {"1"})
        [number] = read_numbers(fields.get("num"), is_list=False)
        msisdn = read_msisdn(number)
        if msisdn is None:
            raise Wrong(7)
        return number, msisdn

    # --- the report of sends -----------------------------------------------------------------------------------------

    def report(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/campagne`: what was sent between two minutes of Paris, both included."""
        read_key(fields)
        _read_choice(fields, "rapportCampagne", {"1"})
        first, last = (read_local(fields.get(name)) for name in ("date_deb", "date_fin"))
        rows = []
        for sms in self._box.list():
            at = datetime.fromisoformat(sms["deliver_at"] or sms["time"])
            minute = at.astimezone(PARIS).replace(tzinfo=None, second=0, microsecond=0)
            if sms["api"] == Api.ISENDPRO.value and first <= minute <= last and sms["state"] != "cancelled":
                what = (sms["number"], sms["originator"] or "", sms["text"], str(sms["parts"]))
                rows.append((write_local(at), *what, sms["state"], sms["tracker"] or ""))
        return _zip("campagne.csv", ("date", "numero", "emetteur", "message", "nb_sms", "etat", "tracker"), rows)

    # --- directories, links, sub-accounts ----------------------------------------------------------------------------

    def make_directory(self, fields: Mapping[str, object]) -> Answer:
        """Answer the POST of `/repertoire`: a new, empty directory."""
        read_key(fields)
        _read_choice(fields, "repertoireEdit", {"create"})
        _read_text(fields, "repertoireNom")
        if len(self.directories) >= MOST_DIRECTORIES:
            raise Wrong(29)
        identity = str(1000 + len(self.directories))
        self.directories[identity] = []
        return answer_entries([{"code": "0", "message": "Le repertoire a ete cree", "repertoireId": identity}])

    def change_directory(self, fields: Mapping[str, object]) -> Answer:
        """Answer the PUT of `/repertoire`: numbers come in or go out, each with its own entry."""
        read_key(fields)
        action = _read_choice(fields, "repertoireEdit", {"add", "del"})
        identity = _read_text(fields, "repertoireId")
        held = self.directories.get(identity)
        numbers = read_numbers(fields.get("num"), is_list=True)
        if held is None:
            raise Wrong(999)
        entries = []
        for number in numbers:
            code = 7 if read_msisdn(number) is None else 0
            if code == 0 and action == "add" and number not in held:
                if len(held) >= MOST_IN_DIRECTORY:
                    code = 29
                else:
                    held.append(number)
            elif code == 0 and action == "del" and number in held:
                held.remove(number)
            message = label_of(code) if code else "Le repertoire a ete modifie"
            entries.append({"code": str(code), "message": message, "repertoireId": identity, "tel": number})
        return answer_entries(entries)

    def shorten(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/shortlink`: an address that leads nowhere."""
        read_key(fields)
        _read_text(fields, "shortlink")
        link = f"ww.sms.ht/{secrets.token_hex(3)}"
        return answer_entries([{"code": 250, "message": label_of(250), "shortlink": link}])

    def make_subaccount(self, fields: Mapping[str, object]) -> Answer:
        """Answer the POST of `/subaccount`: a new key, with nothing to pay with."""
        read_key(fields)
        _read_choice(fields, "subAccountEdit", {"addAccount"})
        login = _read_text(fields, "subAccountLogin")
        _read_text(fields, "subAccountPassword")
        if len(self._subaccounts) >= MOST_SUBACCOUNTS:
            raise Wrong(29)
        made = _Subaccount(login=login, key=secrets.token_hex(10))
        self._subaccounts[made.key] = made
        names = {"subAccountId": self._identity_of(made.key), "subAccountKeyId": made.key, "subAccountLogin": login}
        return answer_entries([{"code": 230, "message": label_of(230), **names}])

    def change_subaccount(self, fields: Mapping[str, object]) -> Answer:
        """Answer the PUT of `/subaccount`. Prices and restrictions are taken and change nothing."""
        read_key(fields)
        action = _read_choice(fields, "subAccountEdit", {"setPrice", "addCredit", "setRestriction"})
        for switch in ("subAccountRestrictionStop", "subAccountRestrictionTime"):
            if switch in fields:
                _read_choice(fields, switch, {"0", "1"})
        key = _read_text(fields, "subAccountKeyId")
        subaccount = self._subaccounts.get(key)
        if subaccount is None:
            raise Wrong(3)
        if action == "addCredit":
            euros = _read_euros(fields.get("subAccountAddCredit"))
            if not self._account.purse.spend(euros):
                raise Wrong(12)
            subaccount.purse.put(euros)
        entry = {"code": "0", "message": "Le sous compte a ete modifie", "subAccountId": self._identity_of(key)}
        return answer_entries([{**entry, "subAccountKeyid": key}])

    def _identity_of(self, key: str) -> str:
        return str(20_150 + list(self._subaccounts).index(key))

    def clear(self) -> None:
        """Forget directories and sub-accounts."""
        self.directories.clear()
        self._subaccounts.clear()


def _read_choice(fields: Mapping[str, object], name: str, allowed: Iterable[str]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise Wrong(999)
    return value


def _read_text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > _MOST_TEXT:
        raise Wrong(999)
    return value.strip()


def _read_euros(value: object) -> Decimal:
    try:
        euros = Decimal(str(value).strip())
    except InvalidOperation:
        raise Wrong(999) from None
    if not euros.is_finite() or not 0 < euros <= _MOST_CREDIT:
        raise Wrong(999)
    return euros


def _write_euros(euros: Decimal) -> str:
    """Return an amount as the platform writes it: at least one digit after the point, and no idle ones."""
    text = f"{euros:.3f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def _operator_of(number: str) -> str:
    msisdn = read_msisdn(number)
    if msisdn is None or reserved_code(msisdn):
        return "?"
    return _OPERATORS[int(msisdn[-2:]) % len(_OPERATORS)]


def _zip(name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Answer:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text.getvalue().encode("utf-8", "replace"))
    return Answer(body=packed.getvalue(), media_type="application/zip")
