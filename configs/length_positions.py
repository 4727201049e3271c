"""Which position encodings generalize in length, at the predecessor's sizes: hours on a GPU.

jaxscale length configs/length_positions.py --workdir runs/length_positions
"""

from jaxscale.config import Decoder
from jaxscale.studies import PositionStudy

config = PositionStudy(
    tasks=(
        "bin_majority",
        "majority",
        "interleaved_majority",
        "sort",
        "unique_copy",
        "repeat_copy",
        "parity",
        "addition",
    ),
    encodings=(
        "none",
        "learned",
        "learned_regularized",
        "periodic",
        "local_bias",
        "t5",
        "alibi",
        "rotary",
        "fire",
        "randomized",
    ),
    seeds=(0, 1, 2, 3, 4),
    model=Decoder(layers=2, width=64, heads=4, hidden=256),
    steps=30_000,
    batch_size=64,
    samples=1024,
)
