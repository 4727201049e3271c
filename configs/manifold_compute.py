"""Error over widths and sizes, and its exponent along the best split of compute.

jaxscale study configs/manifold_compute.py --workdir runs/compute2
"""

from jaxscale.studies import ManifoldStudy, PointTraining

config = ManifoldStudy(
    manifold="sphere",
    dimension=2,
    ambient=8,
    series="compute",
    seeds=(0, 1, 2, 3, 4),
    training=PointTraining(weight_decays=(0.1, 3.0, 30.0), widths=(4, 8, 16, 32)),
)
