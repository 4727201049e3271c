"""The text of a compiled program (HLO) as instructions: what each makes, of what, and how it is called.

for name, is_entry, instructions in computations(compiled.as_text()): ...
"""

import dataclasses
import math
import re
from collections.abc import Iterator

import numpy as np

ITEMSIZES = {"pred": 1, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "s4": 0.5, "u4": 0.5, "c64": 8, "c128": 16}


@dataclasses.dataclass(frozen=True)
class Array:
    """An array in a program's text; `fast` if it lies in a chip's scratch memory (VMEM), not in its main memory."""

    dtype: str
    dims: tuple[int, ...]
    fast: bool

    @property
    def bytes(self) -> float:
        size = ITEMSIZES.get(self.dtype)
        if size is None:  # s32, u8, f8e4m3fn
            size = int("0" + "".join(re.findall(r"^[a-z]+(\d+)", self.dtype))) / 8
        return size * math.prod(self.dims)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a program."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    """What it makes."""
    operands: tuple[str, ...]
    text: str
    """Its attributes."""
    is_root: bool


def matched(pattern: str, text: str) -> re.Match[str]:
    """Where `pattern` first occurs. Raises ValueError, showing the text, if it does not: it is no HLO we know."""
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"{pattern!r} is not in the compiled program's {text[:200]!r}")
    return match


def computations(text: str) -> Iterator[tuple[str, bool, dict[str, Instruction]]]:
    """(name, whether it is the entry, its instructions by name) of each computation."""
    name, is_entry = None, False
    lines: list[str] = []
    for line in text.splitlines():
        if name is None:
            head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
            if head:
                name, is_entry, lines = head[2], bool(head[1]), []
        elif re.fullmatch(r"\}(, execution_thread=.*)?", line):
            yield name, is_entry, {i.name: i for i in map(_instruction, lines)}
            name = None
        elif re.match(r"\s+(ROOT )?%?[\w.\-]+ = ", line):
            lines.append(line)
        elif lines:
            lines[-1] += line  # attributes may span lines


def _instruction(line: str) -> Instruction:
    head = matched(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)", line)
    # A type holds no word before a parenthesis, so the first such word is what is done.
    done = matched(r" ([a-z][a-z0-9\-]*)\(", head[3])
    arrays = tuple(
        Array(dtype, tuple(int(d) for d in dims.split(",") if d), "S(" in layout)
        for dtype, dims, layout in re.findall(r"([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?", head[3][: done.start()])
    )
    rest = head[3][done.end() :]
    depth, end = 1, 0
    while depth and end < len(rest):
        depth += {"(": 1, ")": -1}.get(rest[end], 0)
        end += 1
    operands = () if done[1] in ("constant", "parameter") else tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
    return Instruction(head[2], done[1], arrays, operands, f"{done[1]}({rest}", bool(head[1]))


def called(instruction: Instruction, role: str) -> str:
    """The computation that an instruction names as its `body`, `condition` or the like."""
    return matched(rf"{role}=%?([\w.\-]+)", instruction.text)[1]


def all_called(instruction: Instruction) -> list[str]:
    """Computations that an instruction runs once each; of a choice, all."""
    listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.text)
    if listed:
        return re.findall(r"%?([\w.\-]+)", listed[1])
    return re.findall(r"(?:to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)", instruction.text)


def constant(table: dict[str, Instruction], name: str) -> int | None:
    """The integer an instruction stands for, through copies; None if it is no constant."""
    instruction = table.get(name)
    while instruction is not None and instruction.opcode in ("copy", "bitcast", "convert"):
        instruction = table.get(instruction.operands[0])
    value = instruction is not None and re.match(r"constant\((-?\d+)\)", instruction.text)
    return int(value[1]) if value else None


def groups(text: str, devices: int) -> np.ndarray:
    """Device numbers that take part together, one row a group."""
    pairs = re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", text)
    listed = re.search(r"replica_groups=\{(\{[\d,{}]*\})\}", text)
    for found in (pairs, listed):
        if found:
            return np.array([[int(d) for d in row.split(",")] for row in re.findall(r"\{([\d,]+)\}", found[1])])
    named = re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(([^{]*)\))?\s*\{([^}]*)\}", text)
    if named:
        sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", named[1])}
        together = re.findall(r"'([^']+)'", named[3])
        axes = list(sizes)
        ids = np.arange(math.prod(sizes.values())) if named[2] is None else _numbers(named[2])
        numbers = ids.reshape(*sizes.values())
        apart = [axes.index(axis) for axis in axes if axis not in together]
        order = apart + [axes.index(axis) for axis in together]
        return numbers.transpose(order).reshape(math.prod(numbers.shape[a] for a in apart), -1)
    iota = re.search(r"replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text)
    if iota:
        return _numbers(iota[2]).reshape([int(d) for d in iota[1].split(",")])
    return np.arange(devices)[None]


def _numbers(text: str) -> np.ndarray:
    """Device numbers in a row: of `[2,4]T(1,0)` those of a 2 x 4 table, transposed; else a list."""
    table = re.match(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text)
    if table is None:
        return np.array([int(d) for d in text.split(",")])
    dims = [int(d) for d in table[1].split(",")]
    order = [int(d) for d in table[2].split(",")] if table[2] else list(range(len(dims)))
    return np.arange(math.prod(dims)).reshape(dims).transpose(order).ravel()
