"""Do several studies on manifolds share an exponent?"""

from jaxscale.studies.study import Study

STUDY = Study("compare", __name__)
