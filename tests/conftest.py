"""Every test sees eight host devices; those that want one ask for one. Corpora are real text: Python's own modules."""

import dataclasses
import gc
import os
import pathlib
import shutil
import socket
import sysconfig

import environment  # before jax
import jax
import processor_time
import pytest
from hypothesis import settings

from jaxscale import config as configs
from jaxscale import data, studies

MANY_MAPPINGS = 56_000

# Other work may share the cores: no property is about time. What runs unattended draws the same examples every time.
settings.register_profile("jaxscale", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("jaxscale")

# Traces and programs of thousands of tests stay: looking through all of them for garbage is not worth its time.
gc.set_threshold(200_000, 20, 100)


def pytest_addoption(parser):
    parser.addoption("--first-case", action="store_true", help="of a parametrized test run the first case only")
    processor_time.add_options(parser)


def pytest_configure(config):
    config.pluginmanager.register(processor_time.ProcessorTime(config))


@pytest.hookimpl(trylast=True)  # after the slow ones have gone
def pytest_collection_modifyitems(config, items):
    processor_time.deselect(config, items)
    if not config.getoption("--first-case"):
        return
    first, others, seen = [], [], set()
    for item in items:
        test = item.nodeid.partition("[")[0]
        (others if test in seen else first).append(item)
        seen.add(test)
    items[:] = first
    config.hook.pytest_deselected(items=others)


@pytest.fixture(scope="module", autouse=True)
def shared_programs():
    environment.share_programs()


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Linux gives a process some 65 000 mappings of memory, a compiled program takes several, and a compiler that gets
    no more crashes: programs of finished modules are let go when there are many."""
    yield
    mappings = pathlib.Path("/proc/self/maps")
    if mappings.is_file() and mappings.read_bytes().count(b"\n") > MANY_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory):
    """The beginnings of sixty modules of the standard library as text files, one of them twice."""
    folder = tmp_path_factory.mktemp("text")
    modules = sorted(
        p for p in pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("[a-p]*.py") if p.stat().st_size > 1000
    )
    beginning = lambda module: module.read_text(encoding="utf-8")[:12_000]
    for module in modules[:60]:
        (folder / f"{module.stem}.txt").write_text(beginning(module), encoding="utf-8")
    (folder / "zz_copy.txt").write_text(beginning(modules[0]), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_run(text_folder):
    """A run that takes a second or two: bytes, one narrow layer, a single device."""
    return configs.Run(
        corpus=configs.Corpus(kind="files", path=str(text_folder), passage=128),
        tokenizer=configs.Tokenizer(kind="bytes"),
        model=configs.Decoder(layers=1, width=16, heads=2, hidden=32, context=16),
        optimizer=configs.Optimizer(schedule="constant", learning_rate=1e-2, warmup_steps=2),
        training=configs.Training(steps=12, batch_size=8, evaluate_every=4, evaluation_sequences=20, log_every=2),
        tokens=2048,
    )


@pytest.fixture(scope="session")
def tiny_store(tiny_run, tmp_path_factory):
    return data.prepare(tiny_run.corpus, tiny_run.tokenizer, tmp_path_factory.mktemp("store") / "corpus")


@pytest.fixture(scope="session")
def tiny_study(tiny_run):
    """A study of eight runs of `tiny_run`'s shape."""
    return studies.DataScaling(
        run=dataclasses.replace(tiny_run, training=dataclasses.replace(tiny_run.training, patience=2)),
        sizes=(256, 512, 1024, 2048),
        seeds=(0, 1),
        dimension=configs.Dimension(k=5, points=200, tokens_per_document=50),
        resamples=100,
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A GPT-2 of two random layers and a tokenizer of bytes, as transformers saves them."""
    import jax.numpy as jnp

    from jaxscale.data import tokenizers
    from jaxscale.models import Decoder, gpt2

    folder = tmp_path_factory.mktemp("hub") / "tiny"
    shape = dict(layers=2, width=16, heads=2, hidden=64, context=64)
    model = configs.Decoder(**shape, positions="learned", norm="layer", bias=True)
    tokens = jnp.zeros((1, 64), jnp.int32)
    params = jax.jit(Decoder(model, vocab_size=257).init)(jax.random.key(0), tokens)["params"]
    gpt2.write(folder, model, params)
    tokenizers.published(tokenizers.Bytes()).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return str(folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Debian's chromium, headless, keeping its console and its network requests for the test to read."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[dev]'")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()
