"""What docs/protocol.md says, as pure code: bytes and text in, values out. No clock, no disk, no network."""
