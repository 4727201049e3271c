"""Points that leave the sphere by a little and by a lot: where do the measured dimension and the exponent leave it?

for scale in 0.01 0.03 0.1 0.3; do
  jaxscale study configs/manifold_noise.py --point-noise $scale --workdir runs/noise$scale
done

With --point-noise-kind student_t the noise has heavy tails.
"""

from jaxscale.studies import ManifoldStudy

config = ManifoldStudy(manifold="sphere", dimension=2, ambient=8, point_noise=0.1)
