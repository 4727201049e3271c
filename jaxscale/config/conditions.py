"""A condition on a configuration, and the sentence that names the field, its value and the remedy where it fails."""

from jaxscale.errors import InputError


def need(condition, field, value, sentence):
    """Raises InputError unless `condition`."""
    if not condition:
        raise InputError(f"{field}={value!r} {sentence}")


def positive(config, prefix, names):
    """Raises InputError unless every field of `config` in `names`, apart by spaces, is positive."""
    for name in names.split():
        value = getattr(config, name)
        need(value > 0, f"{prefix}{name}", value, "must be positive. Give a larger value.")
