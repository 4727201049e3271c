"""All processes of a program meet before jax joins them: jax would end one whose others do not come, without a word.

The first listens at the coordinator's address. Each of the others says which it is and waits for its answer: that all
are there, or what is wrong. Then the address is jax's.
"""

import json
import socket
import time

from jaxscale.errors import RunError
from jaxscale.sharding.clusters import Place


def meet(place: Place, seconds: float) -> None:
    """Returns when all processes are here.

    Args:
      place: a `clusters.Place` with a coordinator.
      seconds: how long to wait for the others.

    Raises:
      RunError: some did not come, or were started with other numbers; raised in all that did come.
    """
    end = time.monotonic() + seconds
    (_receive if place.index == 0 else _present)(place, end, seconds)


def _receive(place: Place, end: float, seconds: float) -> None:
    """The first process: waits for all others and answers them."""
    port = int(place.coordinator.rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:
        door = socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both, backlog=place.count
        )
    except OSError as error:
        raise _failed(place, f"port {port} cannot be opened ({error.strerror})") from None
    came: dict[int, socket.socket] = {}
    wrong = ""
    with door:
        while len(came) < place.count - 1 and not wrong:
            door.settimeout(max(end - time.monotonic(), 0.001))
            try:
                caller = door.accept()[0]
            except TimeoutError:
                break
            caller.settimeout(5)
            try:
                index, count = json.loads(caller.makefile("r").readline())
            except (OSError, ValueError, TypeError):
                caller.close()  # a stranger
                continue
            if count != place.count or index in came or not 0 < index < place.count:
                wrong = f"a process came as number {index} of {count}, which does not fit or was there already"
            came[index if not wrong else -1] = caller
    missing = [index for index in range(1, place.count) if index not in came]
    if missing and not wrong:
        names = ", ".join(map(str, missing[:10])) + (" and others" if len(missing) > 10 else "")
        wrong = f"after {seconds:g} s process{'es' if len(missing) > 1 else ''} {names} had not come"
    for caller in came.values():
        try:
            caller.sendall((json.dumps(wrong) + "\n").encode())
            caller.close()
        except OSError:
            pass  # it is gone; jax will notice
    if wrong:
        raise _failed(place, wrong)


def _present(place: Place, end: float, seconds: float) -> None:
    """The others: find the first, say who this is, and wait for the answer."""
    host, _, port = place.coordinator.rpartition(":")
    address = host.strip("[]"), int(port)
    while True:
        why = "it could not be reached"
        try:
            with socket.create_connection(address, timeout=max(end - time.monotonic(), 0.1)) as first:
                why = "what answers there is not the first process, or it ended"  # perhaps that of the start before
                # The first waits as long from its own start; it speaks last.
                first.settimeout(seconds + 10)
                first.sendall((json.dumps([place.index, place.count]) + "\n").encode())
                wrong = json.loads(first.makefile("r").readline())
            break
        except (OSError, ValueError) as error:
            if time.monotonic() > end:
                raise _failed(place, f"{why} in {seconds:g} s ({getattr(error, 'strerror', None) or error})") from None
            time.sleep(0.2)
    if wrong:
        raise _failed(place, wrong)


def _failed(place: Place, what: str) -> RunError:
    return RunError(
        f"process {place.index} of {place.count} did not meet the others at the coordinator {place.coordinator}: "
        f"{what}. Start all of them at about the same time, and see that this port is free and open on the host of "
        "process 0. JAXSCALE_STARTUP_SECONDS says how long to wait."
    )
