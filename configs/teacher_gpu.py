"""Real text with a known truth at an accelerator's size: all of SmolLM2's vocabulary, 10⁸ labels, students like GPT-2.

jaxscale study configs/teacher_gpu.py --dry-run
jaxscale study configs/teacher_gpu.py --workdir runs/teacher_gpu

What fits on a device of 80 GB, by the dry run: three students of 126 million parameters side by side with all labels,
45 GiB, for which jax's share of the memory suffices; all 22 take at most 3.75e18 FLOPs. Compiled for devices that were
not there, one student took 25 GiB of an H100, 8% more than the dry run says, and 37 GiB of a TPU v5p, 59% more. The
others wait in the host's memory, which holds 76 GiB; of the disk the study takes 77 GiB, and 62 more while a checkpoint
is replaced.
What does not fit: the truth of all training windows, 20 TB. It is kept of 512 of them, for the student that learns the
truth itself; and no neighbors are looked for among 10⁸ contexts. Labels are drawn by the host: some six hours of one
core. Nothing of this has been run.
"""

from jaxscale.config import Corpus
from jaxscale.studies import Contexts, StudentTraining, Teacher, TeacherStudy

config = TeacherStudy(
    corpus=Corpus(kind="hf", name="Skylion007/openwebtext", held_out_fraction=0.005, max_documents=200_000),
    teacher=Teacher(name="smollm2", outcome="full", layers=6, windows=64),
    contexts=Contexts(
        window=64, skipped=8, training=1_785_728, soft=512, held_out=720, windows_per_document=2, positions=8
    ),
    sizes=(100_000, 316_000, 1_000_000, 3_160_000, 10_000_000, 31_600_000, 100_000_000),
    seeds=(0, 1, 2),
    training=StudentTraining(
        layers=12,
        widths=(768,),
        heads=12,
        steps=28_000,
        batch_size=128,
        evaluate_every=250,
        checkpoint_every=3500,
        at_once=3,
        learning_rates=(6e-4,),
        weight_decays=(1.0,),
    ),
    references=False,
)
