"""The carriers: one module each, behind the small interface of `base`."""
