"""Checks to aim at any estimator of dimension, ours or your own, and clouds to try it on.

from jaxscale import testing
testing.check_estimator(mine)                     # mine: (n, D) -> scalar, or an object with a `.dimension`
testing.assert_rotation_invariant(mine, x)        # one property, on your own cloud

from jaxscale.testing.strategies import point_clouds    # for hypothesis: pip install 'jaxscale[testing]'
"""

from jaxscale.testing.assertions import (
    assert_consistent,
    assert_finite_on_duplicates,
    assert_gradient_correct,
    assert_monotone_in_added_dimensions,
    assert_padding_invariant,
    assert_permutation_invariant,
    assert_rotation_invariant,
    assert_row_padding_invariant,
    assert_same_under_transforms,
    assert_scale_invariant,
    assert_translation_invariant,
    check_estimator,
)

__all__ = [
    "assert_consistent",
    "assert_finite_on_duplicates",
    "assert_gradient_correct",
    "assert_monotone_in_added_dimensions",
    "assert_padding_invariant",
    "assert_permutation_invariant",
    "assert_rotation_invariant",
    "assert_row_padding_invariant",
    "assert_same_under_transforms",
    "assert_scale_invariant",
    "assert_translation_invariant",
    "check_estimator",
]


def __dir__() -> list[str]:
    return list(__all__)
