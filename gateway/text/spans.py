"""Durations in words, for people."""

_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1))


def write_span(seconds: float, *, day: str = "d") -> str:
    """Return what has passed of it, in its two largest units: "3 min 20 s", "10 min", "2 d 3 h".

    `day` is the sign for days, which is not the same in every language.
    """
    whole = max(0, int(seconds))
    for name, unit, smaller_name, smaller in _UNITS:
        if whole >= unit:
            larger = f"{whole // unit} {day if name == 'd' else name}"
            rest = whole % unit // smaller
            return f"{larger} {rest} {smaller_name}" if rest else larger
    return f"{whole} s"
