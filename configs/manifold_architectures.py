"""Other ways of mixing tokens, with the same points, labels, tuning and steps: do they share the exponent?

for mixer in softmax window relu convolution state_space mlp; do
  jaxscale study configs/manifold_architectures.py --network.mixer $mixer --workdir runs/$mixer
done
"""

from jaxscale.config import PointRegressor
from jaxscale.studies import ManifoldStudy

config = ManifoldStudy(manifold="sphere", dimension=2, ambient=8, network=PointRegressor(mixer="relu"))
