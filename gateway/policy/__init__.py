"""Decisions: facts and the present instant in, a value out. No clock, no disk, no network."""
