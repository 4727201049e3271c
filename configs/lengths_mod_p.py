"""How long is long enough for the mean of the tokens at positions 0 mod p, by period.

jaxscale length configs/lengths_mod_p.py --workdir runs/lengths_mod_p

Networks are trained on every length up to N: on one length alone they would know a single residue of the query.
"""

from jaxscale.studies import LengthStudy, LengthTraining

config = LengthStudy(
    task="mod_p",
    periods=(2, 3, 5, 8),
    train_lengths=(8, 16, 32, 64, 128),
    train_on="up_to",
    training=LengthTraining(steps=8000, batch_size=64, learning_rate=1e-2),
    epsilons=(0.03, 0.1),
)
