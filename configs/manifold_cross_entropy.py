"""Labels drawn with probabilities that vary over the sphere: does excess cross-entropy fall as squared error does?

jaxscale study configs/manifold_cross_entropy.py --workdir runs/cross_entropy

With --target.classes 16 the label is one of sixteen symbols, as a next token is one of a vocabulary.
"""

from jaxscale.studies import ManifoldStudy

config = ManifoldStudy(manifold="sphere", dimension=2, ambient=8, objective="cross_entropy")
