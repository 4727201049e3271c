"""Importing the library is cheap and brings no heavy passenger."""

import pkgutil
import subprocess
import sys

import pytest

import jaxscale

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


def test_every_sub_package_is_there_after_import_jaxscale():
    """In a process of its own: here other tests have imported them."""
    packages = {found.name for found in pkgutil.iter_modules(jaxscale.__path__) if found.ispkg} - {"commands"}
    assert packages <= set(jaxscale.__all__)
    program = f"import jaxscale; print([getattr(jaxscale, name).__name__ for name in {jaxscale.__all__!r}])"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lenghts'"):
        _ = jaxscale.lenghts
