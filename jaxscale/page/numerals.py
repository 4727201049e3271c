"""How a report writes numbers: 3 significant digits, thousands apart, an em dash for what is not known."""

import math
from collections.abc import Sequence

UNKNOWN = "—"


def number(value: float | None, digits: int = 3) -> str:
    """`value` to `digits` significant digits; integers in full, with thousands separators.

    >>> number(0.17), number(9.8), number(123456), number(None)
    ('0.170', '9.80', '123,456', '—')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".removesuffix(".")


def interval(ends: Sequence[float | None] | None, digits: int = 3) -> str:
    """`[low, high]`, or an em dash where there is none."""
    return UNKNOWN if ends is None else f"[{', '.join(number(end, digits) for end in ends)}]"


def percent(fraction: float) -> str:
    """`0.95` as `95%`."""
    return f"{100 * fraction:.3g}%"


def duration(seconds: float) -> str:
    """Wall time in the two largest units that matter: `2 h 5 min`, `6 min 20 s`, `42 s`, `4.2 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
