"""What should not happen, as exceptions: one root, one branch per room.

What the business expects is a value, not an exception (`Admitted | Rejected`, `Accepted | Refused | ...`).

    GatewayError
    ├── ConfigError            config      the configuration cannot be used
    ├── Unreadable             protocol    this mail is not an envoi (docs/protocol.md §2)
    ├── NotRead                reader      the mail could not be read here and now: its client is to come back
    ├── ChildDied              reader      a process that reads mails is gone; never leaves the room
    ├── StoreError             store       the store cannot be trusted or reached
    │   ├── StoreUnavailable                for now: locked, full, gone
    │   └── StoreUnusable                   until somebody acts: missing, corrupt, other schema
    ├── ActivationError        activation  the supervisor gives a socket that no listener wants
    ├── ListenError            smtp        an address cannot be listened on
    ├── HungUp, Flooded        smtp        a client is gone, or sends a line without end; never leave the room
    ├── SmarthostError         mailer      the smarthost did not take a report
    ├── UnsafeHeader           mailer      a report's header block would not say what it is meant to
    ├── HttpUnavailable        web         the HTTP address cannot be listened on
    ├── StageEnded             daemon      a part of the gateway ended by itself
    ├── ProviderUnusable       providers   a carrier cannot be set up from its settings
    ├── CorpusError            conformance a case of the corpus cannot be read, or makes no sense
    ├── Unreachable            conformance nobody takes mail at the address of the gateway under test
    ├── SandboxUnreachable     conformance the carrier sandbox behind it does not answer
    ├── PauseUnknown           pauses      the environment asks for a pause that there is not
    ├── ProofBroken            proof       a proof could not be carried out to its end
    └── SandboxError           sandbox     the carrier in a box cannot do as asked: address, script

Each branch lives in the room that raises it.
"""


class GatewayError(Exception):
    """Root of everything this package raises. `temporary` says whether trying again can help."""

    temporary: bool = False
