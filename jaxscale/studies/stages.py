"""What all studies share: a folder that belongs to one configuration, and is only read once every file is there."""

import pathlib

from jaxscale import config as configs
from jaxscale import files
from jaxscale.progress import Silent

LAST = ("table.jsonl", "verdict.json", "report.html")


def finish(study, workdir, progress, work, stages=LAST):
    """The content of `verdict.json`, after `work(study, workdir, progress)` if one of the files `stages` is missing.

    `work` goes on from what is there, and calls `config.claim` once nothing can be refused any more.

    Raises:
      InputError: the configuration contradicts itself, or `workdir` holds another study.
    """
    configs.validate(study)
    progress, workdir = progress or Silent(), pathlib.Path(workdir)
    with files.workplace(workdir):
        configs.refuse_other(workdir, study)
        if not all((workdir / name).is_file() for name in stages):
            work(study, workdir, progress)
        return files.read_json(workdir / "verdict.json")
