"""Does the loss on real text fall with the amount of data as fast as its intrinsic dimension says?"""

from jaxscale.studies.scaling.config import DataScaling
from jaxscale.studies.study import Study

STUDY = Study("scaling", __name__, DataScaling)
