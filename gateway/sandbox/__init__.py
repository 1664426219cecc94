"""A carrier in a box: speaks the carriers' APIs on loopback and misbehaves on command (docs/sandbox.md).

`Sandbox` is a context manager; `run` is what `mail2sms sandbox` does. Nothing is ever sent to anybody.
"""

from gateway.sandbox.box import Sandbox, load_script
from gateway.sandbox.faults import Fault, FaultName, SandboxError, Shape, read_faults
from gateway.sandbox.messages import CarriedSms

__all__ = [
    "CarriedSms",
    "Fault",
    "FaultName",
    "Sandbox",
    "SandboxError",
    "Shape",
    "load_script",
    "read_faults",
]
