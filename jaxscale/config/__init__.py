"""What to do, as typed values: frozen dataclasses, one Python file per experiment, overridden by flags.

    run = load("configs/text_loss.py", ["--training.steps", "200"], Run)

A config file is ordinary Python that binds `config` to a `Run` (one training run) or to a study of `jaxscale.studies`.
"""

from jaxscale.config.configuration import Configuration, validate
from jaxscale.config.fields import Corpus, Decoder, Dimension, Mesh, Optimizer, PointRegressor, Run, Tokenizer, Training
from jaxscale.config.folders import claim, kind_of_folder, of_folder, refuse_other
from jaxscale.config.loading import from_json, load, to_json

__all__ = [
    "Configuration",
    "Corpus",
    "Decoder",
    "Dimension",
    "Mesh",
    "Optimizer",
    "PointRegressor",
    "Run",
    "Tokenizer",
    "Training",
    "claim",
    "from_json",
    "kind_of_folder",
    "load",
    "of_folder",
    "refuse_other",
    "to_json",
    "validate",
]


def __dir__() -> list[str]:
    return list(__all__)
