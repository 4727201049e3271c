"""Which position encodings generalize in length, on a task that small decoders fit in seconds.

jaxscale length configs/length_positions_small.py --workdir runs/length_positions_small
"""

from jaxscale.config import Decoder
from jaxscale.studies import PositionStudy

config = PositionStudy(
    tasks=("bin_majority",),
    encodings=("none", "learned", "learned_regularized", "periodic", "local_bias", "alibi", "rotary"),
    seeds=(0, 1, 2),
    model=Decoder(layers=1, width=32, heads=2, hidden=64),
    steps=600,
    batch_size=32,
    checkpoint_every=150,
    learning_rate=5e-3,
    fitted=0.95,
)
