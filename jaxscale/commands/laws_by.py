"""`jaxscale fit --by COLUMN`: one law for each part of a table, side by side."""

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jaxscale import verdict
from jaxscale.commands.output import finite, print_json

if TYPE_CHECKING:
    import jax
    from rich.console import Console

    from jaxscale.laws import Fit, Law, SideBySide, TheoryCheck
    from jaxscale.laws.runs import Table


def fit_by(
    table: "Table",
    by: str,
    law: "Law",
    key: "jax.Array",
    chosen: Mapping[str, Any],
    check: "Callable[[Fit], TheoryCheck | None]",
    page: str | None,
    as_json: bool,
    watch: verdict.Stopwatch,
) -> None:
    """Fits, prints, and writes a page for each part beside `page`, its name with the value of the part."""
    import jax

    from jaxscale import laws
    from jaxscale.commands.laws_progress import Told, steps
    from jaxscale.laws.minimize import named_progress
    from jaxscale.laws.page import write_law_page
    from jaxscale.laws.side_by_side import parts_of

    fit_key, document_key = jax.random.split(key)
    with Told(steps(chosen["resamples"], parts=len(parts_of(table, by)))) as told:
        with watch.stage("fit and bootstrap"):
            each = laws.fit_each(table, by, law, key=fit_key, progress=told, **chosen)
        checks = {value: check(fitted) for value, fitted in each.fits.items()}
        with watch.stage("profiles and back-test"):
            parts = {}
            for place, (value, fitted) in enumerate(each.fits.items()):
                own_key, own = jax.random.fold_in(document_key, place), named_progress(told, value)
                parts[value] = finite(laws.document(fitted, checks[value], key=own_key, progress=own))
    said = finite(verdict.complete(_document(each, table, parts), watch))
    pages = {value: _page_of(page, value) for value in parts} if page else {}
    for value, path in pages.items():
        write_law_page(parts[value], path, f"{by} = {value}")
    if as_json:
        return print_json(said)
    from rich.console import Console

    console = Console()
    _print(said, console)
    for path in pages.values():
        console.print(f"Page: {path}", highlight=False, soft_wrap=True)


def _document(each: "SideBySide", table: "Table", parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The verdict on all parts: numbers and caveats with the part that they are of, and what each says itself."""
    from jaxscale.laws.side_by_side import findings

    first = next(iter(parts.values()))
    target = first["target"]
    columns = " and ".join(next(iter(each.fits.values())).law.columns)
    of: dict[tuple[str, str], list[str]] = {}  # which parts a caveat is of
    for value, part in parts.items():
        for caveat in part["caveats"]:
            of.setdefault((caveat["code"], caveat["text"]), []).append(value)
    caveats = [verdict.caveat(*finding) for finding in findings(table)] + [
        verdict.caveat(code, f"{each.by}={', '.join(values)}: {text}") for (code, text), values in of.items()
    ]
    return {
        "kind": "fit",
        "question": f"How does the {target} depend on {columns}, and do the exponents differ by {each.by}?",
        "sentence": " ".join([each.sentence, *_predicted(each.by, parts)]),
        "agreement": verdict.overall(part["agreement"] for part in parts.values()) if first["agreement"] else None,
        "numbers": [
            *(
                number | {"name": f"{number['name']} at {each.by}={value}"}
                for value, part in parts.items()
                for number in part["numbers"]
            ),
            *(verdict.number(f"p-value that all share {' and '.join(t.exponents)}", t.p_value) for t in each.tests),
        ],
        "caveats": caveats,
        "limits": first["limits"],
        "by": each.by,
        "tests": [
            {
                "exponents": list(test.exponents),
                "statistic": test.statistic,
                "freedom": test.freedom,
                "p_value": test.p_value,
                "shared": test.shared,
            }
            for test in each.tests
        ],
        "fits": parts,
    }


def _predicted(by: str, parts: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What theory says of the exponents of each part, where it was asked."""
    from jaxscale.page.numerals import interval, number

    for value, part in parts.items():
        for one in part.get("theory", {}).get("exponents", ()):
            predicted = one["predicted"]
            lower, upper = predicted["lower"], predicted["upper"]
            ends = "" if lower == upper else f" {interval([lower, upper])}"
            yield (
                f"At {by}={value} theory predicts {one['parameter']} = {number(predicted['estimate'])}{ends}: "
                f"{one['agreement']}."
            )


def _page_of(page: str, value: str) -> str:
    path = pathlib.Path(page)
    return str(path.with_name(f"{path.stem}-{re.sub(r'[^A-Za-z0-9._-]+', '-', value)}{path.suffix}"))


def _print(said: dict[str, Any], console: "Console") -> None:
    """The caveats, the parameters of all parts in one table, and the answer."""
    from rich.table import Table
    from rich.text import Text

    from jaxscale.page.numerals import interval, number

    parts = said["fits"]
    first = next(iter(parts.values()))
    runs = ", ".join(f"{part['runs']} runs at {said['by']}={value}" for value, part in parts.items())
    console.print(Text(f"{first['formula']}   ({runs}; {first['objective']})"))
    for caveat in said["caveats"]:
        console.print(Text.assemble("- ", (caveat["code"], "bold"), f": {caveat['text']}"))
    table = Table(header_style="bold")
    table.add_column("parameter", no_wrap=True)
    for value in parts:
        table.add_column(Text(f"{said['by']}={value}"), justify="right")
    for name in first["parameters"]:
        found = [part["parameters"][name] for part in parts.values()]
        ends = [f" {interval([one['lower'], one['upper']], 4)}" if "lower" in one else "" for one in found]
        told = [f"{number(one['estimate'], 4)}{end}" for one, end in zip(found, ends, strict=True)]
        table.add_row(*map(Text, [name, *told]))
    console.print(table)
    console.print(Text(said["sentence"]))
