"""Figures as pictures: PNG files, drawn by kaleido of the extra [png] with the Chrome that is there.

check("scales.png", "ask for .html")            # before anything is measured
write("scales.png", figure, "ask for .html", width=1000, height=560)

The argument that asks for one is called `plot` wherever there is one.
"""

import os
import pathlib
from collections.abc import Sequence

import plotly.graph_objects as go

from jaxscale import files
from jaxscale.errors import InputError, RunError


def check(path: str | os.PathLike[str], instead: str, endings: Sequence[str] = (".png",)) -> None:
    """Raises InputError if no figure can be written to `path`.

    Args:
      path: of the file.
      instead: what to do where kaleido or Chrome is missing, for the sentence of the error.
      endings: those that the caller can write; ".png" needs kaleido.
    """
    target, given = pathlib.Path(path), repr(os.fspath(path))
    if target.suffix not in endings:
        raise InputError(f"plot={given} must end in {' or '.join(endings)}. Give such a name.")
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"plot={given} cannot be a file there. Give a file in a folder that exists.")
    if target.suffix == ".png":
        try:
            import kaleido  # noqa: F401  draws for plotly
        except ImportError:
            raise InputError(
                f"plot={given} needs the package 'kaleido'. Install it with: pip install 'jaxscale[png]', or {instead}."
            ) from None


def write(path: str | os.PathLike[str], figure: go.Figure, instead: str, width: int, height: int) -> None:
    """Draws `figure` on white, with twice as many pixels as `width` and `height`, and writes it whole or not at all.

    Raises:
      RunError: if the disk is full, or the picture cannot be drawn.
    """
    figure = go.Figure(figure)
    figure.update_layout(paper_bgcolor="white", plot_bgcolor="white", margin={"l": 8, "r": 16, "t": 16, "b": 8})
    try:
        picture = figure.to_image(format="png", width=width, height=height, scale=2)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise RunError(f"plot={os.fspath(path)!r} cannot be drawn: {reason} Install Chrome, or {instead}.") from error
    files.write_bytes(path, picture)
