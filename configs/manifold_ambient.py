"""The same sphere, points and labels in spaces of growing dimension: do exponent and constant stay?

for D in 4 8 64 256; do
  jaxscale study configs/manifold_ambient.py --ambient $D --workdir runs/ambient$D
done
"""

from jaxscale.studies import ManifoldStudy

config = ManifoldStudy(manifold="sphere", dimension=2, ambient=64)
