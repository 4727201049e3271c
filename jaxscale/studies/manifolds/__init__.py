"""Does the error fall as theory says, on points of known dimension and targets of known smoothness?"""

from jaxscale.studies.manifolds.config import ManifoldStudy
from jaxscale.studies.study import Study

STUDY = Study("manifolds", __name__, ManifoldStudy)
