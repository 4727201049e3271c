"""How long is long enough for sin(ω (c_0 - c_1)/(c_0 + c_1)), by frequency: sixty networks in a minute or two.

jaxscale length configs/lengths_simple.py --workdir runs/lengths_simple
"""

from jaxscale.studies import LengthStudy, LengthTraining

config = LengthStudy(
    task="simple",
    omegas=(2.0, 4.0, 6.0, 8.0),
    train_lengths=(4, 8, 16, 32, 64),
    train_on="fixed",
    training=LengthTraining(steps=8000, batch_size=64, learning_rate=1e-2),
    epsilons=(0.03, 0.1),
)
