"""Does the error fall as the manifold's dimension says? Transformers on spheres, ten minutes of two cores each.

for d in 1 2 3; do
  jaxscale study configs/manifold_regression.py --dimension $d --workdir runs/sphere$d
done
"""

from jaxscale.studies import ManifoldStudy, PointTraining

config = ManifoldStudy(
    manifold="sphere",
    dimension=2,
    ambient=8,
    seeds=(0, 1, 2, 3, 4),
    training=PointTraining(widths=(16, 32)),
)
