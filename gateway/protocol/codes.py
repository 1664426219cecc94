"""Every code of the source's annex, number and wording exactly as there (docs/protocol.md §9)."""

from enum import IntEnum, unique


@unique
class AckCode(IntEnum):
    """What an Ack can say (docs/protocol.md §8.1)."""

    A0_PROCESSED = 0
    A1_DUPLICATE = 1
    A2_NO_ID = 2

    @property
    def label(self) -> str:
        """The wording of the source."""
        return _ACK_LABELS[self]


_ACK_LABELS = {
    AckCode.A0_PROCESSED: "Votre email a bien ete traite",
    AckCode.A1_DUPLICATE: "emailId deja traite",
    AckCode.A2_NO_ID: "emailId non renseigne",
}


@unique
class Code(IntEnum):
    """What a Not can say about an SMS or about a whole envoi (docs/protocol.md §9).

    The names carry the number, so that neither the reader nor `grep` has to translate.
    """

    C0_SENT = 0
    C1_KEY_EMPTY = 1
    C2_PASSWORD_EMPTY = 2
    C3_KEY_UNKNOWN = 3
    C6_NUMBER_MISSING = 6
    C7_NUMBER_MALFORMED = 7
    C11_NUMBER_BLACKLISTED = 11
    C12_NO_CREDIT = 12
    C14_ADDRESS_NOT_ALLOWED = 14
    C16_ORIGINATOR_EMPTY = 16
    C21_NUMBER_UNASSIGNED = 21
    C22_NUMBER_FULL_MVNO = 22
    C23_TOO_MANY_NUMBERS = 23
    C24_OUTSIDE_HOURS = 24
    C27_COUNTRY_NOT_ALLOWED = 27
    C29_OVERFLOW = 29
    C30_DOMAIN_NOT_ALLOWED = 30
    C33_ORIGINATOR_NOT_ALLOWED = 33
    C34_SMSLONG_MALFORMED = 34
    C100_CALL_TYPE = 100
    C101_LANDLINE = 101
    C102_FILE_INVALID = 102
    C103_ORIGINATOR_LENGTH = 103
    C104_ORIGINATOR_DIGITS = 104
    C105_ORIGINATOR_08 = 105
    C106_AUDIO_TYPE = 106
    C107_AUDIO_TOO_LONG = 107
    C999_ERROR = 999
    C1000_FILE_IMPORTED = 1000

    @property
    def label(self) -> str:
        """The wording of the source's annex, byte for byte."""
        return _LABELS[self]


_LABELS = {
    Code.C0_SENT: "Votre message a bien été envoyé",
    Code.C1_KEY_EMPTY: "Le champ Login est vide",
    Code.C2_PASSWORD_EMPTY: "Le champ PWD est vide",
    Code.C3_KEY_UNKNOWN: "Vos identifiants sont incorrects",
    Code.C6_NUMBER_MISSING: "Vous devez saisir un numéro de téléphone",
    Code.C7_NUMBER_MALFORMED: "Un numéro de téléphone est sur 10 chiffres",
    Code.C11_NUMBER_BLACKLISTED: "Le numéro de téléphone est dans la liste noire",
    Code.C12_NO_CREDIT: "Votre crédit de MT est épuisé",
    Code.C14_ADDRESS_NOT_ALLOWED: "L'adresse IP n'est pas autorisée",
    Code.C16_ORIGINATOR_EMPTY: "L'émetteur ne peut pas être vide",
    Code.C21_NUMBER_UNASSIGNED: "Le numéro de téléphone n'est pas attribué",
    Code.C22_NUMBER_FULL_MVNO: "Le téléphone est attribué à un Full MVNO",
    Code.C23_TOO_MANY_NUMBERS: "Le nombre maximum de téléphones par requête est de 500",
    Code.C24_OUTSIDE_HOURS: "Pas d'envoi commercial entre 20h et 08h, ni les dimanches et jours fériés",
    Code.C27_COUNTRY_NOT_ALLOWED: "L'indicatif pays du téléphone n'est pas autorisé !",
    Code.C29_OVERFLOW: "Nous ne pouvons donner suite à votre demande (overflow)",
    Code.C30_DOMAIN_NOT_ALLOWED: "Erreur sur le domaine de connexion",
    Code.C33_ORIGINATOR_NOT_ALLOWED: "Cet émetteur n'est pas autorisé!",
    Code.C34_SMSLONG_MALFORMED: "La valeur de smslong doit être un entier !",
    Code.C100_CALL_TYPE: "Vous devez saisir un type d'appel valide",
    Code.C101_LANDLINE: "Les appels répondeurs ne fonctionnent pas avec les numéros de fixe !",
    Code.C102_FILE_INVALID: "Vous devez saisir un fichier valide !",
    Code.C103_ORIGINATOR_LENGTH: "L'émetteur doit être sur 10 chiffres !",
    Code.C104_ORIGINATOR_DIGITS: "L'émetteur ne doit comporter que des chiffres !",
    Code.C105_ORIGINATOR_08: "L'émetteur ne peut pas être un numéro en 08,",
    Code.C106_AUDIO_TYPE: "Seuls les fichiers .wma, .wav sont acceptés !",
    Code.C107_AUDIO_TOO_LONG: "Votre fichier dépasse 30 secondes !",
    Code.C999_ERROR: "Une erreur est survenue. Merci de contacter le service technique",
    Code.C1000_FILE_IMPORTED: "Le fichier a bien été importé",
}
