"""Error against the number of parameters, with data in excess and no label noise.

jaxscale study configs/manifold_parameters.py --workdir runs/parameters2
"""

from jaxscale.studies import ManifoldStudy, PointTraining

config = ManifoldStudy(
    manifold="sphere",
    dimension=2,
    ambient=8,
    series="parameters",
    # Steps enough that what limits is the number of parameters.
    training=PointTraining(
        steps=32_000,
        checkpoint_every=2000,
        widths=(4, 8, 12, 16, 24, 32),
        weight_decays=(0.0,),
        learning_rates=(1e-3, 3e-3, 1e-2),
    ),
)
