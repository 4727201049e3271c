"""Scaling laws fitted to a table of runs: exponents with intervals that hold, and a warning where they cannot.

    fit = laws.fit([{"n": 1e5, "loss": 3.1}, ...], law="data", key=jax.random.key(0))
    fit.exponent, fit.intervals["exponent"]     # 0.30, Interval(lower=0.27, upper=0.34)
    fit.predict(1e9), fit.band(1e9)             # the loss at a size not yet trained, and its interval

The forms are listed in `LAWS`; each declares the columns it reads and the parameters it fits.
"""

from jaxscale.laws.fitting import Fit, Interval, Profile, fit
from jaxscale.laws.forms import LAWS, Law

__all__ = ["LAWS", "Fit", "Interval", "Law", "Profile", "fit"]
