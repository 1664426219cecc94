"""Proof that a killed gateway loses nothing and sends nothing twice: `mail2sms prove crash`.

A real daemon runs as a process of its own, between a client that plays a relay, a carrier sandbox and a mailbox, all on
loopback. It is killed at every step of the way of a mail (`matrix`), and at random moments under load (`rounds`), and
started again. The client sends again what was not answered 250. When everything is quiet, what the carrier and the
mailbox saw is held against what was asked for (`ledger`): that is all that counts, whatever the rows say.

Promises. No wait is longer than its deadline. Nothing of a run is left behind, but in a folder that was asked for.
"""

from gateway.proof.matrix import Matrix, MatrixRow
from gateway.proof.process import ProofBroken
from gateway.proof.results import Proof, to_json
from gateway.proof.rounds import Ending, Rounds, RoundsRun
from gateway.proof.steps import PLANS, Step, Subject

__all__ = [
    "PLANS",
    "Ending",
    "Matrix",
    "MatrixRow",
    "Proof",
    "ProofBroken",
    "Rounds",
    "RoundsRun",
    "Step",
    "Subject",
    "to_json",
]
