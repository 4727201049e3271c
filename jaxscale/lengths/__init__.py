"""Length generalization: how long must training strings be before a transformer is right at every length?

After Izzo, Nichani & Lee 2026 (arXiv 2510.27015) and Huang et al. 2025 (arXiv 2410.02140).

    task, net = lengths.ModPTask(period=3), lengths.LimitTransformer(alphabet=2, period=3)
    lengths.complexity(net, params).lipschitz           # what the bounds ask of a network
    # log10 of a sufficient train length, quoted and derived
    lengths.bounds.one_layer_worst_case(4, period=3, locality=0, alphabet=2, gap=1, bits=8, epsilon=0.1)
    lengths.proportional(tokens, length, budget=100, alphabet=2, period=3)    # the short string the proof builds

Strings come in arrays of one shape, padded, so that one compiled program serves every length.
"""

from jaxscale.lengths import adversarial, bounds, constructions, evaluation, references, sweep
from jaxscale.lengths.algorithmic import ALGORITHMIC
from jaxscale.lengths.certificates import Certificate, certificate, tightest
from jaxscale.lengths.complexities import Complexity, complexity
from jaxscale.lengths.kgram import KGramTask
from jaxscale.lengths.simulation import Short, last, proportional, random_draw
from jaxscale.lengths.strings import PAD, Statistics, summarize
from jaxscale.lengths.subsampling import thin
from jaxscale.lengths.tasks import ModPTask, SimpleTask, Target
from jaxscale.lengths.thresholds import exponent, threshold
from jaxscale.lengths.transformer import LimitTransformer, StringLaw

__all__ = [
    "ALGORITHMIC",
    "PAD",
    "Certificate",
    "Complexity",
    "KGramTask",
    "LimitTransformer",
    "ModPTask",
    "Short",
    "SimpleTask",
    "Statistics",
    "StringLaw",
    "Target",
    "adversarial",
    "bounds",
    "certificate",
    "complexity",
    "constructions",
    "evaluation",
    "exponent",
    "last",
    "proportional",
    "random_draw",
    "references",
    "summarize",
    "sweep",
    "thin",
    "threshold",
    "tightest",
]


def __dir__() -> list[str]:
    return list(__all__)
