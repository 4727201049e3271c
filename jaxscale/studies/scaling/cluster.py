"""A study's cells as jobs of a Slurm cluster, submitted through submitit: an array, in which each job trains a group.

    cluster = Cluster({"partition": "gpu", "gpus-per-node": "1", "time": "240"})
    summaries = cluster.train(study, "runs/text_loss")

A job knows only the study's folder and its cells' names, and does what is not done yet (`scaling.cells`); the folder
must be one that all nodes share. What is true is in that folder: this process may end and come back, and then submits
only the cells that have neither a summary nor a job.

Slurm tells a job before its time is over (SIGUSR2) and before it is preempted (SIGTERM). Either way it saves its state
and leaves; in the first case it queues itself again, in the second Slurm does.
"""

import contextlib
import dataclasses
import getpass
import os
import pathlib
import shutil
import signal
import subprocess
import time
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from jaxscale import config as configs
from jaxscale import data, files, preemption
from jaxscale.errors import InputError, RunError
from jaxscale.progress import Silent
from jaxscale.sharding import processes
from jaxscale.studies.scaling import cells
from jaxscale.studies.scaling.config import DataScaling

if TYPE_CHECKING:
    from submitit import SlurmExecutor
    from submitit.helpers import DelayedSubmission

# Seconds between looks at the study's folder; that a job which left the queue has until its files are seen here; and
# that Slurm may be silent.
POLL_SECONDS, SETTLE_SECONDS, PATIENCE = 5, 90, 600
# Seconds before its time is over at which a job is told so, and how often it may run out of time.
NOTICE_SECONDS, TIMEOUTS = 120, 1000


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where jobs go and what they ask for.

    Attributes:
      options: of `sbatch`, by their long names: {"partition": "gpu", "gpus-per-node": "1", "exclusive": True}.
      at_once: jobs that may run at the same time.
    """

    options: dict[str, str | bool] = dataclasses.field(default_factory=dict)
    at_once: int = 256

    def script(self, study: DataScaling, workdir: str | os.PathLike[str]) -> str:
        """What `sbatch` would be given for all cells of a study, as text."""
        executor = self._executor(workdir)
        executor.parameters["map_count"] = len(cells.groups(study))
        return executor._make_submission_file_text(executor._submitit_command_str, "")

    def train(
        self, study: DataScaling, workdir: str | os.PathLike[str], progress: Silent | None = None
    ) -> dict[str, dict[str, Any]]:
        """Summaries of all cells by name, in the order of `cells`, once all are done.

        Args:
          study: a `studies.DataScaling`, whose folder `workdir` is and holds the prepared corpus.
          workdir: the study's folder.
          progress: as of `data_scaling.run`.

        Raises:
          InputError: submitit is not installed, or there is no Slurm here, or it refuses the options.
          RunError: jobs ended without having trained their cells; the others are finished first.
        """
        workdir, progress = pathlib.Path(workdir).absolute(), progress or Silent()
        jobs = _Jobs(workdir, cells.groups(study))
        waiting = jobs.unfinished()
        if waiting:
            queued = jobs.known(waiting) & _queue() if jobs.known(waiting) else set()
            new = [names for names in waiting if jobs.job(names) not in queued]
            if new:
                with preemption.notice():  # jobs that are submitted are noted, whatever order comes
                    jobs.note(new, self._submit(workdir, new))
            progress.say(
                f"{len(waiting)} jobs on the cluster, {len(new)} of them new; their output: {workdir / 'jobs'}"
            )
            jobs.wait(waiting, progress)
        return {name: files.read_json(workdir / "runs" / name / "summary.json") for name, *_ in cells.cells(study)}

    def _submit(self, workdir: pathlib.Path, groups: Sequence[list[str]]) -> list[str]:
        """Ids of an array's jobs, one for each group of names."""
        executor = self._executor(workdir)
        try:
            with executor.batch():
                submitted = [executor.submit(Job(str(workdir), names)) for names in groups]
        except Exception as error:  # submitit's own kinds, for whatever sbatch says
            raise InputError(f"sbatch={self.options} is refused: {str(error).strip()}. See `man sbatch`.") from error
        return [job.job_id for job in submitted]

    def _executor(self, workdir: str | os.PathLike[str]) -> "SlurmExecutor":
        submitit = _submitit()
        if shutil.which("srun") is None:
            raise InputError("cluster='slurm': there is no srun here. Give the command on a node of the cluster.")
        executor: SlurmExecutor = submitit.SlurmExecutor(
            pathlib.Path(workdir).absolute() / "jobs", max_num_timeout=TIMEOUTS
        )
        executor.update_parameters(
            job_name="jaxscale",
            signal_delay_s=NOTICE_SECONDS,
            array_parallelism=self.at_once,
            time=240,
            additional_parameters={"requeue": True, **self.options},
        )
        return executor


def parse(pairs: Iterable[str]) -> dict[str, str | bool]:
    """{"partition": "gpu"} from ["partition=gpu"]; a name alone is a flag. Raises InputError for what is neither."""
    options: dict[str, str | bool] = {}
    for pair in pairs:
        name, equals, value = pair.lstrip("-").partition("=")
        if not name or (equals and not value) or not name.replace("-", "").isalnum():
            raise InputError(f"sbatch={pair!r} is not one of its options. Give NAME=VALUE, such as partition=gpu.")
        options[name] = value or True
    return options


def _submitit() -> types.ModuleType:
    try:
        import submitit
    except ImportError:
        raise InputError(
            "cluster='slurm' needs the package 'submitit'. Install it with: pip install 'jaxscale[slurm]'."
        ) from None
    return submitit


@dataclasses.dataclass(frozen=True)
class Job:
    """What a job does, in its own process: trains the cells of one group. submitit pickles it and calls it there."""

    workdir: str
    names: list[str]

    def __call__(self) -> None:
        workdir = pathlib.Path(self.workdir)
        leave = contextlib.suppress(preemption.Preempted, preemption.Leave)
        with _time_is_over_told() as told, leave, preemption.orders():
            processes.start()
            study = configs.from_json((workdir / "config.json").read_text(encoding="utf-8"), DataScaling)
            store = data.open_store(workdir / "corpus")
            cells.train(study, self.names, store, workdir / "runs")
            return
        if told:
            signal.raise_signal(signal.SIGUSR2)  # submitit's: puts this job into the queue again, and ends
        # No result, not even an error: Slurm, which asked, starts the job again unless its owner cancelled it.
        raise SystemExit(preemption.Preempted.exit_code)

    def checkpoint(self) -> "DelayedSubmission":
        """What to submit in place of a job whose time was over: the same, for it goes on where it stopped."""
        submission: DelayedSubmission = _submitit().helpers.DelayedSubmission(self)
        return submission


@contextlib.contextmanager
def _time_is_over_told() -> Iterator[list[int]]:
    """SIGUSR2 is an order to save and leave, as SIGTERM is; yields a list that it is noted in."""
    told: list[int] = []
    queue_again = signal.getsignal(signal.SIGUSR2)

    def tell(number: int, frame: types.FrameType | None) -> None:
        told.append(number)
        signal.raise_signal(signal.SIGTERM)

    if callable(queue_again):  # else this is no job, and nobody sends it
        signal.signal(signal.SIGUSR2, tell)
    try:
        yield told
    finally:
        signal.signal(signal.SIGUSR2, queue_again)


class _Jobs:
    """Groups of cells and their jobs, as noted in the study's folder."""

    def __init__(self, workdir: pathlib.Path, groups: Sequence[list[str]]) -> None:
        self.workdir, self.groups, self.path = workdir, groups, workdir / "jobs" / "jobs.json"
        self.path.parent.mkdir(exist_ok=True)
        self.ids: dict[str, str] = files.read_json(self.path) if self.path.is_file() else {}

    def unfinished(self) -> list[list[str]]:
        """Groups with a cell that has no summary."""
        done = lambda name: (self.workdir / "runs" / name / "summary.json").is_file()
        return [names for names in self.groups if not all(map(done, names))]

    def job(self, names: Sequence[str]) -> str | None:
        """Id of the last job of a group, or None."""
        return self.ids.get(names[0])

    def known(self, groups: Iterable[Sequence[str]]) -> set[str]:
        """Ids of the groups' jobs."""
        return {job for names in groups if (job := self.job(names)) is not None}

    def note(self, groups: Sequence[Sequence[str]], ids: Sequence[str]) -> None:
        self.ids |= {names[0]: job for names, job in zip(groups, ids, strict=True)}
        files.write_json(self.path, self.ids)

    def wait(self, waiting: Sequence[list[str]], progress: Silent) -> None:
        """Until every one of the groups is done or has lost its job. Raises RunError if there are such."""
        report = progress.run("on the cluster", 0, 1, "study")
        total = len(waiting)
        gone: dict[str, float] = {}
        while True:
            waiting = [names for names in self.unfinished() if names in waiting]
            report(step=total - len(waiting), steps=total)
            queue = _queue()
            lost = [names for names in waiting if self.job(names) not in queue]
            gone = {names[0]: gone.get(names[0], time.monotonic()) for names in lost}
            over = [names for names in lost if time.monotonic() - gone[names[0]] > SETTLE_SECONDS]
            if len(over) == len(waiting):
                break
            time.sleep(POLL_SECONDS)
        if over:
            told = [f"{names[0]}: {self._last_words(names)}" for names in over]
            raise RunError(
                f"{len(over)} of {total} jobs ended and their runs are not done: {'; '.join(told[:5])}. "
                "The same command submits them again; they go on from their last checkpoints."
            )

    def _last_words(self, names: Sequence[str]) -> str:
        """The end of a job's standard error, and where it is."""
        paths = sorted((self.workdir / "jobs").glob(f"{self.job(names)}_*_log.err"))
        if not paths:
            return f"job {self.job(names)} wrote nothing"
        said = paths[0].read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = [line for line in said if not line.startswith("srun:")]  # it only adds that there was an error
        return f"{said[-1] if said else 'no word'} ({paths[0]})"


def _queue() -> set[str]:
    """Ids of this user's jobs that wait or run."""
    asked = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%i"]
    for _ in range(PATIENCE // POLL_SECONDS):
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode == 0:
            return set(done.stdout.split())
        time.sleep(POLL_SECONDS)
    raise RunError(f"squeue fails: {done.stderr.strip()}. The jobs go on; the same command waits for them again.")
