"""What a compiled program does, read from its text: matrix products, bytes to and from memory, collectives.

    program = read(compiled.as_text())             # of `jax.jit(f).lower(…).compile()`, for whatever device
    program.flops, program.bytes, program.collectives

The compiler's own cost analysis counts what lies in a loop once. Here it counts as often as the loop goes round: how
often is told by the compiler or follows from the loop's condition. Everything is of one device.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxscale.ahead import hlo
from jaxscale.ahead.hlo import Instruction

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
# Instructions that move nothing: names for what is there already, and the ends of what was begun elsewhere.
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "iota"),
    *("after-all", "partition-id", "replica-id", "opt-barrier", "add-dependency", "custom-call:AllocateBuffer"),
}
# Kernels of causal attention: products of the size tokens² × width a head in each, and the query's axis of tokens.
ATTENTION = {
    "splash_mha_fwd": (2, -2),
    "splash_mha_dq": (3, -2),
    "splash_mha_dkv": (4, -2),
    "__cudnn$fmhaSoftmaxBackward": (5, 1),
    "__cudnn$fmhaSoftmax": (2, 1),
}
SLICES = ("dynamic-slice", "slice", "gather")
# What stands in a fusion that only accompanies a transfer.
PASSED_ON = {"tuple", "parameter", *COLLECTIVES}


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective operation.

    Attributes:
      kind: one of COLLECTIVES. A ring of permutes that the compiler made of a gather or a scatter, to overlap it with a
        product, counts as what it was made of.
      bytes: of the whole array that is gathered, reduced, scattered or sent, on one device, each time.
      groups: device numbers that take part together, one row a group; for a permute rows of (source, target).
      times: how often a step does it.
      source: where in the traced program it comes from.
    """

    kind: str
    bytes: float
    groups: np.ndarray
    times: int
    source: str
    permute: bool

    @property
    def sent(self) -> float:
        """Bytes that a device sends, over all times, by the ring algorithm, which is optimal."""
        size = 2 if self.permute else self.groups.shape[1]
        share = {"all-reduce": 2 * (size - 1) / size}.get(self.kind, (size - 1) / size)
        return self.times * self.bytes * (1.0 if self.permute else share)


@dataclasses.dataclass(frozen=True)
class Cost:
    """An instruction's arithmetic and memory traffic: FLOPs of products, bytes to and from main memory, how often."""

    flops: float
    bytes: float
    times: int


@dataclasses.dataclass(frozen=True)
class CompiledProgram:
    """What one device does in one call of a compiled program.

    Attributes:
      work: of every instruction.
      collectives: every one.
      unknown_loops: loops whose number of rounds could not be told; they count once.
    """

    work: tuple[Cost, ...]
    collectives: tuple[Collective, ...]
    unknown_loops: int

    @property
    def flops(self) -> float:
        """Of matrix products, 2 a multiply-add."""
        return sum(w.flops * w.times for w in self.work)

    @property
    def bytes(self) -> float:
        """To and from main memory, if no instruction finds anything of another's in a cache."""
        return sum(w.bytes * w.times for w in self.work)


def read(text: str) -> CompiledProgram:
    """The `CompiledProgram` of a compiled module's text, of any backend."""
    module = _Module(text)
    work, collectives, chains = [], [], set()
    for computation, instruction, times in module.executed():
        if instruction.opcode.removesuffix("-start") in COLLECTIVES:
            collectives.append(module.collective(computation, instruction, times))
        elif instruction.opcode == "fusion":
            for name, inner in module.collectives_in(instruction):
                # One that accompanies several products stands in the fusion of each, under the same channel.
                chain = re.search(r"channel_id=(\d+).*chain_id", inner.text)
                if chain is None or chain[1] not in chains:
                    collectives.append(module.collective(name, inner, times))
                    chains.add(chain and chain[1])
        work.append(Cost(module.flops(computation, instruction), module.traffic(computation, instruction), times))
    return CompiledProgram(
        tuple(w for w in work if w.flops or w.bytes), tuple(collectives), len(set(module.loops_of_unknown_length))
    )


class _Module:
    """The computations of a program's text by name, each a table of instructions."""

    def __init__(self, text: str) -> None:
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        self.loops_of_unknown_length: list[str] = []
        self.devices = int((re.search(r"num_partitions=(\d+)", text) or [0, 1])[1])
        for name, is_entry, instructions in hlo.computations(text):
            self.computations[name] = instructions
            self.entry = name if is_entry else self.entry

    def executed(self, name: str | None = None, times: int = 1) -> Iterator[tuple[str, Instruction, int]]:
        """(computation, instruction, how often) of all that is run one after the other; not the inside of fusions."""
        name = self.entry if name is None else name
        for instruction in self.computations[name].values():
            yield name, instruction, times
            if instruction.opcode == "while":
                yield from self.executed(hlo.called(instruction, "body"), times * self.rounds(name, instruction))
            elif instruction.opcode in ("call", "conditional", "async-start"):
                for called in hlo.all_called(instruction):
                    yield from self.executed(called, times)

    def inside(self, instruction: Instruction) -> Iterator[tuple[str, Instruction]]:
        """(computation, instruction) of a fusion, and of the fusions within it."""
        name = hlo.called(instruction, "calls")
        for inner in self.computations[name].values():
            yield name, inner
            if inner.opcode == "fusion":
                yield from self.inside(inner)

    def rounds(self, computation: str, loop: Instruction) -> int:
        """How often a loop goes round: told by the compiler, or by a condition that counts."""
        told = re.search(r"known_trip_count\D*(\d+)", loop.text)
        if told:
            return int(told[1])
        condition = self.computations[hlo.called(loop, "condition")]
        body = self.computations[hlo.called(loop, "body")]
        compares = [i for i in condition.values() if i.opcode == "compare" and "direction=LT" in i.text]
        if len(compares) == 1:
            counter, end = compares[0].operands
            limit = hlo.constant(condition, end)
            index = re.search(r"index=(\d+)", condition[counter].text)
            if limit is not None and index:
                i = int(index[1])
                start = self.start(computation, loop.operands[0], i)
                root = next(b for b in body.values() if b.is_root)
                advance = body.get(root.operands[i])
                steps = [hlo.constant(body, name) for name in advance.operands] if advance else []
                step = next((s for s in steps if s), 1)
                return max(0, -(-(limit - start) // step))
        self.loops_of_unknown_length.append(loop.name)
        return 1

    def start(self, computation: str, carried: str, index: int) -> int:
        """The number a loop's counter starts from; 0 if it is not a constant."""
        made = self.computations[computation][carried]
        name = made.operands[index] if made.opcode == "tuple" else None
        return (hlo.constant(self.computations[computation], name) if name else None) or 0

    def collectives_in(self, fusion: Instruction) -> list[tuple[str, Instruction]]:
        return [
            (name, inner) for name, inner in self.inside(fusion) if inner.opcode.removesuffix("-start") in COLLECTIVES
        ]

    def collective(self, computation: str, instruction: Instruction, times: int) -> Collective:
        kind = instruction.opcode.removesuffix("-start")
        groups = hlo.groups(instruction.text, self.devices)
        arrays = instruction.arrays
        if kind in ("all-gather", "collective-permute") and instruction.opcode.endswith("-start"):
            arrays = arrays[len(instruction.operands) : 2 * len(instruction.operands)]  # inputs, outputs, flags
        size = sum(array.bytes for array in arrays)
        if kind == "reduce-scatter":
            size *= groups.shape[1]
        permute = kind == "collective-permute"
        windowed = re.search(r"windowed_dot_general_body_(ag|rs)", computation)
        if permute and windowed:
            kind = {"ag": "all-gather", "rs": "reduce-scatter"}[windowed[1]]
        elif kind == "all-reduce" and "reduce-scatter" in computation:
            kind = "reduce-scatter"  # a TPU's is a fusion of a sum and a slice
        source = re.search(r'op_name="([^"]*)"', instruction.text)
        return Collective(kind, size, groups, times, source[1] if source else "", permute)

    def flops(self, computation: str, instruction: Instruction) -> float:
        """Of matrix products in an instruction, fused ones included."""
        if instruction.opcode == "fusion":
            return sum(self.flops(*inner) for inner in self.inside(instruction) if inner[1].opcode != "fusion")
        if instruction.opcode not in ("dot", "convolution", "custom-call"):
            return 0
        table = self.computations[computation]
        operands = [table[name].arrays[0].dims for name in instruction.operands if name in table]
        if instruction.opcode == "dot":
            return _dot_flops(instruction, operands)
        if instruction.opcode == "convolution":
            return _convolution_flops(instruction, *operands)
        return _library_flops(instruction, operands)

    def traffic(self, computation: str, instruction: Instruction) -> float:
        """Bytes an instruction reads from and writes to main memory."""
        opcode = instruction.opcode
        if opcode in FREE or opcode.endswith(("-done", "-update")) or opcode.removesuffix("-start") in COLLECTIVES:
            return 0
        if opcode == "custom-call" and "AllocateBuffer" in instruction.text:
            return 0
        table = self.computations[computation]
        made = sum(a.bytes for a in instruction.arrays if not a.fast)
        operands = [table[name] for name in instruction.operands if name in table]
        slow = [sum(a.bytes for a in operand.arrays if not a.fast) for operand in operands]
        if opcode in SLICES:
            return made + min(made, slow[0])
        if opcode in ("dynamic-update-slice", "scatter"):
            written = slow[-1] if opcode == "scatter" else slow[1]
            return 2 * written
        if opcode in ("copy-start", "slice-start", "async-start"):  # (output, input, flag): the two ends of a move
            return made if opcode == "copy-start" else 2 * min(a.bytes for a in instruction.arrays if a.dims)
        if opcode == "fusion":
            return self.fusion_traffic(instruction, slow)
        return made + sum(slow)

    def fusion_traffic(self, fusion: Instruction, slow: Sequence[float]) -> float:
        """That of a fusion, which reads of a stack only the slice it takes, and writes only the slice it changes."""
        name = hlo.called(fusion, "calls")
        table = self.computations[name]
        root = next(inner for inner in table.values() if inner.is_root)
        made = [table[operand] for operand in root.operands] if root.opcode == "tuple" else [root]
        total = 0.0
        for array, inner in zip(fusion.arrays, made, strict=False):
            changed = inner if inner.opcode == "dynamic-update-slice" else self.changed_by(inner)
            if array.fast or inner.opcode in PASSED_ON:
                continue
            total += self.updated(changed) if changed else array.bytes
        return total + sum(self.read_of(name, place, whole) for place, whole in enumerate(slow) if whole)

    def changed_by(self, instruction: Instruction) -> Instruction | None:
        """The change of a slice that a fusion ends in, if it is one."""
        while instruction.opcode == "fusion":
            inner = self.computations[hlo.called(instruction, "calls")].values()
            instruction = next(i for i in inner if i.is_root)
        return instruction if instruction.opcode == "dynamic-update-slice" else None

    def updated(self, change: Instruction) -> float:
        """Bytes of the slice that is written."""
        table = next(t for t in self.computations.values() if t.get(change.name) is change)
        return table[change.operands[1]].arrays[0].bytes

    def read_of(self, computation: str, place: int, whole: float) -> float:
        """Bytes that a fused computation reads of its parameter of that place, whose size is `whole`."""
        table = self.computations[computation]
        parameter = next(i.name for i in table.values() if i.text.startswith(f"parameter({place})"))
        return min(whole, self.used(computation, parameter, whole))

    def used(self, computation: str, name: str, whole: float) -> float:
        total = 0.0
        for use in self.computations[computation].values():
            for place in (i for i, operand in enumerate(use.operands) if operand == name):
                if use.opcode == "fusion":
                    total += self.read_of(hlo.called(use, "calls"), place, whole)
                elif use.opcode in ("bitcast", "reshape"):
                    total += self.used(computation, use.name, whole)
                elif use.opcode in SLICES:
                    total += use.arrays[0].bytes
                elif use.opcode not in PASSED_ON and not (use.opcode == "dynamic-update-slice" and place == 0):
                    total += whole
        return total


def _dot_flops(instruction: Instruction, operands: Sequence[tuple[int, ...]]) -> int:
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.text)
    sizes = [operands[0][int(d)] for d in contracted[1].split(",")] if contracted and contracted[1] else []
    return 2 * math.prod(instruction.arrays[0].dims) * math.prod(sizes)


def _convolution_flops(instruction: Instruction, lhs: tuple[int, ...], rhs: tuple[int, ...]) -> int:
    """2 a multiply-add between entries that are there: zeros of padding and dilation cost nothing."""
    labels = hlo.matched(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.text)
    window = re.search(r"window=\{([^}]*)\}", instruction.text)
    fields = dict(re.findall(r"(\w+)=(\S+)", window[1])) if window else {}
    places = sorted(label for label in labels[1] if label.isdigit())
    field: Callable[[str, str], list[str]] = lambda name, default: (
        fields[name].split("x") if name in fields else [default] * len(places)
    )
    out = instruction.arrays[0].dims
    pairs = 1
    for axis, stride, pad, lhs_dilate, rhs_dilate in zip(
        places,
        field("stride", "1"),
        field("pad", "0_0"),
        field("lhs_dilate", "1"),
        field("rhs_dilate", "1"),
        strict=True,
    ):
        low, base = int(pad.split("_")[0]), int(lhs_dilate)
        outputs, taps = np.arange(out[labels[3].index(axis)]), np.arange(rhs[labels[2].index(axis)])
        at = outputs[:, None] * int(stride) - low + taps * int(rhs_dilate)
        pairs *= int(((at % base == 0) & (at >= 0) & (at < (lhs[labels[1].index(axis)] - 1) * base + 1)).sum())
    groups = re.search(r"batch_group_count=(\d+)", instruction.text)
    batch = lhs[labels[1].index("b")] // (int(groups[1]) if groups else 1)
    return 2 * pairs * batch * rhs[labels[2].index("i")] * rhs[labels[2].index("o")]


def _library_flops(instruction: Instruction, operands: Sequence[tuple[int, ...]]) -> int:
    """Of products inside a vendor's or Pallas' kernel, which the text does not show."""
    target = hlo.matched(r'custom_call_target="([^"]*)"', instruction.text)[1]
    if target.startswith("__cublas"):
        contracted = hlo.matched(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.text)
        sizes = [operands[0][int(d)] for d in re.findall(r"\d+", contracted[1])]
        return 2 * math.prod(instruction.arrays[0].dims) * math.prod(sizes)
    kernel = next((name for name in ATTENTION if name in (instruction.name if "tpu" in target else target)), None)
    if kernel is None:
        return 0
    products, tokens_axis = ATTENTION[kernel]
    query = max(operands, key=math.prod)
    return products * math.prod(query) * query[tokens_axis]  # 2 a multiply-add, of which the future is left out
