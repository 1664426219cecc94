"""Mails are read in processes of their own, so that one that takes long or kills the parser harms only itself.

`mail` is what reading means: pure, and the same in every process. `inline` reads in the caller's process, for commands
and tests; `pool` in child processes (`process`, seen from the parent; `child`, from within), for the daemon. `answers`
is what goes over the wire between the two. What a child could not read is kept in `quarantine`.

Nothing is imported here: a child imports this package and then `child` alone, to start fast and stay small.
"""
