"""What a study with a teacher would take: counted from shapes, before the teacher is loaded or anything is computed.

Windows are as many as are asked for; those held out may be a few more, as documents are taken whole. What is said of a
device is of an accelerator, which trains students side by side; a processor trains one at a time.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.errors import InputError
from jaxscale.models import matmul_flops_per_token
from jaxscale.models.language_models import missing
from jaxscale.studies.teacher import contexts, forward, students
from jaxscale.studies.teacher.config import TeacherStudy, labeled, soft_windows
from jaxscale.studies.teacher.study import grid

Facts = dict[str, Any]

# Blocks, width and vocabulary of teachers that are known by name.
KNOWN = {"smollm2": (30, 576, 49152)}
# Of a token: 256 bytes, or none.
LETTERS = 257


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What follows from the teacher.

    Attributes:
      outcomes: K.
      state: bytes of the states of one context, all measured layers together.
      spelling: J, in how many letters students read a token.
      letters: how many there are.
    """

    outcomes: int
    state: int
    spelling: int
    letters: int


def describe(study: TeacherStudy, workdir: str | os.PathLike[str] | None = None) -> Facts:
    """What a study would do and take: counts, FLOPs, bytes.

    Args:
      study: a `studies.TeacherStudy`.
      workdir: not used.

    Returns:
      A dict of plain values. `windows` by what they are for, `tokens` of the teacher's pass, `labels` of each seed.
      `students`, a row a width, with the FLOPs of their matrix products if each is trained to its last step. `disk` and
      `memory`, in bytes: what the host keeps; what an accelerator holds, whose `step` is gradients, updates and what
      the backward pass keeps of the forward pass, before the compiler saves or adds any of it.

    Raises:
      InputError: the sizes of the teacher are not known before it is loaded.
    """
    sizes, wanted, training = sizes_of(study), study.contexts, study.training
    positions, every, cells = labeled(study), wanted.training + wanted.held_out, grid(study)
    rows, kept, taken = [], [], []
    for width in sorted(training.widths):
        net, lesson, lanes = abstract(study, sizes, width)
        runs = jax.eval_shape(functools.partial(students.start, net), lanes, lesson)
        at_once = min(training.at_once or len(cells), len(cells))
        parameters = sum(leaf.size for leaf in jax.tree.leaves(runs.params)) // len(cells)
        flops = 3 * matmul_flops_per_token(net.shape, sizes.outcomes) * training.batch_size * wanted.window
        rows.append(
            {
                "width": width,
                "students": len(cells),
                "parameters": parameters,
                "flops_per_step": flops,
                "flops": flops * training.steps * len(cells),
            }
        )
        kept.append(bytes_of(runs))
        step = 8 * parameters + _activations(net, study, lesson, lanes, runs)
        side_by_side = at_once * bytes_of(runs) // len(cells)
        parts = {"students": side_by_side, "step": at_once * step}
        taken.append({"lesson": bytes_of(lesson)} | {name: of // training.devices_each for name, of in parts.items()})
    truth = (soft_windows(study) + wanted.held_out) * positions * 4 * sizes.outcomes
    states = (every if study.references else wanted.held_out) * positions * sizes.state
    labels = 4 * len(study.seeds) * wanted.training * positions
    host = {
        "truth": truth,
        "states": states,
        "labels": labels,
        "students": max(kept),
    }
    disk = {"contexts": 0, "teacher": 0, "checkpoint": max(kept)}
    if study.teacher.name != "language":
        # A window's tokens, its document and part.
        disk["contexts"] = every * (4 * (wanted.window + 1) + 5)
        # At each position also what came next and how likely it was.
        disk["teacher"] = truth + states + every * 8 * positions + (0 if wanted.soft is None else labels)
    whole = [part | {"total": sum(part.values())} for part in (disk, host, *taken)]
    return {
        "teacher": study.teacher.name,
        "outcomes": sizes.outcomes,
        "windows": {"training": wanted.training, "held_out": wanted.held_out},
        "tokens": every * wanted.window,
        "labels": wanted.training * positions,
        "seeds": len(study.seeds),
        "steps": training.steps,
        "students": rows,
        "flops": sum(row["flops"] for row in rows),
        "disk": whole[0],
        "memory": {"host": whole[1], "device": max(whole[2:], key=lambda part: part["total"])},
    }


def sizes_of(study: TeacherStudy) -> Sizes:
    """What follows from the teacher of a study without loading it.

    Raises:
      InputError: its sizes are not known before it is loaded.
    """
    teacher, name = study.teacher, study.teacher.name
    if name == "language":
        return Sizes(2**teacher.dimension, 4 * teacher.dimension, 1, 2**teacher.dimension + 1)
    own = (teacher.own.layers, teacher.own.width, teacher.own.vocabulary)
    if name == "trained" or (missing(name) and teacher.otherwise):
        blocks, width, vocabulary = own
    elif name in KNOWN:
        blocks, width, vocabulary = KNOWN[name]
    else:
        raise InputError(
            f"teacher.name={name!r}: its sizes are not known before it is loaded. A dry run knows those of "
            f"{', '.join(KNOWN)}, trained and language."
        )
    outcomes = {"first_byte": 256, "top": min(teacher.classes, vocabulary) + 1, "full": vocabulary}[teacher.outcome]
    state = len(forward.layers(study, blocks)) * width * np.dtype(np.float16).itemsize
    return Sizes(outcomes, state, forward.LONGEST + 1, LETTERS)


def abstract(
    study: TeacherStudy, sizes: Sizes, width: int, count: int | None = None
) -> tuple[students.Student, students.Lesson, students.StudentLanes]:
    """Students of one width, what they learn and what they differ in, as shapes without values.

    Args:
      study, sizes: as above.
      width: of the students.
      count: how many students; default all of that width.
    """
    wanted, positions = study.contexts, labeled(study)
    validation = math.ceil(contexts.VALIDATION * wanted.held_out)
    shaped: Callable[..., Any] = jax.ShapeDtypeStruct
    spelled: Callable[[int], Any] = lambda windows: shaped((windows, wanted.window, sizes.spelling), jnp.int16)
    truth: Callable[[int], Any] = lambda windows: shaped((windows, positions, sizes.outcomes), jnp.float32)
    labels = shaped((len(study.seeds), wanted.training, positions), jnp.int32)
    lesson = students.Lesson(
        spelled(wanted.training), labels, truth(soft_windows(study)), spelled(validation), truth(validation)
    )
    dtypes: dict[str, Any] = {"noisy": bool, "learning_rate": jnp.float32, "weight_decay": jnp.float32}
    lanes = {
        field.name: shaped((len(grid(study)) if count is None else count,), dtypes.get(field.name, jnp.int32))
        for field in dataclasses.fields(students.StudentLanes)
    }
    return students.network(study, width, sizes.outcomes, sizes.letters), lesson, students.StudentLanes(**lanes)


def _activations(
    net: students.Student,
    study: TeacherStudy,
    lesson: students.Lesson,
    lanes: students.StudentLanes,
    runs: students.StudentStates,
) -> int:
    """Bytes that one student keeps between the forward and the backward pass of a batch."""
    of_one: Callable[[Any], Any] = lambda tree: jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), tree
    )

    alone = dataclasses.replace(study.training, devices_each=1)

    def backward(params: Any, lane: students.StudentLanes, lesson: students.Lesson) -> Any:
        cost: Callable[[Any], jax.Array] = lambda params: students.loss(
            net, alone, lesson, params, lane, jnp.zeros((), jnp.int32)
        )
        return jax.vjp(cost, params)[1]

    kept = jax.eval_shape(backward, of_one(runs.params), of_one(lanes), lesson)
    rows = study.training.batch_size
    return bytes_of([leaf for leaf in jax.tree.leaves(kept) if leaf.shape[:1] == (rows,)])


def bytes_of(tree: Any) -> int:
    """Of a tree of arrays, or of shapes without values."""
    return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def show(facts: Facts) -> None:
    """Prints what `describe` returned."""
    windows = facts["windows"]
    print(f"teacher {facts['teacher']}: {facts['outcomes']:,} outcomes, a pass over {facts['tokens']:,} tokens")
    print(f"windows: {windows['training']:,} to train on, {windows['held_out']:,} held out")
    print(f"labels: {facts['labels']:,} for each of {facts['seeds']} seeds")
    for row in facts["students"]:
        print(
            f"width {row['width']}: {row['students']} students of {row['parameters']:,} parameters, at most "
            f"{facts['steps']:,} steps of {row['flops_per_step']:.3g} FLOPs: {row['flops']:.3g}"
        )
    for where, parts in {"on the disk": facts["disk"], **facts["memory"]}.items():
        name = {"host": "memory of the host", "device": "memory of an accelerator"}.get(where, where)
        print(f"{name}: " + ", ".join(f"{part} {size / 2**30:.3g} GiB" for part, size in parts.items()))
