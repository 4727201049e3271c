"""What each test costs in processor seconds, its children included, and which of them fit into a budget.

Wall time says little where other work shares the cores. Every run ends with the dearest files and tests; with
`--write-costs` it also writes all of them to `costs.json` beside this file, from which `--budget SECONDS` chooses the
cheapest tests that fit together.
"""

import collections
import json
import pathlib
import resource
import time

import pytest

COSTS = pathlib.Path(__file__).with_name("costs.json")
# Tests that cost less are not written down one by one: they are the many.
NOTEWORTHY = 0.5
SHOWN = 15


def add_options(parser):
    parser.addoption(
        "--budget", type=float, help="run the files of cheapest tests that fit into so many processor seconds"
    )
    parser.addoption("--write-costs", action="store_true", help="write the processor seconds of tests to costs.json")


def used():
    """Processor seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class ProcessorTime:
    """Measures in the process that runs a test, and adds up in the one that reports."""

    def __init__(self, config):
        self.write = config.getoption("--write-costs")
        self.start = used()
        self.seconds = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        if call.when == "teardown":  # what is between two tests belongs to the second: fixtures of a file, imports
            item.user_properties.append(("processor_seconds", used() - self.start))
            self.start = used()
        return (yield)

    def pytest_runtest_logreport(self, report):
        if report.when == "teardown":
            self.seconds[report.nodeid] = dict(report.user_properties).get("processor_seconds", 0.0)

    def pytest_terminal_summary(self, terminalreporter):
        if not self.seconds:
            return
        total, files = sum(self.seconds.values()), collections.Counter()
        for test, seconds in self.seconds.items():
            files[test.partition("::")[0]] += seconds
        terminalreporter.section(f"{total / 60:.1f} processor minutes")
        for dearest in (files, collections.Counter(self.seconds)):
            for name, seconds in dearest.most_common(SHOWN):
                terminalreporter.write_line(f"{seconds:6.1f} s  {name}")
            terminalreporter.write_line("")
        if self.write:
            dear = {test: round(s, 1) for test, s in sorted(self.seconds.items()) if s >= NOTEWORTHY}
            usual = (total - sum(dear.values())) / max(1, len(self.seconds) - len(dear))
            COSTS.write_text(json.dumps({"usual": round(usual, 3), "tests": dear}, indent=1) + "\n")


def deselect(config, items):
    """Leaves the files whose tests cost least each, whole, as many as fit into the budget.

    Whole, since tests share fixtures and programs: what a file costs is paid by whichever of its tests is first.
    """
    budget = config.getoption("--budget")
    if budget is None:
        return
    costs = json.loads(COSTS.read_text())
    files = collections.defaultdict(list)
    for item in items:
        files[item.nodeid.partition("::")[0]].append(costs["tests"].get(item.nodeid, costs["usual"]))
    kept = set()
    for file in sorted(files, key=lambda file: sum(files[file]) / len(files[file])):
        budget -= sum(files[file])
        if budget < 0:
            break
        kept.add(file)
    left_out = [item for item in items if item.nodeid.partition("::")[0] not in kept]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item.nodeid.partition("::")[0] in kept]
