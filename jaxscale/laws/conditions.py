"""Conditions on the rows of a table, read from text and never run as a program.

fulfilled(rows, "dataset == 'c4' and N >= 1e8 and optimizer in ['adam', 'muon']")
"""

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxscale.errors import InputError
from jaxscale.laws.cells import MISSING, Undecided, sure
from jaxscale.laws.charts import columns_of

_EXAMPLE = "--where \"dataset == 'c4' and loss > 0\""
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class _Column(NamedTuple):
    name: str


class _Condition(NamedTuple):
    left: Any
    operator: type[ast.cmpop]
    right: Any


def fulfilled(rows: Sequence[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """The rows that fulfill all conditions of `where`: comparisons (== != < <= > >= in) joined by `and`.

    On each side stands the name of a column, a number, or a text in quotation marks; after `in` a list of the latter
    two. A number and a text that reads as one are compared as numbers, so that params == '70M' is what it says. A cell
    that is empty, or a word beside a number, fulfills no condition but !=; empty cells are those that equal ''.

    Raises:
      InputError: `where` is none of this, names a column that no row has, or no row is left.
    """
    if not isinstance(where, str):
        raise InputError(f"where={where!r} is not a text. Pass for example \"dataset == 'c4'\".")
    names = columns_of(rows)
    conditions = _conditions(where, names)
    found = [row for row in rows if all(_holds(condition, row) for condition in conditions)]
    if not found:
        raise InputError(f"where={where!r} leaves none of the {len(rows)} rows. {_told(conditions, rows)}")
    return found


def _told(conditions: Sequence[_Condition], rows: Sequence[dict[str, Any]]) -> str:
    """What the columns of the conditions hold, for whoever asked for something else; and an example."""
    columns = [side.name for one in conditions for side in (one.left, one.right) if isinstance(side, _Column)]
    if not columns:
        return f"Compare a column: {_EXAMPLE}"
    held = list(dict.fromkeys(str(row.get(columns[0])) for row in rows))
    first = next((row[columns[0]] for row in rows if row.get(columns[0]) is not None), None)
    wanted = repr(str(first)) if isinstance(first, str) else first
    more = ", …" if len(held) > 5 else ""
    there = f"{columns[0]} holds {', '.join(held[:5])}{more}"
    return f'{there}. Ask for what is there: --where "{columns[0]} == {wanted}"'


def _conditions(where: str, names: Sequence[str]) -> list[_Condition]:
    try:
        return list(_parsed(where, names))
    except InputError:
        name = next((name for name in names if " " in name and name in where), None)
        if name is None:
            raise
        mended = where.replace(name, "column")
        raise InputError(
            f"where={where!r}: a column called {name!r} needs a name of one word first. "
            f'Give it one: --map column={name!r} --where "{mended}"'
        ) from None


def _parsed(where: str, names: Sequence[str]) -> Iterator[_Condition]:
    refused = InputError(
        f"where={where!r} is not read: only comparisons (== != < <= > >= in) joined by `and`. "
        f"Write for example {_EXAMPLE}"
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes in texts
            parsed = ast.parse(where.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None
    joined = isinstance(parsed, ast.BoolOp) and isinstance(parsed.op, ast.And)
    for part in parsed.values if isinstance(parsed, ast.BoolOp) and joined else [parsed]:
        if not isinstance(part, ast.Compare):
            raise refused
        sides = [_side(where.strip(), node, names, refused) for node in (part.left, *part.comparators)]
        for left, compared, right in zip(sides, part.ops, sides[1:], strict=False):
            if not isinstance(compared, ast.Eq | ast.NotEq | ast.In | ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                raise refused
            if isinstance(left, list) or isinstance(right, list) != isinstance(compared, ast.In):
                raise refused
            yield _Condition(left, type(compared), right)


def _side(where: str, node: ast.expr, names: Sequence[str], refused: InputError) -> Any:
    """A column, a number, a text, or a list of the latter two."""
    written = ast.get_source_segment(where, node) or ""
    if written in names and not isinstance(node, ast.Constant):  # a table without a header has columns 1, 2, …
        return _Column(written)
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        sides = [_side(where, one, names, refused) for one in node.elts]
        if any(isinstance(side, list | _Column) for side in sides):
            raise refused
        return sides
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        pass
    else:
        if isinstance(value, int | float | str):
            return value
        raise refused
    if isinstance(node, ast.Name | ast.Attribute | ast.BinOp):  # as in val/loss
        near = difflib.get_close_matches(written, names, n=1)
        mended = where.replace(written, near[0] if near else repr(written))
        hint = "Did you mean" if near else f"The table has {', '.join(names)}. Text stands in quotation marks:"
        raise InputError(f'where={where!r}: there is no column {written!r}. {hint} --where "{mended}"')
    raise refused


def _holds(condition: _Condition, row: dict[str, Any]) -> bool:
    left, right = _value(condition.left, row), _value(condition.right, row)
    if condition.operator is ast.In:
        return any(_compared(left, ast.Eq, one) for one in right)
    return _compared(left, condition.operator, right)


def _value(side: Any, row: dict[str, Any]) -> Any:
    if not isinstance(side, _Column):
        return side
    cell = row.get(side.name)
    if isinstance(cell, Undecided):
        raise InputError(f"where: {side.name}={str(cell)!r} {cell.why}")
    return cell


def _compared(left: Any, compared: type[ast.cmpop], right: Any) -> bool:
    if _missing(left) or _missing(right):
        same = _missing(left) and _missing(right)  # as where a text of '' asks for cells that are empty
        return compared is (ast.Eq if same else ast.NotEq)
    if not (isinstance(left, str) and isinstance(right, str)):
        left, right = _number(left), _number(right)
        if left is None or right is None:
            return compared is ast.NotEq
    if compared in (ast.Eq, ast.NotEq):
        return bool((left == right) is (compared is ast.Eq))
    return bool(_ORDER[compared](left, right))


def _missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float | None:
    """A cell or a literal as a number, or None where it is none."""
    if isinstance(value, str):
        return sure(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
