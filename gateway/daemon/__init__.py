"""The whole gateway: built here and nowhere else, started, stopped, reloaded.

`run` is the process: signals, supervisor, exit status. `Daemon` is the gateway without a process around it, for
`mail2sms demo` and for tests.

Exit statuses of the process: 0 told to stop, and stopped; 1 a part of it failed, the supervisor is to start it again;
3 the configuration cannot be used; 4 the store cannot be used, or an address cannot be listened on.
"""

from gateway.daemon.addresses import Addresses
from gateway.daemon.gateway import Daemon, StageEnded
from gateway.daemon.process import run

__all__ = ["Addresses", "Daemon", "StageEnded", "run"]
