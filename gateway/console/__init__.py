"""The console: what operators see and do in a browser, on the HTTP listener, below `/console`.

Promises. Everything a stranger wrote stays text. Nothing changes by a GET; every POST carries a token of its session.
Who may only view sees numbers masked and no texts; nothing is kept by the browser; every action is on disk with who did
it. No script or style runs but the console's own files. It is drawn here, whole, and works without a script; with one,
what changes is drawn again by itself.

Diagnostics: events `console_acted` (info), `console_refused` (warning), `console_failed` (error).
"""
