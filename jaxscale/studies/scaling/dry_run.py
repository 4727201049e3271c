"""What would be trained, and how a cluster would be told of it."""

import os
from typing import Any

from jaxscale.studies.scaling import cells
from jaxscale.studies.scaling.cluster import Cluster
from jaxscale.studies.scaling.config import DataScaling


def describe(
    study: DataScaling, workdir: str | os.PathLike[str] | None, cluster: Cluster | None = None
) -> dict[str, Any]:
    """The names of the runs of each job, and the script that sbatch would be given; None where there is no cluster."""
    script = cluster.script(study, workdir) if cluster and workdir is not None else None
    return {"jobs": cells.groups(study), "script": script}


def show(facts: dict[str, Any]) -> None:
    """Prints what `describe` returned, the script as sbatch would read it."""
    for index, names in enumerate(facts["jobs"]):
        print(f"# {index}: {' '.join(names)}")
    print(facts["script"] or f"# {len(facts['jobs'])} one after the other on this host")
