"""The schemas of what goes over the wire: for clients, and for tests of what is rendered here (docs/protocol.md §8).

They say what strict XML can: an envoi, an Ack, each root of a Not or an etatAr, and either with one root. They are
files, so that a client can take them; nothing is validated against them while mails are read.
"""

from enum import Enum, unique
from pathlib import Path

from lxml import etree


@unique
class Schema(Enum):
    """The schemas there are, by file name."""

    ENVOI = "envoi.xsd"
    ETAT_ACK = "etatAck.xsd"
    ETAT_NOT = "etatNot.xsd"  # one root of several
    ETAT_NOT_WELLFORMED = "etatNot-wellformed.xsd"
    ETAT_AR = "etatAr.xsd"  # the same
    ETAT_AR_WELLFORMED = "etatAr-wellformed.xsd"

    @property
    def path(self) -> Path:
        """Where the file is: in the package once installed, beside it in a checkout."""
        here = Path(__file__).resolve()
        folders = (here.parent / "schema_files", here.parents[2] / "schemas")
        return next((folder / self.value for folder in folders if folder.is_dir()), folders[0] / self.value)

    def load(self) -> etree.XMLSchema:
        """Return the schema, ready to validate with. It takes some tenths of a second: keep it."""
        return etree.XMLSchema(etree.parse(str(self.path)))


def find_faults(document: bytes, schema: etree.XMLSchema) -> tuple[str, ...]:
    """Return what is wrong with one XML document, in the order of its lines; nothing when it is valid."""
    try:
        root = etree.fromstring(document)
    except etree.XMLSyntaxError as error:
        return (str(error),)
    schema.validate(root)
    return tuple(str(schema.error_log).splitlines())
