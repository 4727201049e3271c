"""Importing the library is cheap and brings no heavy passenger."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "grain", "orbax", "matplotlib", "plotly", "tokenizers", "tensorboardX", "pydantic", "tyro")


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import jaxscale", HEAVY),
        (
            "from jaxscale import dimension, laws, theory; dimension.mle, laws.fit",
            (*HEAVY, "flax", "jaxscale.training", "jaxscale.data"),
        ),
        ("import jaxscale; jaxscale.manifolds.sphere(2)", (*HEAVY, "flax", "jaxscale.training", "jaxscale.dimension")),
        ("from jaxscale import testing; testing.check_estimator", (*HEAVY, "flax", "hypothesis", "pytest")),
    ],
)
def test_import_loads_no_heavy_package(statement, heavy):
    program = f"{statement}; import sys; print([name for name in {heavy!r} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )
