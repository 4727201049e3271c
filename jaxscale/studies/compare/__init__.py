"""What do finished studies of one kind say together?"""

from jaxscale.studies.study import Study

STUDY = Study("compare", __name__)
