"""Real text with a known truth: does the error fall as the geometry of contexts says?"""

from jaxscale.studies.study import Study
from jaxscale.studies.teacher.config import TeacherStudy

STUDY = Study("teacher", __name__, TeacherStudy, one_per_core=True)
