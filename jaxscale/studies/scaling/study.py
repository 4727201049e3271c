"""The data-scaling study: real text in, a verdict out. Every stage is a file, and a stage that is done is never redone.

verdict = run(studies.DataScaling(), "runs/text_loss")

corpus/            tokens and tokenizer
runs/n=…_seed=…/   one training run each
table.jsonl        a row per run: n, seed, minimum of the validation curve
dimension.json     intrinsic dimension of the largest runs' embeddings, by layer
verdict.json       predicted and observed exponent, agreement, caveats
seconds.json       what each stage took, over all starts
report.html        the same as a page
"""

import dataclasses
import functools
import os
import pathlib
from typing import TYPE_CHECKING, Any

import jax

from jaxscale import config as configs
from jaxscale import files, laws, sharding
from jaxscale.data import Store, prepare
from jaxscale.errors import RunError
from jaxscale.progress import Silent
from jaxscale.studies import geometry
from jaxscale.studies.scaling.cells import cells, check, groups, train
from jaxscale.studies.scaling.config import DataScaling
from jaxscale.studies.scaling.verdict import compare
from jaxscale.studies.stages import Clock, finish

if TYPE_CHECKING:
    from jaxscale.studies.scaling.cluster import Cluster

COLUMNS = ("loss", "step", "steps", "epochs", "stopped", "edge", "parameters")


def run(
    study: DataScaling,
    workdir: str | os.PathLike[str],
    progress: Silent | None = None,
    cluster: "Cluster | None" = None,
) -> dict[str, Any]:
    """Runs, or goes on with, a study in `workdir`; a finished one is only read.

    Args:
      study: a `studies.DataScaling`.
      workdir: the study's folder, made if need be.
      progress: told of what happens (`progress.Silent`, `progress.OnTerminal`).
      cluster: where the runs are trained, a `cluster.Cluster`; default here. All else is done here.

    Returns:
      The verdict, the content of `verdict.json`.

    Raises:
      InputError: the configuration contradicts itself, the corpus or the devices; or `workdir` holds another study.
      RunError: a run failed; what was finished stays, and the same call goes on from there.
    """
    work = functools.partial(_run, cluster=cluster)
    return finish(study, workdir, progress, work, _stages(study))


def _stages(study: DataScaling) -> list[str]:
    """Every file of every stage: what is missing is made again from what is not."""
    stages = ("corpus/facts.json", "table.jsonl", "dimension.json", "verdict.json", "report.html")
    runs = [f"runs/{name}/{file}" for name, *_ in cells(study) for file in ("summary.json", "metrics.jsonl")]
    return [*stages, *runs]


def _run(
    study: DataScaling, workdir: pathlib.Path, progress: Silent, clock: Clock, cluster: "Cluster | None"
) -> dict[str, Any]:
    """Every stage that is not done yet."""
    if study.together == 1 and cluster is None:
        sharding.check_fits(sharding.make_mesh(study.run.mesh), study.run)
    with clock.stage("corpus"):
        store = prepare(study.run.corpus, study.run.tokenizer, workdir / "corpus", progress.say)
        geometry.check(study, store)
        check(study, store, elsewhere=cluster is not None)
        configs.claim(workdir, study)  # only now: what is refused above does not take the folder
    with clock.stage("training"):
        if cluster:
            summaries = cluster.train(study, workdir, progress)
        else:
            summaries = _train(study, store, workdir, progress, clock)
    rows = [
        {"run": name, "n": n, "seed": seed} | {c: summary[c] for c in COLUMNS}
        for (name, n, seed), summary in zip(cells(study), summaries.values(), strict=True)
    ]
    files.write_json_lines(workdir / "table.jsonl", rows)
    # A mesh of the cluster's devices may not fit those here; any will do to embed.
    here = (
        study
        if cluster is None
        else dataclasses.replace(study, run=dataclasses.replace(study.run, mesh=configs.Mesh()))
    )
    with clock.stage("dimension"):
        measured = _measure(here, store, workdir, summaries, progress)
    progress.say("fitting the law and writing the report")
    with clock.stage("laws"):
        fit = laws.fit(rows, law="data", key=jax.random.key(0), level=study.level, resamples=study.resamples)
        ahead = laws.back_test(fit, key=jax.random.key(1))
    return compare(study, rows, measured, fit, ahead) | {"corpus": store.facts}


def _train(
    study: DataScaling, store: Store, workdir: pathlib.Path, progress: Silent, clock: Clock
) -> dict[str, dict[str, Any]]:
    """Summaries of all runs by name, in the order of `cells`."""
    batches = groups(study)
    summaries: dict[str, dict[str, Any]] = {}
    for index, names in enumerate(batches):
        title = names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"
        report = progress.run(title, index, len(batches), "run" if study.together == 1 else "sweep")
        try:
            summaries |= train(study, names, store, workdir / "runs", report)
        except RunError as error:
            raise type(error)(f"run {title}: {error}") from error
        clock.save()
    return summaries


def _measure(
    study: DataScaling, store: Store, workdir: pathlib.Path, summaries: dict[str, dict[str, Any]], progress: Silent
) -> dict[str, Any]:
    """The dimension of the embeddings of the runs with the most data, one for each seed."""
    path = workdir / "dimension.json"
    if not path.is_file():
        progress.say("measuring the intrinsic dimension of the embeddings")
        largest = max(study.sizes)
        names = [name for name, n, _ in cells(study) if n == largest]
        folders = {name: (workdir / "runs" / name, summaries[name]) for name in names}
        files.write_json(path, geometry.measure(study, store, folders))
    measured: dict[str, Any] = files.read_json(path)
    return measured
