"""`jaxscale construct`: a function as a network, with a certificate."""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxscale.commands.output import print_json
from jaxscale.errors import RunError


def construct_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("target", help="cone (|x|^beta), waves (a sum of sines), or FILE.py:NAME of a function (n, D) -> (n,)")
    add(
        "--out",
        required=True,
        help="a folder: certificate.json, certificate.html, architecture.json, model.safetensors",
    )
    add("--dim", type=int, help="d of the cube, or of the sphere: 1, 2 or 3 (default 1)")
    add(
        "--on",
        default="cube",
        metavar="PLACE",
        help="circle, sphere, torus, swiss_roll, or a .npy cloud (default cube)",
    )
    add("--width", type=int, help="D of the space around a manifold (default: as small as it goes)")
    add("--grid", type=int, help="N, cells along a side; or give --epsilon")
    add("--epsilon", type=float, help="sup error to prove, from which N follows")
    add("--beta", type=float, default=1.0, help="Hölder exponent of the function (default %(default)s)")
    add("--constant", type=float, help="its Hölder constant; known for cone and waves, else no bound is proved")
    add("--backend", default="pairwise", choices=("pairwise", "structured"), help="default %(default)s")
    add(
        "--encoding",
        default="parabola",
        choices=("quarter_circle", "full_circle", "parabola", "binary"),
        help="of the pairwise back end (default %(default)s)",
    )
    add("--limit", type=float, default=4e9, help="bytes that the parameters may take (default %(default)g)")
    add("--points", type=int, default=2000, help="of each kind at which errors are measured (default %(default)s)")
    add("--seed", type=int, default=0, help="of every draw (default %(default)s)")


def construct(options: argparse.Namespace, _: Sequence[str]) -> None:
    from jaxscale.constructions import command

    document = command.construct(options)
    if options.json:
        print_json(document)
    else:
        _print_certificate(document, options)
    if document["refuted"]:
        raise RunError(f"{' '.join(document['refuted'])} {_remedy(document)} {options.out!r} holds what shows it.")


def _remedy(document: Mapping[str, Any]) -> str:
    holder = document["holder"]
    if holder is None or holder["at_least"] <= holder["constant"]:
        return "Give a larger --constant, or a smaller --beta."
    from jaxscale.constructions.certificate import rounded_up

    return f"Give --constant {rounded_up(holder['at_least'])} or more, or a smaller --beta."


def _print_certificate(document: Mapping[str, Any], options: argparse.Namespace) -> None:
    sizes, measured = document["class"], document["measured"]
    print(
        f"{document['domain']}, N = {document['grid']}: {sizes['L_T']} blocks, {sizes['l']:,} tokens, "
        f"{sizes['m']:,} heads at most, d_embd = {sizes['d_embd']}, {sizes['parameters']:,} parameters"
    )
    bound = document["approximation_bound"]
    proved = "no bound proved" if bound is None else f"at most {bound:.4g} proved"
    if document.get("refuted_bound") is not None:
        proved = f"at most {document['refuted_bound']:.4g} as stated, which is refuted"
    print(f"sup error: {proved}, {measured['sup']:.4g} measured at {sum(measured['points'].values()):,} points")
    if not document["refuted"]:
        safe = [name for name, row in document["rounding"].items() if row["safe"]]
        print(f"safe in {', '.join(safe) or 'no format'}")
    print(f"Page: {pathlib.Path(options.out) / 'certificate.html'}")
