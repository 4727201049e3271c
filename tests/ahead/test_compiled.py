"""What is read from a compiled program's text is what the program does, loops and fusions included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale.ahead import compiled, hlo

N = 64


def read(function, *shapes):
    """Of a function of float32 arrays on one device."""
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return compiled.read(jax.jit(function).lower(*arrays).compile().as_text())


def test_a_product_costs_two_operations_a_multiply_add():
    assert read(lambda a, b: a @ b, (N, 32), (32, 16)).flops == 2 * N * 32 * 16


def test_what_a_loop_does_counts_as_often_as_it_goes_round():
    def five_times(a):
        return jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ carry), None), a, length=5)[0]

    program = read(five_times, (N, N))
    assert program.flops == 5 * 2 * N**3 and program.unknown_loops == 0


def test_a_loop_that_ends_when_it_likes_counts_once_and_is_told_of():
    program = read(lambda a: jax.lax.while_loop(lambda x: jnp.sum(x) < 1e9, lambda x: x @ x, a), (N, N))
    assert program.flops == 2 * N**3 and program.unknown_loops == 1


def test_an_array_is_read_and_written_once():
    assert read(lambda a: jnp.exp(a) + 1, (N, N)).bytes == pytest.approx(2 * 4 * N * N)


def test_of_a_stack_a_fusion_reads_the_slice_it_takes():
    def rows(stack):
        return jax.lax.scan(lambda total, row: (total + jnp.exp(row), None), jnp.zeros(N), stack)[0]

    stacked, calls = read(rows, (1000, N)).bytes, 1000
    # Each round reads a row and the sum, and writes the sum: far from reading the stack of a thousand each time.
    assert stacked < 12 * calls * 4 * N


@pytest.fixture(scope="module")
def mesh():
    return Mesh(np.array(jax.devices()).reshape(2, 4), ("rows", "columns"))


def on_mesh(function, mesh, spec, out):
    array = jax.ShapeDtypeStruct((N, N), jnp.float32, sharding=NamedSharding(mesh, spec))
    return compiled.read(jax.jit(function, out_shardings=NamedSharding(mesh, out)).lower(array).compile().as_text())


def test_a_gather_is_as_large_as_what_it_makes(mesh):
    (gather,) = on_mesh(lambda a: a, mesh, P("columns"), P()).collectives
    assert (gather.kind, gather.bytes, gather.times) == ("all-gather", 4 * N * N, 1)
    assert gather.sent == 4 * N * N * 3 / 4
    assert {tuple(sorted(group)) for group in gather.groups.tolist()} == {(0, 1, 2, 3), (4, 5, 6, 7)}


def test_a_sum_in_a_loop_is_sent_each_time(mesh):
    @functools.partial(jax.shard_map, mesh=mesh, in_specs=P("rows"), out_specs=P(), check_vma=False)
    def summed(a):
        return jax.lax.scan(lambda s, row: (jnp.sin(s + jax.lax.psum(row, "rows")), None), jnp.zeros(N), a)[0]

    (reduce,) = on_mesh(summed, mesh, P("rows"), P()).collectives
    assert (reduce.kind, reduce.bytes, reduce.times) == ("all-reduce", 4 * N, N // 2)
    assert reduce.groups.shape == (4, 2)
    assert reduce.sent == N // 2 * 4 * N  # twice the half of it


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,2},{1,3}}, x", [[0, 2], [1, 3]]),
        ("replica_groups=[2,2]<=[4]", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}", [[0, 1], [2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(3,2,1,0) {'b'}", [[3, 2], [1, 0]]),
        ("source_target_pairs={{0,1},{1,0}}", [[0, 1], [1, 0]]),
        ("channel_id=1", [[0, 1, 2, 3]]),
    ],
)
def test_groups_of_devices_in_every_notation(text, groups):
    np.testing.assert_array_equal(hlo.groups(text, 4), groups)


# A gather that accompanies two products, as a TPU's compiler writes it: it stands in the fusion of each.
CHAIN = """HloModule jit_step, num_partitions=4

%first (p0: bf16[2,8], p1: bf16[8,8], p2: bf16[8,8]) -> (bf16[8,8], bf16[8,8]) {
  %p0 = bf16[2,8]{1,0} parameter(0)
  %p1 = bf16[8,8]{1,0} parameter(1)
  %p2 = bf16[8,8]{1,0} parameter(2)
  %ag.1 = bf16[8,8]{1,0} all-gather(%p0), channel_id=7, replica_groups=[1,4]<=[4], attributes={chain_id="3"}
  %dot.1 = bf16[8,8]{1,0} dot(%p1, %p2), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %t = (bf16[8,8]{1,0}, bf16[8,8]{1,0}) tuple(%dot.1, %ag.1)
}, execution_thread="sparsecore"

%second (p0: bf16[2,8], p1: bf16[8,8], p2: bf16[8,8]) -> (bf16[8,8], bf16[8,8]) {
  %p0 = bf16[2,8]{1,0} parameter(0)
  %p1 = bf16[8,8]{1,0} parameter(1)
  %p2 = bf16[8,8]{1,0} parameter(2)
  %ag.2 = bf16[8,8]{1,0} all-gather(%p0), channel_id=7, replica_groups=[1,4]<=[4], attributes={chain_id="3",
text="{\\"an attribute of
}}, metadata={op_name="several lines"}
  %dot.2 = bf16[8,8]{1,0} dot(%p1, %p2), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %t = (bf16[8,8]{1,0}, bf16[8,8]{1,0}) tuple(%dot.2, %ag.2)
}

ENTRY %main (a: bf16[2,8], b: bf16[8,8], c: bf16[8,8]) -> bf16[8,8] {
  %a = bf16[2,8]{1,0} parameter(0)
  %b = bf16[8,8]{1,0} parameter(1)
  %c = bf16[8,8]{1,0:S(1)} parameter(2)
  %f.1 = (bf16[8,8]{1,0}, bf16[8,8]{1,0}) fusion(%a, %b, %c), kind=kOutput, calls=%first
  %d = bf16[8,8]{1,0} get-tuple-element(%f.1), index=0
  %f.2 = (bf16[8,8]{1,0}, bf16[8,8]{1,0}) fusion(%a, %d, %c), kind=kOutput, calls=%second
  ROOT %e = bf16[8,8]{1,0} get-tuple-element(%f.2), index=0
}
"""


def test_a_gather_that_accompanies_products_is_one():
    program = compiled.read(CHAIN)
    (gather,) = program.collectives
    assert (gather.kind, gather.bytes) == ("all-gather", 2 * 64)
    assert program.flops == 2 * 2 * 8**3
    # Each product reads one matrix from memory and one from the chip's own, and writes one.
    assert program.bytes == 2 * (2 * 64 + 2 * 64)


def test_what_is_no_program_is_said_to_be_none():
    with pytest.raises(ValueError, match="is not in the compiled program's"):
        compiled.read("ENTRY %main (a: f32[2]) -> f32[2] {\n  ROOT %b = f32[2]{0} 17\n}\n")
