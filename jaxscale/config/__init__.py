"""What to do, as typed values: frozen dataclasses, one Python file per experiment, overridden by flags.

    config = load("configs/quickstart.py", ["--run.training.steps", "200"])

A config file is ordinary Python that binds `config` to a `Run` (one training run) or a study (`Config`).
"""

from jaxscale.config.ablations import DimensionAblation
from jaxscale.config.checks import validate
from jaxscale.config.fields import (
    Corpus,
    DataScaling,
    Decoder,
    Dimension,
    Mesh,
    Optimizer,
    Run,
    Tokenizer,
    Training,
    cell,
)
from jaxscale.config.folders import claim, of_folder, refuse_other
from jaxscale.config.lengths import LengthStudy, LengthTraining, LimitNetwork, PositionStudy, complexities
from jaxscale.config.loading import Config, from_json, kinds, load, to_json
from jaxscale.config.manifolds import ManifoldStudy, ManifoldTarget, PointRegressor, PointTraining

__all__ = [
    "Config",
    "Corpus",
    "DataScaling",
    "Decoder",
    "Dimension",
    "DimensionAblation",
    "LengthStudy",
    "LengthTraining",
    "LimitNetwork",
    "ManifoldStudy",
    "ManifoldTarget",
    "Mesh",
    "Optimizer",
    "PointRegressor",
    "PointTraining",
    "PositionStudy",
    "Run",
    "Tokenizer",
    "Training",
    "cell",
    "claim",
    "complexities",
    "from_json",
    "kinds",
    "load",
    "of_folder",
    "refuse_other",
    "to_json",
    "validate",
]
