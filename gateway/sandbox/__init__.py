"""A carrier in a box: speaks the carriers' APIs on loopback and misbehaves on command (docs/sandbox.md).

`Sandbox` is a context manager. Nothing is ever sent to anybody.
"""

from gateway.sandbox.box import Sandbox, load_script
from gateway.sandbox.faults import Fault, FaultName, SandboxError, Shape, read_faults
from gateway.sandbox.messages import CarriedSms
from gateway.sandbox.options import SandboxOptions
from gateway.sandbox.orders import Api

__all__ = [
    "Api",
    "CarriedSms",
    "Fault",
    "FaultName",
    "Sandbox",
    "SandboxError",
    "SandboxOptions",
    "Shape",
    "load_script",
    "read_faults",
]
