"""Experiments: a grid, a table, a verdict, a page. Each is a folder here and a line in `study.FOLDERS`.

from jaxscale import studies

verdict = studies.run(studies.DataScaling(), "runs/text_loss")
studies.render("runs/text_loss")      # writes runs/text_loss/report.html again

Configurations and the registry load no jax; what a study does loads with its first use.
"""

from jaxscale.studies.ablation.config import DimensionAblation
from jaxscale.studies.lengths.config import LengthStudy, LengthTraining, LimitNetwork
from jaxscale.studies.manifolds.config import ManifoldStudy, ManifoldTarget, PointTraining
from jaxscale.studies.positions.config import PositionStudy
from jaxscale.studies.scaling.config import DataScaling
from jaxscale.studies.study import Study, registry, render, run
from jaxscale.studies.teacher.config import Contexts, OwnTeacher, StudentTraining, Teacher, TeacherStudy

__all__ = [
    "Contexts",
    "DataScaling",
    "DimensionAblation",
    "LengthStudy",
    "LengthTraining",
    "LimitNetwork",
    "ManifoldStudy",
    "ManifoldTarget",
    "OwnTeacher",
    "PointTraining",
    "PositionStudy",
    "StudentTraining",
    "Study",
    "Teacher",
    "TeacherStudy",
    "registry",
    "render",
    "run",
]


def __dir__() -> list[str]:
    return list(__all__)
