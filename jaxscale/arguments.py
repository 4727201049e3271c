"""What public functions accept as a number: Python's and NumPy's alike, and a sentence for anything else."""

import operator

from jaxscale.errors import InputError


def integer(name, value, minimum=None):
    """`value` as a Python int, for the argument `name`.

    Takes Python and NumPy integers and integer arrays without dimensions; neither booleans nor floats, even whole ones.

    Raises:
      InputError: `value` is not an integer, or it is less than `minimum`.
    """
    try:
        whole = None if _is_boolean(value) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None or (minimum is not None and whole < minimum):
        wanted = "an integer" if minimum is None else f"an integer of at least {minimum}"
        raise InputError(f"{name}={value!r} must be {wanted}. Pass {name}={_suggestion(value, minimum)}.")
    return whole


def _is_boolean(value):
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _suggestion(value, minimum):
    try:
        near = round(value)
    except (TypeError, ValueError, OverflowError):
        near = 1
    return int(near if minimum is None else max(near, minimum))
