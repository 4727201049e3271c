"""Does the error fall as the manifold's dimension says? Transformers on spheres, minutes of CPU for each dimension.

for d in 1 2 3; do
  jaxscale study configs/manifold_regression.py --dimension $d --workdir runs/sphere$d
done
"""

from jaxscale.config import ManifoldStudy

config = ManifoldStudy(manifold="sphere", dimension=2, ambient=8)
