"""SIGTERM and SIGHUP as orders to save and leave, in one process or several, over a whole command.

    with preemption.orders():                   # a command: an order raises Leave where there is nothing to save
        with preemption.notice() as notice:     # training: the order waits until it is looked for
            if notice.given(): ...              # save, then raise Preempted

Python runs signal handlers between two steps of its own, so an order that comes while compiled code runs takes effect
when that returns. A second order ends the process at once: files are replaced in one step, so nothing is half written.

Python ignores what a handler raises inside a callback of the garbage collector or a destructor. Such an order, or
Ctrl-C, is given again a moment later.

Of several processes jax's preemption service takes SIGTERM and agrees with all of them on when to leave; the handler
here passes orders on to it. What the first process does for all (`processes.first_says`) is left at once by all.
"""

import contextlib
import ctypes
import errno
import os
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from jaxscale.errors import RunError

# A terminal that closes sends the same order twice: what comes within so many seconds is one.
ONE_ORDER_SECONDS = 2.0
# Until an order is given again that Python ignored: long enough for a callback or a destructor to end.
AGAIN_SECONDS = 0.01


class Preempted(RunError):
    """The system wants the machine back; the state is saved, and the same command goes on."""

    exit_code = os.EX_TEMPFAIL  # 75: to be queued again


class Leave(BaseException):
    """An order to leave came where nothing is under way that could be saved. Like KeyboardInterrupt, no Exception."""


class _Orders:
    """What this process knows of orders. One for each process, as signals are.

    Attributes:
      given: (signal, monotonic seconds) of the first order, or None.
      command: whether a command is in charge, which a second order ends.
      saving: how many `notice` are open: those who will look, and save.
      first_alone: whether the first of several processes works for all.
      tell_others: jax's own handler where there are several processes.
      looks: how often `Notice.given` was called, which all processes do equally often.
      again: how many orders are under way that were given before, and ignored.
    """

    def __init__(self) -> None:
        self.given: tuple[int, float] | None = None
        self.command, self.saving, self.first_alone = False, 0, False
        self.tell_others: Callable[[int], None] | None = None
        self.looks = 0
        self.again = 0

    def take(self, number: int, _: FrameType | None) -> None:
        """The handler of the signals."""
        now = time.monotonic()
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        if self.given is None:
            self.given, self.again = (number, now), 0
        elif self.again:
            self.again -= 1
        elif now - self.given[1] > ONE_ORDER_SECONDS and (self.command or self.tell_others):
            os.write(2, b"jaxscale: asked to leave a second time: left at once. What was saved before is whole.\n")
            os._exit(Preempted.exit_code)
        if self.tell_others:
            self.tell_others(signal.SIGTERM)
        self.leave_if_idle()

    def leave_if_idle(self) -> None:
        """Raises `Leave` if an order was given that nobody will look for."""
        alone = self.tell_others is None or self.first_alone
        if self.given and alone and not self.saving:
            raise Leave(signal.Signals(self.given[0]).name)

    def ignored(self, unraisable: "sys.UnraisableHookArgs") -> bool:
        """Gives an order, or Ctrl-C, again where `sys.unraisablehook` meets it; whether it was one."""
        if unraisable.exc_type is KeyboardInterrupt:
            number = int(signal.SIGINT)
        elif unraisable.exc_type is Leave and self.given:
            self.again += 1
            number = self.given[0]
        else:
            return False
        main = threading.main_thread().ident or 0
        threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (main, number)).start()
        return True


def _let_go_of_terminal() -> None:
    """Points output to nowhere where its terminal is gone: an error in writing would hide that the state is saved."""
    for descriptor in (1, 2):
        try:
            termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


_orders = _Orders()


@contextlib.contextmanager
def _taken() -> Iterator[None]:
    """Takes the signals, unless they are taken, ignored (nohup), or this is not the main thread, which may not."""
    before = {}
    show_unraisable = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, _orders.take, None):
                before[number] = signal.signal(number, _orders.take)
    if before:
        sys.unraisablehook = lambda unraisable: _orders.ignored(unraisable) or show_unraisable(unraisable)
    try:
        yield
    finally:
        if before:
            sys.unraisablehook = show_unraisable
        if before and _orders.tell_others is None:
            for number, handler in before.items():
                signal.signal(number, handler)
            _orders.given = None


@contextlib.contextmanager
def orders() -> Iterator[None]:
    """While a command works: an order raises `Leave`, or is left to the `notice` under way; a second ends at once."""
    outer, _orders.command = _orders.command, True
    try:
        with _taken():
            yield
    finally:
        _orders.command = outer


@contextlib.contextmanager
def notice() -> Iterator["Notice"]:
    """A `Notice` of orders; none raises while it is open. One that nobody looked for is given again when it closes."""
    unseen = None
    with _taken():
        _orders.saving += 1
        try:
            yield Notice()
        finally:
            _orders.saving -= 1
        if not _orders.saving and _orders.tell_others is None:
            unseen, _orders.given = _orders.given, None
    if unseen:
        signal.raise_signal(unseen[0])


class Notice:
    """Whether the system has asked this program, in any of its processes, to leave."""

    def given(self) -> bool:
        """Whether to leave now. All processes call it equally often, and all are told so at the same call."""
        import jax  # not above: orders are taken before this is

        if jax.process_count() == 1:
            return _orders.given is not None
        from jax.experimental import multihost_utils

        _orders.looks += 1
        return multihost_utils.reached_preemption_sync_point(_orders.looks)


@contextlib.contextmanager
def first_works() -> Iterator[None]:
    """While the first of several processes works for all, which wait for its answer: an order raises `Leave` in it."""
    _orders.first_alone = True
    try:
        _orders.leave_if_idle()
        yield
    finally:
        _orders.first_alone = False


def share() -> None:
    """Takes SIGTERM over from the handler that `jax.distributed.initialize` installed, and passes orders on to it."""
    if threading.current_thread() is not threading.main_thread():
        return
    libc = ctypes.CDLL(None)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    theirs = libc.signal(signal.SIGTERM, None)  # SIG_DFL, for a moment
    if not theirs or theirs == 1:
        return
    _orders.tell_others = ctypes.CFUNCTYPE(None, ctypes.c_int)(theirs)
    signal.signal(signal.SIGTERM, _orders.take)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _orders.take)
