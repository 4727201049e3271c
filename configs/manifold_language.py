"""Next-token prediction where the geometry of contexts is known: texts whose next symbol depends on a point they spell.

jaxscale study configs/manifold_language.py --workdir runs/language

Four symbols, two binary digits each; a context of twelve is a point of a square. n is the length of the text that is
learned from.
"""

from jaxscale.config import ManifoldStudy, ManifoldTarget

config = ManifoldStudy(
    manifold="language",
    dimension=2,
    ambient=48,
    objective="cross_entropy",
    target=ManifoldTarget(classes=4),
)
