"""Networks that look at one value are found, also where only strings that end in one symbol are concerned."""

import jax.numpy as jnp
import pytest

from jaxscale import lengths
from jaxscale.lengths import evaluation


def looks_at(first, second):
    """A network whose logits of symbol 0 exceed those of symbol 1 by `first` after a last 0, and `second` after a 1."""
    net, params = lengths.constructions.count(omega=4.0, pieces=8)
    layer = params["layer_0"]
    # Coordinates: one, sign, mean, sine; the query is (s + d) / 2 for sign 1 and (s - d) / 2 for -1; logits over 4.
    query = jnp.zeros((1, 4, 4)).at[0, 0, 0].set((first + second) / 2).at[0, 1, 0].set((first - second) / 2)
    key = jnp.zeros((1, 4, 4)).at[0, 1, 0].set(4 / 2)
    return net, params | {"layer_0": layer | {"query": query, "key": key}}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (0.0, 0.0, 0.5),  # even
        (0.2, 0.0, 1 / (1 + 2.718281828**-0.2)),
        (9.0, 0.0, 0.99988),  # half of all strings: 0.75 in the mean over last tokens
        (9.0, -9.0, 0.99988),
    ],
)
def test_the_worst_last_token_counts(first, second, share):
    net, params = looks_at(first, second)
    found = evaluation.collapse(net, params, lengths.SimpleTask())
    assert found == pytest.approx(share, abs=1e-4)
    assert (found > evaluation.COLLAPSED) == (max(abs(first), abs(second)) > 3)
