"""How long must training strings be before a limit transformer is right at every length?"""

from jaxscale.studies.lengths.config import LengthStudy
from jaxscale.studies.study import Study

STUDY = Study("lengths", __name__, LengthStudy)
