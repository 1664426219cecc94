"""What a session says, each with its enhanced status code (docs/protocol.md §1.5).

By RFC 2034 the banner, the answers to HELO and EHLO, and 354 carry none. No reply repeats what the client sent.
"""

from collections.abc import Callable, Mapping

from gateway.intake import Reply

NoteRefused = Callable[[str, str | None, Reply, Mapping[str, str | None]], None]
"""Counts who was told no: address of the client, its sender if it said one, the reply, facts of the connection."""

MAX_REPLY_BYTES = 510  # RFC 5321 §4.5.3.1.5: 512 with the line end


def _reply(code: int, enhanced: str, text: str) -> Reply:
    return Reply(code=code, enhanced=enhanced, text=text)


BYE = _reply(221, "2.0.0", "Bye")
TLS_READY = _reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = _reply(235, "2.7.0", "Authentication successful")
OK = _reply(250, "2.0.0", "OK")
SENDER_OK = _reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = _reply(250, "2.1.5", "Recipient OK")

STOPPING = _reply(421, "4.3.2", "Service is stopping, try again later")
IDLE = _reply(421, "4.4.2", "Idle for too long, closing")
TOO_OLD = _reply(421, "4.4.2", "Session lasts too long, connect again")
TOO_SLOW = _reply(421, "4.4.2", "Data came too slowly, closing")
TOO_MANY_CONNECTIONS = _reply(421, "4.7.0", "Too many connections, try again later")
TOO_MANY_FROM_CLIENT = _reply(421, "4.7.0", "Too many connections from your address, try again later")
TOO_MANY_AT_ONCE = _reply(421, "4.7.0", "Too many connections from your address in a short time, try again later")
TOO_MANY_ERRORS = _reply(421, "4.7.0", "Too many errors, closing")
NOT_SMTP = _reply(421, "4.7.0", "This is an SMTP server, closing")
NO_ROOM = _reply(452, "4.3.1", "Too much mail at the moment, try again later")
TOO_MANY_RECIPIENTS = _reply(452, "4.5.3", "Too many recipients")

TLS_FAILED = _reply(454, "4.7.0", "The TLS handshake came to nothing")
AUTH_UNAVAILABLE = _reply(454, "4.7.0", "Passwords cannot be checked at the moment, try again later")
AUTH_LOCKED = _reply(454, "4.7.0", "Too many wrong passwords from your address, try again later")

UNKNOWN_COMMAND = _reply(500, "5.5.1", "Command not recognized")
LINE_TOO_LONG = _reply(500, "5.5.2", "Command line too long")
EMPTY_LINE = _reply(500, "5.5.2", "Empty command line")
HELLO_SYNTAX = _reply(501, "5.5.4", "Syntax: HELO or EHLO hostname")
MAIL_SYNTAX = _reply(501, "5.5.4", "Syntax: MAIL FROM:<address> [SIZE=octets] [BODY=7BIT or 8BITMIME]")
RCPT_SYNTAX = _reply(501, "5.5.4", "Syntax: RCPT TO:<address>")
NO_ARGUMENT = _reply(501, "5.5.4", "This command takes no argument")
AUTH_SYNTAX = _reply(501, "5.5.2", "Syntax: AUTH PLAIN or AUTH LOGIN, in base64")
AUTH_CANCELLED = _reply(501, "5.7.0", "Authentication cancelled")
NOT_IMPLEMENTED = _reply(502, "5.5.1", "Command not implemented")
HELLO_FIRST = _reply(503, "5.5.1", "Send HELO or EHLO first")
TLS_ALREADY = _reply(503, "5.5.1", "TLS has begun already")
AUTH_ALREADY = _reply(503, "5.5.1", "You are authenticated already")
AUTH_WITHIN_MAIL = _reply(503, "5.5.1", "A mail is begun, send RSET first")
UNKNOWN_MECHANISM = _reply(504, "5.5.4", "Mechanism not recognized: PLAIN and LOGIN are offered")
TLS_FIRST = _reply(530, "5.7.0", "Send STARTTLS first")
AUTH_FAILED = _reply(535, "5.7.8", "Name or password is wrong")
AUTH_NEEDS_TLS = _reply(538, "5.7.11", "Send STARTTLS first: a password must not go in clear")
NESTED_MAIL = _reply(503, "5.5.1", "A mail is already begun, send RSET first")
MAIL_FIRST = _reply(503, "5.5.1", "Send MAIL first")
RCPT_FIRST = _reply(503, "5.5.1", "No valid recipient, send RCPT first")
UNKNOWN_RECIPIENT = _reply(550, "5.1.1", "No such recipient here; this is not a relay")
NULL_SENDER = _reply(550, "5.7.1", "A mail without a sender address is never an order")
TOO_BIG = _reply(552, "5.3.4", "Mail is larger than this server takes")
BAD_RECIPIENT = _reply(553, "5.1.3", "Malformed recipient address")
BAD_SENDER = _reply(553, "5.1.7", "Malformed sender address")
NOT_FOR_YOU = _reply(554, "5.7.1", "This service is not for your network")
PROXIES_ONLY = _reply(554, "5.7.1", "This service is for proxies")
NO_ADDRESS = _reply(554, "5.7.1", "The proxy does not say who sends this mail")
INJECTED = _reply(554, "5.7.0", "Something was sent behind STARTTLS without waiting for the answer, closing")
TALKED_EARLY = _reply(554, "5.7.0", "Something was sent before the greeting, closing")
TOO_MANY_FAILURES = _reply(421, "4.7.0", "Too many wrong passwords, closing")
NUL_IN_CONTENT = _reply(554, "5.6.0", "Mail contains a NUL")
BARE_CR = _reply(554, "5.6.0", "Mail contains a bare CR; lines must end in CRLF")
BARE_LF = _reply(554, "5.6.0", "Mail contains a bare LF; lines must end in CRLF")
LONG_LINE = _reply(554, "5.6.0", "Mail contains a line that is too long")
UNKNOWN_PARAMETER = _reply(555, "5.5.4", "Parameter not recognized")


def incident(number: str) -> Reply:
    """Come back later; `number` finds the traceback in the log."""
    return _reply(451, "4.3.0", f"Internal error, try again later (incident {number})")


def render(reply: Reply) -> bytes:
    """Return the reply as one line of printable ASCII, within the limit of RFC 5321, with its CRLF."""
    line = str(reply)
    if not (line.isascii() and line.isprintable()):
        line = "".join(character if " " <= character <= "~" else "?" for character in line)
    return line[:MAX_REPLY_BYTES].encode("ascii") + b"\r\n"
