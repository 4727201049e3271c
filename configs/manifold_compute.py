"""Error over widths and sizes, and its exponent along the best split of compute.

jaxscale study configs/manifold_compute.py --workdir runs/compute2
"""

from jaxscale.config import ManifoldStudy, PointTraining

config = ManifoldStudy(
    manifold="sphere",
    dimension=2,
    ambient=8,
    series="compute",
    training=PointTraining(widths=(4, 8, 16, 32)),
)
