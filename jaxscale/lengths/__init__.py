"""Length generalization: how long must training strings be before a transformer is right at every length?

After Izzo, Nichani & Lee 2026 (arXiv 2510.27015) and Huang et al. 2025 (arXiv 2410.02140): the tasks, the limit
transformers, the bounds, the simulation argument behind them, and the experiments.
"""

from jaxscale.lengths.algorithmic import ALGORITHMIC
from jaxscale.lengths.kgram import KGramTask
from jaxscale.lengths.languages import LANGUAGES
from jaxscale.lengths.strings import PAD, Statistics, summarize
from jaxscale.lengths.tasks import ModPTask, SimpleTask, Target
from jaxscale.lengths.transformer import Law, LimitTransformer

__all__ = [
    "ALGORITHMIC",
    "LANGUAGES",
    "PAD",
    "KGramTask",
    "Law",
    "LimitTransformer",
    "ModPTask",
    "SimpleTask",
    "Statistics",
    "Target",
    "summarize",
]
