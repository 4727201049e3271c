"""The same question with larger networks, more steps, seeds and points: for a GPU.

for d in 1 2 3 4 5 6; do
  jaxscale study configs/manifold_gpu.py --dimension $d --workdir runs/gpu$d
done
"""

from jaxscale.config import PointRegressor
from jaxscale.studies import ManifoldStudy, PointTraining

config = ManifoldStudy(
    manifold="sphere",
    dimension=2,
    ambient=8,
    sizes=(64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536),
    in_excess=262144,
    seeds=(0, 1, 2, 3, 4, 5),
    validation=8192,
    network=PointRegressor(tokens=8, layers=3, heads=4),
    training=PointTraining(
        steps=64_000,
        batch_size=256,
        evaluate_every=200,
        checkpoint_every=2000,
        learning_rates=(3e-4, 1e-3, 3e-3),
        weight_decays=(0.0, 0.03, 0.3, 3.0, 30.0),
        widths=(32, 64, 128),
    ),
)
