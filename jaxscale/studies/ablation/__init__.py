"""What does the measured dimension depend on: the model, its text, or the measurement?"""

from jaxscale.studies.ablation.config import DimensionAblation
from jaxscale.studies.study import Study

STUDY = Study("ablation", __name__, DimensionAblation)
