"""The two ways a command fails: what the user gave cannot be used, or the work itself broke."""


class InputError(ValueError):
    """Bad input: the message names the argument, the value and the remedy. The command line exits with 2."""


class RunError(RuntimeError):
    """Failure while working; what was finished is kept and the message says how to go on. Exit code 1."""
