"""How long is long enough for the in-context k-gram, by order and alphabet: two layers, every prefix a string.

Second layers read whole strings: an hour or more on a processor, unlike its siblings.

jaxscale length configs/lengths_k_gram.py --workdir runs/lengths_k_gram
"""

from jaxscale.studies import LengthStudy, LengthTraining, LimitNetwork

config = LengthStudy(
    task="k_gram",
    orders=(1, 2),
    alphabets=(2, 3),
    train_lengths=(16, 32, 64),
    train_on="up_to",
    seeds=(0, 1, 2),
    test_lengths=(16, 64, 256, 1024, 4096),
    samples=256,
    epsilons=(0.1, 0.2),
    network=LimitNetwork(width=16, heads=2, hidden=32),
    training=LengthTraining(steps=4000, batch_size=16, learning_rate=1e-2, checkpoint_every=500),
)
