"""SMS Partner's other calls: what became of SMS, cancelling, the balance, the STOP list, look-ups of numbers."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

import phonenumbers

from gateway.clock import Clock
from gateway.sandbox.account import Account
from gateway.sandbox.callbacks import Callback, Caller, is_address
from gateway.sandbox.messages import CarriedSms, MessageBox, State
from gateway.sandbox.orders import MOST_NUMBERS, Answer, Api, reserved_code
from gateway.sandbox.receipts import write_local
from gateway.sandbox.smspartner import read_key, read_number, wants_xml
from gateway.sandbox.smspartner_answers import Complained, Complaint, Wrong, render
from gateway.text.msisdn import Msisdn, country_of

CANCELLABLE_UNTIL_S = 300
_PAGE = 500
_HLR_PRICE = 0.01
_WORDS: Mapping[State, str] = MappingProxyType(
    {
        "scheduled": "Waiting",
        "waiting": "Waiting",
        "trial": "Waiting",
        "delivered": "Delivered",
        "undelivered": "Not delivered",
        "cancelled": "ko",
    }
)
_NETWORKS = (("20801", "Orange"), ("20810", "SFR"), ("20820", "Bouygues Telecom"), ("20815", "Free Mobile"))
"""Which one a number has, its last two digits decide."""

Call = Callable[[Mapping[str, object]], Answer]


class SmsPartnerQueries:
    """Answers what does not send. Each method is given the fields of its call, and raises Wrong or Complained."""

    def __init__(self, account: Account, box: MessageBox, caller: Caller, clock: Clock) -> None:
        self._account = account
        self._box = box
        self._caller = caller
        self._clock = clock
        self._campaigns = 0
        self.by_query: Mapping[tuple[str, str], Call] = MappingProxyType(
            {
                ("GET", "/v1/message-status"): self.tell_status,
                ("GET", "/v1/bulk-status"): self.tell_call,
                ("GET", "/v1/bulk-status-by-tag"): self.tell_tag,
                ("GET", "/v1/message-cancel"): self.cancel,
                ("GET", "/v1/stop-sms/list"): self.list_stopped,
                ("GET", "/v1/stop-sms/delete"): self.unstop,
            }
        )
        self.by_body: Mapping[tuple[str, str], Call] = MappingProxyType(
            {
                ("POST", "/v1/multi-status"): self.tell_several,
                ("POST", "/v1/stop-sms/add"): self.stop,
                ("POST", "/v1/lookup"): self.look_up,
                ("POST", "/v1/hlr/notify"): self.notify_hlr,
            }
        )

    # --- what became of SMS ------------------------------------------------------------------------------------------

    def tell_status(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/message-status`, about one number of one call."""
        read_key(fields)
        number = fields.get("phoneNumber")
        if not number:
            raise Wrong(2)
        sms = self._find(_read_message_id(fields), number)
        if sms is None:
            raise Wrong(4)
        told = {"number": str(number), "messageId": str(sms["message_id"]), "stopSms": self._is_stopped(sms)}
        told |= {"date": write_local(datetime.fromisoformat(sms["state_at"])), "statut": _WORDS[sms["state"]]}
        told |= {"cost": float(self._account.price * sms["parts"]), "countryCode": _country_of(sms["msisdn"])}
        return _succeed(fields, {**told, "currency": "EUR"})

    def tell_several(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/multi-status`, about up to 500 pairs of number and call."""
        read_key(fields)
        pairs = fields.get("SMSStatut_List")
        if not isinstance(pairs, list) or not pairs:
            raise Wrong(5)
        if not all(isinstance(pair, dict) for pair in pairs):
            raise Wrong(6)
        if len(pairs) > MOST_NUMBERS:
            raise Wrong(50)
        return _succeed(fields, {"StatutResponse_List": [self._tell_pair(pair) for pair in pairs]})

    def tell_call(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/bulk-status`, about all numbers of one call."""
        read_key(fields)
        message_id = _read_message_id(fields)
        found = self._box.of_call(message_id)
        if not found:
            raise Wrong(4)
        told = {"message_id": str(message_id), "StatutResponse_List": [self._tell_one(sms) for sms in found]}
        return _succeed(fields, told)

    def tell_tag(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/bulk-status-by-tag`, 500 at a time; which `page` is a parameter of our own choice."""
        read_key(fields)
        tag, page = fields.get("tag"), str(fields.get("page", 1))
        if not tag:
            raise Wrong(3)
        if not re.fullmatch(r"[1-9]\d{0,5}", page, re.ASCII):
            raise Wrong(6)
        found = [sms for sms in self._box.list() if sms["api"] == Api.SMSPARTNER.value and sms["tracker"] == tag]
        if not found:
            raise Wrong(4)
        first = (int(page) - 1) * _PAGE
        told = {"currentPage": int(page), "total": len(found)}
        shown = [self._tell_one(sms) for sms in found[first : first + _PAGE]]
        return _succeed(fields, {**told, "StatutResponse_List": shown})

    def cancel(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/message-cancel`: what is scheduled for later than five minutes from now is not sent."""
        read_key(fields)
        found = self._box.of_call(_read_message_id(fields))
        if not found:
            raise Wrong(4)
        if any(sms["state"] == "cancelled" for sms in found):
            raise Declined(5, "L'envoi a déjà été annulé")
        if any(sms["state"] != "scheduled" for sms in found):
            raise Declined(7, "Le message a déjà été envoyé")
        now = self._clock.now()
        due_at = min(datetime.fromisoformat(sms["deliver_at"] or sms["time"]) for sms in found)
        if due_at - now < timedelta(seconds=CANCELLABLE_UNTIL_S):
            raise Declined(6, "L'envoi a lieu dans moins de 5 minutes")
        for sms in found:
            self._box.move(sms["id"], "cancelled", now.isoformat(timespec="milliseconds"))
            if not sms["trial"]:
                self._account.purse.put(self._account.price * sms["parts"])
        return _succeed(fields, {"message": "L'envoi du SMS a été annulé."})

    # --- the account -------------------------------------------------------------------------------------------------

    def tell_balance(self, fields: Mapping[str, object], *, is_gone: bool) -> Answer:
        """Answer `/me`."""
        read_key(fields)
        euros = 0 * self._account.price if is_gone else self._account.purse.left
        scheduled = sum(
            sms["parts"]
            for sms in self._box.list()
            if sms["state"] == "scheduled" and sms["api"] == Api.SMSPARTNER.value
        )
        balance = {
            "creditSms": int(euros / self._account.price),
            "creditSmsECO": int(euros / self._account.price),
            "creditHlr": int(float(euros) / _HLR_PRICE),
            "toSend": scheduled,
            "balance": f"{euros:.3f}",
            "currency": "EUR",
        }
        user = {"username": "sandbox@example.org", "firstname": "Sand", "lastname": "Box"}
        return _succeed(fields, {"user": user, "credits": balance})

    def list_stopped(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/stop-sms/list`."""
        read_key(fields)
        data = [
            {"id": stop_id, "phoneNumber": msisdn, "createdAt": write_local(at)}
            for stop_id, msisdn, at in self._account.stops
        ]
        return _succeed(fields, {"nbData": len(data), "data": data})

    def stop(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/stop-sms/add`; code 3 says that the number is there already."""
        read_key(fields)
        number = fields.get("phoneNumber") or fields.get("phoneNumbers")  # some samples misspell it
        if not number:
            raise Wrong(2)
        msisdn = read_number(number)
        if msisdn is None:
            raise Complained([Complaint(field="phoneNumber", message="Ce numero de telephone n'est pas valide (12)")])
        if msisdn in self._account.stops:
            raise Declined(3, "Le numéro est déjà présent dans la liste")
        return _succeed(fields, {"stopId": self._account.stops.add(msisdn, self._clock.now())})

    def unstop(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/stop-sms/delete`, by the id that the list tells."""
        read_key(fields)
        stop_id = fields.get("id")
        if not stop_id:
            raise Wrong(3)
        msisdn = self._account.stops.find(int(str(stop_id))) if _is_id(stop_id) else None
        if msisdn is None:
            raise Wrong(4)
        self._account.stops.remove(msisdn)
        return _succeed(fields, {})

    # --- look-ups of numbers -----------------------------------------------------------------------------------------

    def look_up(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/lookup`: what can be told of a number by its form."""
        read_key(fields)
        return _succeed(fields, {"lookup": [_describe(number) for number in _read_numbers(fields)]})

    def notify_hlr(self, fields: Mapping[str, object]) -> Answer:
        """Answer `/hlr/notify`; what is found goes to `notifyUrl`, a request for each number."""
        read_key(fields)
        numbers = _read_numbers(fields)
        url = fields.get("notifyUrl")
        if not isinstance(url, str) or not is_address(url):
            raise Complained([Complaint(field="notifyUrl", message="Cette valeur n'est pas une URL valide.")])
        self._campaigns += 1
        campaign = f"HLR{self._campaigns:06}"
        self._caller.send(self._write_hlr(numbers, campaign, url))
        told = {"campaign_id": campaign, "number": len(numbers), "cost": round(_HLR_PRICE * len(numbers), 3)}
        return _succeed(fields, {**told, "currency": "EUR"})

    def _write_hlr(self, numbers: Sequence[str], campaign: str, url: str) -> Iterator[Callback]:
        at = self._clock.now().isoformat(timespec="seconds")
        for number in numbers:
            msisdn = read_number(number)
            is_known = msisdn is not None and not reserved_code(msisdn)
            error = (0, "NO_ERROR", "No Error") if is_known else (1, "EC_UNKNOWN_SUBSCRIBER", "Unknown Subscriber")
            fields = {"phone": msisdn or number, "messageId": campaign}
            fields |= {"mccMnc": _network_of(msisdn)[0] if is_known and msisdn else "", "ported": "false"}
            names = dict(zip(("errorGrpId", "errorName", "errorDesc"), error, strict=True))
            yield Callback(api=Api.SMSPARTNER, kind="hlr", url=url, fields={**fields, **names, "date": at})

    # --- parts -------------------------------------------------------------------------------------------------------

    def _tell_pair(self, pair: Mapping[str, object]) -> Mapping[str, object]:
        number, message_id = pair.get("phoneNumber"), pair.get("messageId")
        sms = self._find(int(str(message_id)), number) if _is_id(message_id) else None
        if sms is None:
            names = {"phoneNumber": read_number(number) or str(number), "messageId": message_id}
            return {"success": False, "code": 4, **names, "status": "Numéro introuvable"}
        return {
            "success": True,
            "code": 200,
            "phoneNumber": sms["msisdn"],
            "messageId": sms["message_id"],
            "status": _WORDS[sms["state"]],
            "date": _epoch(sms),
            "stopSms": str(int(self._is_stopped(sms))),
            "isSpam": "0",
        }

    def _tell_one(self, sms: CarriedSms) -> Mapping[str, object]:
        return {
            "phoneNumber": sms["msisdn"],
            "status": _WORDS[sms["state"]],
            "stopSMS": self._is_stopped(sms),
            "date": _epoch(sms),
        }

    def _find(self, message_id: int, number: object) -> CarriedSms | None:
        msisdn = read_number(number)
        return next((sms for sms in self._box.of_call(message_id) if sms["msisdn"] == msisdn), None)

    def _is_stopped(self, sms: CarriedSms) -> bool:
        return sms["msisdn"] in self._account.stops


class Declined(Exception):
    """A code that means something else here than elsewhere, and its words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


def _succeed(fields: Mapping[str, object], told: Mapping[str, object]) -> Answer:
    return render({"success": True, "code": 200, **told}, wants_xml=wants_xml(fields))


def _read_message_id(fields: Mapping[str, object]) -> int:
    message_id = fields.get("messageId")
    if not message_id:
        raise Wrong(3)
    if not _is_id(message_id):
        raise Wrong(4)
    return int(str(message_id))


def _is_id(value: object) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"\d{1,18}", str(value), re.ASCII) is not None


def _read_numbers(fields: Mapping[str, object]) -> Sequence[str]:
    numbers = [number.strip() for number in str(fields.get("phoneNumbers") or "").split(",") if number.strip()]
    if not numbers:
        raise Wrong(2)
    if len(numbers) > MOST_NUMBERS:
        raise Wrong(50)
    return numbers


def _epoch(sms: CarriedSms) -> str:
    return str(int(datetime.fromisoformat(sms["state_at"]).timestamp()))


def _country_of(msisdn: str) -> str:
    return country_of(Msisdn(e164=msisdn)) or ""


def _network_of(msisdn: str) -> tuple[str, str]:
    return _NETWORKS[int(msisdn[-2:]) % len(_NETWORKS)]


def _describe(number: str) -> Mapping[str, object]:
    msisdn = read_number(number)
    if msisdn is None:
        return {"request": number, "success": False, "message": "Le numéro n'est pas valide"}
    parsed = phonenumbers.parse(msisdn)
    is_mobile = phonenumbers.number_type(parsed) in {
        phonenumbers.PhoneNumberType.MOBILE,
        phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE,
    }
    forms = phonenumbers.PhoneNumberFormat
    names = {
        "e164": forms.E164,
        "international": forms.INTERNATIONAL,
        "national": forms.NATIONAL,
        "rfc3966": forms.RFC3966,
    }
    return {
        "request": number,
        "success": True,
        "countryCode": _country_of(msisdn),
        "prefixCode": parsed.country_code,
        "phoneNumber": msisdn,
        "type": "Mobile" if is_mobile else "Fixed line",
        "network": _network_of(msisdn)[1],
        "format": {name: phonenumbers.format_number(parsed, form) for name, form in names.items()},
    }
