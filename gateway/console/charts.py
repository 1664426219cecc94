"""Charts as SVG, drawn here: numbers in, markup out, nothing of a stranger's in between."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 600, 120
_GAP = 2
_FOOT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One minute of a chart."""

    label: str
    value: int


def draw_bars(bars: Sequence[Bar], *, title: str, css_class: str) -> Markup:
    """Return the chart, as high as its highest bar; `title` is what a screen reader says instead."""
    most = max((bar.value for bar in bars), default=0) or 1
    step = WIDTH / max(1, len(bars))
    drawn = Markup("").join(
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}: {}</title></rect>').format(
            place * step + _GAP / 2, HEIGHT - height, step - _GAP, height, bar.label, bar.value
        )
        for place, bar in enumerate(bars)
        for height in [_height(bar.value, most)]
    )
    return Markup(
        '<svg class="chart {}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(escape(css_class), WIDTH, HEIGHT, title, drawn)


def _height(value: int, most: int) -> float:
    """Something that is not nothing is seen."""
    return 0.5 if not value else max(_FOOT, value / most * (HEIGHT - _FOOT))
