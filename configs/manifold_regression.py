"""Does the error fall as the manifold's dimension says? Transformers on spheres, six minutes of two cores each.

for d in 1 2 3; do
  jaxscale study configs/manifold_regression.py --dimension $d --workdir runs/sphere$d
done
"""

from jaxscale.config import ManifoldStudy, PointTraining

config = ManifoldStudy(
    manifold="sphere",
    dimension=2,
    ambient=8,
    training=PointTraining(
        steps=3000,
        evaluate_every=50,
        learning_rates=(3e-3, 1e-2),
        weight_decays=(0.1, 1.0),
        widths=(24,),
    ),
)
