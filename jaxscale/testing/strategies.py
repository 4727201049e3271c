"""Hypothesis strategies for clouds of points; needs hypothesis: pip install 'jaxscale[testing]'.

@given(point_clouds(n=100, width=5))
def test_my_estimator_is_finite(x):               # x: (100, 5)
    assert np.isfinite(mine(x))
"""

from collections.abc import Sequence

import numpy as np

from jaxscale.arguments import integer
from jaxscale.errors import InputError
from jaxscale.testing.clouds import KINDS

try:
    from hypothesis import note
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "jaxscale.testing.strategies needs the package 'hypothesis'. Install it with: pip install 'jaxscale[testing]'."
    ) from error


def point_clouds(
    n: int | st.SearchStrategy[int] = 100,
    width: int | st.SearchStrategy[int] = 5,
    kinds: Sequence[str] = tuple(KINDS),
) -> st.SearchStrategy[np.ndarray]:
    """Clouds that estimators meet in practice or stumble over.

        uniform       in the cube of all columns
        gaussian      in all columns
        manifold      a cube or a sphere of some dimension below the width, turned at random
        duplicates    a manifold of which 1% or 50% of the rows repeat others
        outlier       a manifold and one point 10² to 10⁵ away
        anisotropic   a manifold with an eighth of the columns, at least one, 10³ away from zero, as in hidden states of
                      language models
        lattice       integers: most distances tie with others, and a few points coincide
        tiny, huge    a manifold of size 10⁻²⁵ or 10²⁵, whose squared distances leave float32

    A failing example names its kind and shrinks towards the first of `kinds`.

    Args:
      n: points; a number keeps one compiled shape for all examples, a strategy does not.
      width: columns, likewise.
      kinds: which of the above.

    Returns:
      Strategy of (n, width) float32 arrays, finite throughout.

    Raises:
      InputError: if `kinds` is empty or names an unknown one.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise InputError(f"kinds must name some of {', '.join(KINDS)}; it is {tuple(kinds)!r}.")
    return _point_clouds(_as_strategy("n", n), _as_strategy("width", width), tuple(kinds))


def _as_strategy(name: str, size: int | st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return size if isinstance(size, st.SearchStrategy) else st.just(integer(name, size, 1))


@st.composite
def _point_clouds(
    draw: st.DrawFn, n: st.SearchStrategy[int], width: st.SearchStrategy[int], kinds: Sequence[str]
) -> np.ndarray:
    kind = draw(st.sampled_from(kinds))
    seed = draw(st.integers(0, 2**32 - 1))
    note(f"a cloud of kind {kind!r}")
    return KINDS[kind](np.random.default_rng(seed), draw(n), draw(width)).astype(np.float32)
