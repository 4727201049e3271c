"""An oracle: the definition of the class in numpy, which also checks that the compiler's intervals hold."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def definition():
    """A function (network, points (B, D)) -> (B,) or (B, outputs): all pairs of tokens, all heads, float64."""
    return by_definition


def by_definition(network, x):
    shape, params = network.shape, network.params
    start = network.encoding.copy()
    for i, row in enumerate(shape.learned_rows):
        start[:, row] += params["learned"][:, i]
    outputs = []
    for point in x:
        h = start.copy()
        for (token, row), coordinate in zip(shape.inputs, point, strict=True):
            h[token, row] += coordinate
        check_within(h, network.streams[0])
        for i in range(len(shape.blocks)):
            w = params[f"block_{i}"]
            q, k = (np.einsum("mke,te->mtk", w[name], h) for name in ("query", "key"))
            scores = np.maximum(q @ np.swapaxes(k, 1, 2), 0)
            h = h + np.einsum("mts,msf->tf", scores, np.einsum("mfe,te->mtf", w["value"], h))
            check_within(h, network.attended[i])
            hidden, depth = h, sum(name.startswith("kernel_") for name in w)
            for j in range(depth):
                hidden = hidden @ w[f"kernel_{j}"] + w[f"bias_{j}"]
                hidden = np.maximum(hidden, 0) if j < depth - 1 else hidden
            h = h + hidden if depth else h
            check_within(h, network.streams[i + 1])
        outputs.append([h[token, row] for token, row in shape.outputs])
    outputs = np.array(outputs)
    return outputs[:, 0] if outputs.shape[1] == 1 else outputs


def check_within(h, interval):
    lower, upper = interval
    slack = 1e-9 * (1 + np.abs(lower) + np.abs(upper))
    data = h[:, : lower.shape[1]]
    assert np.all(data >= lower - slack) and np.all(data <= upper + slack), "the residual stream leaves its intervals"
