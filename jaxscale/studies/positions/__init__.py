"""Which position encodings generalize in length?"""

from jaxscale.studies.positions.config import PositionStudy
from jaxscale.studies.study import Study

STUDY = Study("positions", __name__, PositionStudy)
