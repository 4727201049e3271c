"""A teacher of a study's own: a decoder trained on its training documents, where no pretrained model is at hand.

own_teacher/    the run, its corpus and its tokenizer, as `jaxscale train` leaves them
"""

import pathlib

from jaxscale import config as configs
from jaxscale import training
from jaxscale.progress import Silent
from jaxscale.studies.teacher.config import TeacherStudy

FOLDER = "own_teacher"
WHAT = "a decoder trained on the same text"


def is_begun(workdir: pathlib.Path) -> bool:
    """Whether the teacher of the study in a folder is its own: its training began, whatever is installed since."""
    return (workdir / FOLDER / "config.json").is_file()


def run_of(study: TeacherStudy) -> configs.Run:
    """The run that makes the teacher. It sees as many tokens at once as students do."""
    own = study.teacher.own
    return configs.Run(
        corpus=study.corpus,
        tokenizer=configs.Tokenizer(kind="bpe", vocab_size=own.vocabulary),
        model=configs.Decoder(
            layers=own.layers, width=own.width, heads=4, hidden=4 * own.width, context=study.contexts.window
        ),
        optimizer=configs.Optimizer(learning_rate=3e-3, warmup_steps=max(1, own.steps // 20), weight_decay=0.1),
        training=configs.Training(steps=own.steps, batch_size=32, evaluate_every=max(1, own.steps // 10)),
    )


def trained(study: TeacherStudy, workdir: pathlib.Path, progress: Silent) -> pathlib.Path:
    """Trains the teacher, or goes on with it; returns the folder of the run.

    Raises:
      InputError: the corpus is too small to train on.
      RunError: the run failed; what was saved stays.
    """
    run, folder = run_of(study), workdir / FOLDER
    if not (folder / "summary.json").is_file():
        progress.say(f"training the teacher: {WHAT}")
        store = training.prepare(run, folder / "corpus", progress.say)
        configs.claim(workdir, study)
        training.train(run, store, folder, progress.run("the teacher", 0, 1))
    return folder
