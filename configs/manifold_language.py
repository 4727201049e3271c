"""Next-token prediction where the geometry of contexts is known: texts whose next symbol depends on a point they spell.

jaxscale study configs/manifold_language.py --workdir runs/language

Four symbols, two binary digits each; a context of twelve is a point of a square. n is the length of the text that is
learned from.
"""

from jaxscale.studies import ManifoldStudy, ManifoldTarget, PointTraining

config = ManifoldStudy(
    manifold="language",
    dimension=2,
    ambient=48,
    objective="cross_entropy",
    target=ManifoldTarget(classes=4),
    # What symbols are worth is learned first, from a thousand of them; only then can errors fall as their points say.
    sizes=(90, 256, 724, 2048, 5793, 16384, 46341),
    in_excess=131072,
    training=PointTraining(steps=16_000, weight_decays=(0.1, 0.3, 3.0, 30.0)),
)
