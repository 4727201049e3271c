"""What public functions accept as a number or a key: Python's and NumPy's alike, and a sentence for anything else."""

from __future__ import annotations

import difflib
import numbers
import operator
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import numpy as np

from jaxscale.errors import InputError

if TYPE_CHECKING:
    import jax


def integer(name: str, value: object, minimum: int | None = None) -> int:
    """`value` as a Python int, for the argument `name`.

    Takes Python and NumPy integers and integer arrays without dimensions; neither booleans nor floats, even whole ones.

    Raises:
      InputError: `value` is not an integer, or it is less than `minimum`.
    """
    try:
        whole = None if _is_boolean(value) else operator.index(cast(SupportsIndex, value))
    except TypeError:
        whole = None
    if whole is None or (minimum is not None and whole < minimum):
        wanted = "an integer" if minimum is None else f"an integer of at least {minimum}"
        raise InputError(f"{name}={value!r} must be {wanted}. Pass {name}={_suggestion(value, minimum)}.")
    return whole


def real(name: str, value: object, example: float) -> float:
    """`value` as a Python float, for the argument `name`; infinities and NaN are for the caller to judge.

    Takes Python and NumPy numbers and real arrays without dimensions; neither booleans nor text.

    Raises:
      InputError: `value` is not a real number; `example` is one that is.
    """
    entries = reals(value)
    if entries is None or entries.ndim:
        raise InputError(f"{name}={value!r} must be a number. Pass for example {name}={example!r}.")
    return float(entries)


def reals(value: object) -> np.ndarray | None:
    """`value` as a float64 array of any shape, or None where it does not consist of real numbers."""
    import jax.numpy as jnp  # here, so that what only checks integers loads no jax

    try:
        if isinstance(value, numbers.Real) and not _is_boolean(value):
            return np.asarray(float(value))
        kind = np.asarray(value).dtype
        is_real = jnp.issubdtype(kind, np.floating) or jnp.issubdtype(kind, np.integer)
        return np.asarray(value, float) if is_real else None
    except (TypeError, ValueError, OverflowError):
        return None


def choice(name: str, value: object, known: Collection[str]) -> str:
    """`value`, one of the names `known`, for the argument `name`.

    Raises:
      InputError: `value` is none of them; the nearest one is offered.
    """
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.0) if isinstance(value, str) else []
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"{name}={value!r} is unknown{hint} Pass one of {', '.join(map(repr, known))}.")
    return value


def random_key(name: str, value: object) -> jax.Array:
    """`value` as a JAX random key, for the argument `name`: a key of either style as it is, an int by `jax.random.key`.

    Both may be traced.

    Raises:
      InputError: `value` is neither.
    """
    import jax

    kind, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    of_new_style = kind is not None and jax.numpy.issubdtype(kind, jax.dtypes.prng_key) and shape == ()
    if of_new_style or (kind == np.uint32 and shape is not None and len(shape) == 1):
        return cast("jax.Array", value)
    of_integer = shape == () and kind is not None and jax.numpy.issubdtype(kind, np.integer)
    if of_integer or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63):
        return jax.random.key(cast(int, value))
    raise InputError(
        f"{name}={value!r} is not a JAX random key, nor an int that makes one. "
        f"Pass {name}=jax.random.key({min(_suggestion(value, 0), 2**32 - 1)})."
    )


def numpy_seed(name: str, value: object) -> int:
    """The seed of a NumPy generator whose draws `value` alone determines, a key or an int for the argument `name`.

    The words of the key as one number: of an int from 0 to 2^32 - 1 that is the int, as JAX makes keys by default.

    Raises:
      InputError: `value` is neither.
    """
    import jax

    return int.from_bytes(np.asarray(jax.random.key_data(random_key(name, value))).astype(">u4").tobytes(), "big")


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _suggestion(value: object, minimum: int | None) -> int:
    try:
        near = round(cast(Any, value))
    except (TypeError, ValueError, OverflowError):
        near = 1
    return int(near if minimum is None else max(near, minimum))
