"""Experiments: a grid, a table, a verdict, a page."""

from jaxscale.studies import data_scaling

__all__ = ["data_scaling"]
