"""`python -m gateway` is the command `mail2sms`."""

from gateway.cli import main

main()
