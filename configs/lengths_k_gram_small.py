"""The in-context k-gram with fewer steps and seeds than its sibling: four minutes of processor time.

jaxscale length configs/lengths_k_gram_small.py --workdir runs/lengths_k_gram_small
"""

from jaxscale.studies import LengthStudy, LengthTraining, LimitNetwork

config = LengthStudy(
    task="k_gram",
    orders=(1, 2),
    alphabets=(2, 3),
    train_lengths=(16, 32, 64),
    train_on="up_to",
    seeds=(0, 1),
    test_lengths=(16, 64, 256, 1024),
    samples=128,
    epsilons=(0.1, 0.2),
    network=LimitNetwork(width=16, heads=2, hidden=32),
    training=LengthTraining(steps=2000, batch_size=16, learning_rate=1e-2, checkpoint_every=500),
)
