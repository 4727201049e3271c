"""What a step compiled ahead will take, and the choices of a search, on a terminal."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def print_step(facts: dict[str, Any], console: Console) -> None:
    """Prints the facts of `ahead.compile_ahead`."""

    def say(name: str, text: str) -> None:
        console.print(f"{name:10} {text}", highlight=False, markup=False, soft_wrap=True)

    say("devices", f"{facts['topology']}: {facts['devices']} × {facts['device_kind']}, mesh {_mesh(facts['mesh'])}")
    say("model", f"{facts['parameters']:,} parameters, {facts['tokens_per_step']:,} tokens a step")
    memory = facts["memory"]
    total, capacity = memory["total"], _gib(memory["capacity"])
    needs = f"the step needs {_gib(total)} of a device" if total else f"the step needs more than {capacity} of a device"
    verdict = "fits" if memory["fits"] else "does not fit"
    say("memory", f"{verdict}: {needs}, which has {capacity} to use")
    say("", f"parameters {_gib(memory['params'])}, moments {_gib(memory['moments'])}")
    if "roofline" not in facts:
        say("compiler", memory["compiler"])
        return
    say("", f"temporary {_gib(memory['temporary'])}, code {_gib(memory['code'])}")
    flops, roofline = facts["flops"], facts["roofline"]
    share = flops["model"] / (flops["executed_per_device"] * facts["devices"])
    say("products", f"{flops['executed_per_device']:.3g} FLOPs a device, {share:.0%} of them the model's")
    say("traffic", f"{facts['bytes_per_device'] / 1e9:.3g} GB between a device and its memory")
    if facts["collectives"]:
        _print_collectives(facts["collectives"], console)
    parts = {
        "computation": "computation_seconds",
        "products alone": "products_seconds",
        "memory alone": "memory_seconds",
        "collectives": "collectives_seconds",
    }
    times = ", ".join(f"{name} {_milliseconds(roofline[key])}" for name, key in parts.items())
    say("roofline", f"{_milliseconds(roofline['seconds'])} a step, bound by {roofline['bound']} ({times})")
    used = roofline["model_flops_utilization"]
    say("at best", f"{roofline['tokens_per_second']:,.0f} tokens/s, model-FLOPs utilization {used:.0%}")
    for warning in facts["warnings"]:
        say("note", warning)


def _print_collectives(rows: Iterable[Mapping[str, Any]], console: Console) -> None:
    table = _table("collective", "along", "times", "arrays", "sent", "time", "")
    for row in rows:
        sizes = (f"{row['count']:,}", _megabytes(row["bytes"]), _megabytes(row["sent"]), _milliseconds(row["seconds"]))
        table.add_row(row["kind"], row["axes"], *sizes, "overlaps" if row["hidden"] else "waited for")
    console.print(table)


def print_choices(found: dict[str, Any], console: Console) -> None:
    """Prints the rows of `ahead.search`, and the flags of the best."""
    table = _table("mesh", "remat", "chunks", "memory", "fits", "step", "bound by", "MFU")
    for row in found["rows"]:
        memory, roofline = row["memory"], row.get("roofline")
        predicted = ("", "", "")
        if roofline:
            used = f"{roofline['model_flops_utilization']:.0%}"
            predicted = (_milliseconds(roofline["seconds"]), roofline["bound"], used)
        size = "" if memory["total"] is None else _gib(memory["total"])
        fits = "yes" if memory["fits"] else "no"
        table.add_row(_mesh(row["mesh"]), row["remat"], str(row["loss_chunks"]), size, fits, *predicted)
    console.print(table)
    say: Callable[[str], None] = lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)
    say(f"{len(found['rows'])} compiled of {found['considered']} choices on {found['topology']}")
    best = found["rows"][0]
    say(f"best: {best['flags']}" if best["memory"]["fits"] else "none fits: use more devices, or a smaller batch")


def _table(*headings: str) -> Table:
    table = Table(header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _mesh(mesh: Mapping[str, int]) -> str:
    return " × ".join(f"{axis} {size}" for axis, size in mesh.items() if size > 1) or "of one"


def _gib(size: float) -> str:
    return f"{size / 2**30:.3g} GiB"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.3g} MB"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
