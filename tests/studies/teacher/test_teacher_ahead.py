"""Students compiled from shapes alone, for devices that are not there, take what the dry run says."""

import dataclasses
import functools
import importlib.util
import pathlib

import jax
import pytest
from jax.sharding import NamedSharding

from jaxscale import config as configs
from jaxscale import ensembles, studies
from jaxscale.ahead import topologies
from jaxscale.studies.teacher import dry_run, students

ROOT = pathlib.Path(__file__).parents[3]


def memory(study, width, topology):
    """Bytes of one device while students train: what lies there, what a step takes besides, and all of it."""
    devices = topology.devices
    each = study.training.devices_each
    mesh = ensembles.member_mesh(each, devices)
    count = study.training.at_once * mesh.shape["members"]
    net, lesson, lanes = dry_run.abstract(study, dry_run.sizes_of(study), width, count)
    runs = jax.eval_shape(functools.partial(students.start, net), lanes, lesson)

    def placed(leaf):
        where = NamedSharding(mesh, ensembles.partition(leaf.shape, each))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where) if leaf.ndim else leaf

    lanes, runs = jax.tree.map(placed, (lanes, runs))
    traced = students.advance.trace(
        net, study.training, lesson, lanes, runs, steps=study.training.evaluate_every, devices=devices
    )
    lowered = traced.lower(lowering_platforms=(topology.lowering_platform,))
    told = topologies.compile_for(topology, lowered)[0].memory_analysis()
    outputs = told.output_size_in_bytes - told.alias_size_in_bytes
    found = {"arguments": told.argument_size_in_bytes, "step": told.temp_size_in_bytes}
    return found | {"total": sum(found.values()) + outputs}


@pytest.mark.thorough
@pytest.mark.parametrize("each", [1, 2])
def test_small_students_lie_in_the_memory_that_was_said(each):
    study = studies.TeacherStudy(
        teacher=studies.Teacher(name="language", dimension=5),
        contexts=studies.Contexts(window=16, skipped=6, training=40, soft=8, held_out=48),
        sizes=(40, 80),
        training=studies.StudentTraining(
            layers=1,
            heads=1,
            steps=20,
            evaluate_every=5,
            checkpoint_every=10,
            widths=(32,),
            at_once=1,
            devices_each=each,
        ),
    )
    found, said = memory(study, 32, topologies.describe("cpu:2")), dry_run.describe(study)["memory"]["device"]
    assert found["arguments"] == pytest.approx(said["lesson"] + said["students"], rel=0.05)
    assert said["step"] / 2 < found["step"] < 3 * said["step"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package"),
    [
        pytest.param("tpu:v5p:2x2x1", "libtpu", id="tpu"),
        pytest.param("gpu:h100:1x1", "jax_cuda13_plugin", id="gpu"),
    ],
)
def test_a_student_like_gpt2_fits_on_a_device_that_is_not_there(name, package, record_property, monkeypatch):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the compiler in {package}")
    monkeypatch.setattr(dry_run, "missing", lambda name: None)  # the teacher's sizes are known without its wheel
    study = configs.load(str(ROOT / "configs/teacher_gpu.py"), [], (studies.TeacherStudy,), "")
    study = dataclasses.replace(study, training=dataclasses.replace(study.training, at_once=1))
    found, said = memory(study, 768, topologies.describe(name)), dry_run.describe(study)["memory"]["device"]
    for part, size in found.items():
        record_property(part, size)
    print({part: f"{size / 2**30:.2f} GiB" for part, size in found.items()}, "said:", said)
    assert found["arguments"] == pytest.approx(said["lesson"] + said["students"], rel=0.1)  # padding included
    assert said["step"] / 2 < found["step"] < 3 * said["step"]  # of a TPU it is 2.6
    assert found["total"] < 80e9
