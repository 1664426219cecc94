"""`mail2sms serve`."""

import typer

from gateway.cli.exits import ConfigOption, SetOption, read_overrides
from gateway.daemon import run


def serve(config: ConfigOption, settings: SetOption = None) -> None:
    """Run the gateway until it is told to stop.

    One line `ready` with the addresses goes to stdout when every listener is bound; the log goes to stderr. SIGTERM
    finishes what is under way and ends, a second one ends at once; SIGHUP reads the configuration again. Exit status 0
    when told to stop, 1 when a part failed or was cut short, 3 for the configuration, 4 for the store (a missing one is
    made by `mail2sms migrate`) or the network.
    """
    raise typer.Exit(run(config, read_overrides(settings)))
