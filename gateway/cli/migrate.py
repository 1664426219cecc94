"""`mail2sms migrate`."""

import asyncio
import json

from gateway import store
from gateway.cli.exits import ConfigOption, JsonOption
from gateway.config import load


def migrate(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Make the store, or bring it to this version.

    Stop the gateway first. Run again it changes nothing.
    """
    done = asyncio.run(store.migrate(load(config).store))
    if as_json:
        print(json.dumps({"from": done.from_revision, "to": done.to_revision}))
    elif done.from_revision is None:
        print(f"The store was made (revision {done.to_revision}).")
    elif done.from_revision == done.to_revision:
        print(f"The store is current (revision {done.to_revision}); nothing was changed.")
    else:
        print(f"The store was brought from revision {done.from_revision} to {done.to_revision}.")
