"""The page says what the study's files say, needs no network, and draws in a real browser."""

import errno
import html.parser
import json
import os
import re

import pytest

from jaxscale import studies
from jaxscale.errors import InputError, RunError

FIGURES = ["figure-loss", "figure-excess", "figure-curves", "figure-dimension"]


@pytest.fixture
def markup(study):
    """The page without plotly.js, whose text is not ours."""
    return own_text(studies.render(study))


def own_text(path):
    return max(path.read_text().split("<script>", 1)[0], "") + "".join(path.read_text().split("</script>")[1:])


class Addresses(html.parser.HTMLParser):
    """Collects every address a browser would follow by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_the_page_counts_what_was_skipped_of_the_corpus(markup):
    assert "hidden: 2, binary: 1" in markup


def test_render_returns_the_page_beside_the_table(study):
    path = studies.render(study)
    assert path == study / "report.html"
    assert path.read_text().startswith("<!doctype html>")


def test_page_shows_verdict_badge_and_the_three_numbers(markup):
    assert "falls as n^-0.31" in markup
    assert 'class="badge inconsistent"' in markup and "✗" in markup
    for shown in ["9.80", "[9.20, 10.4]", "0.170", "[0.161, 0.179]", "0.310", "[0.200, 0.450]"]:
        assert shown in markup


def test_page_puts_caveats_before_the_first_figure(markup):
    assert markup.index("n spans 1.5 decades") < markup.index('id="figure-loss"')


def test_page_lists_every_run_the_corpus_the_versions_and_the_configuration(markup):
    for shown in ["n=256_seed=0", "n=8192_seed=1", "3,500,000", "0.10.2", "&quot;vocabulary&quot;: 512", "6 min 20 s"]:
        assert shown in markup


@pytest.mark.parametrize("agreement", ["consistent", "inconsistent", "inconclusive"])
def test_badges_differ_by_more_than_color(build_study, agreement):
    signs = {"consistent": "✓", "inconsistent": "✗", "inconclusive": "?"}
    text = own_text(studies.render(build_study(agreement=agreement)))
    assert f"{signs[agreement]}</span> {agreement}" in text


def test_names_from_the_study_are_escaped(build_study):
    hostile = "<img src=x onerror=alert(1)>"
    corpus = {"kind": f"files {hostile}"}
    caveats = [{"code": "<b>", "text": f"caveat {hostile}"}]
    folder = build_study(prefix="<i>&", sentence=f"sentence {hostile}", corpus=corpus, caveats=caveats)
    text = own_text(studies.render(folder))
    assert "<img" not in text and "<i>" not in text and "<b>" not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") == 3
    assert "&lt;i&gt;&amp;n=256_seed=0" in text


def test_page_names_no_address_on_the_network(markup):
    addresses = Addresses()
    addresses.feed(markup)
    assert addresses.found and all(address.startswith("data:") for address in addresses.found)
    assert not re.search(r"url\(|@import", markup)


def test_plotly_is_inlined_once(study):
    text = studies.render(study).read_text()
    assert len(re.findall(r"plotly\.js v\d", text)) == 1


def test_optional_parts_may_be_absent(build_study):
    verdict = json.loads((build_study() / "verdict.json").read_text())
    dimension = {"estimate": 9.8, "interval": None}
    predicted = {"exponent": 0.17}
    observed = {"exponent": None}
    folder = build_study(dimension=dimension, predicted=predicted, observed=observed)
    kept = {
        key: json.loads((folder / "verdict.json").read_text())[key]
        for key in ("kind", "question", "sentence", "agreement")
    }
    kept |= {"dimension": dimension, "predicted": predicted, "observed": observed}
    (folder / "verdict.json").write_text(json.dumps(kept))
    text = own_text(studies.render(folder))
    assert verdict["sentence"] in text
    assert "figure-excess" not in text


@pytest.mark.parametrize("name", ["config.json", "table.jsonl", "verdict.json", "runs/n=512_seed=1/metrics.jsonl"])
def test_missing_file_is_named_with_the_remedy(study, name):
    (study / name).unlink()
    with pytest.raises(InputError, match=rf"{re.escape(name)} does not exist\. Run the study first: jaxscale study"):
        studies.render(study)


def test_missing_folder_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        studies.render(tmp_path / "nowhere")


def test_broken_line_is_named(study):
    with (study / "table.jsonl").open("a") as table:
        table.write('{"run": "n=1')
    with pytest.raises(InputError, match=r"table\.jsonl, line 13, is not valid JSON"):
        studies.render(study)


def test_a_damaged_line_of_a_runs_log_does_not_keep_the_page_from_being_drawn(study):
    log = study / "runs/n=512_seed=1/metrics.jsonl"
    lines = log.read_bytes().split(b"\n")
    log.write_bytes(b"\n".join([lines[0], b"\0" * 30, *lines[2:]]))
    with pytest.warns(UserWarning, match="1 damaged line is left out of .*, the first of them line 2"):
        studies.render(study)


def test_verdict_without_an_observation_is_bad_input(study):
    (study / "verdict.json").write_text('{"kind": "scaling", "sentence": ""}')
    with pytest.raises(InputError, match=r"verdict\.json lacks question, .*observed"):
        studies.render(study)


def test_empty_table_is_bad_input(study):
    (study / "table.jsonl").write_text("")
    with pytest.raises(InputError, match="no run has finished"):
        studies.render(study)


def test_failed_write_keeps_the_old_page_and_leaves_no_draft(study, monkeypatch):
    (study / "report.html").write_text("the old page")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="the disk is full"):
        studies.render(study)
    assert (study / "report.html").read_text() == "the old page"
    assert sorted(path.name for path in study.iterdir()) == [
        "config.json",
        "report.html",
        "runs",
        "table.jsonl",
        "verdict.json",
    ]


def open_page(browser, path, width):
    """Opens `path` in a window `width` pixels wide with an empty console; returns once all figures are drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    drawn = "return document.querySelectorAll('.plot .main-svg').length && " + " && ".join(
        f"!!document.querySelector('#{name} .plot-container')" for name in FIGURES
    )
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(drawn))


def requested(browser):
    """Addresses the page asked for, of any scheme."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def count(browser, selector):
    return browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector)


def test_browser_opens_the_page_without_errors_or_network(browser, study):
    path = studies.render(study)
    open_page(browser, path, 1200)
    assert browser.get_log("browser") == []
    addresses = requested(browser)
    assert path.as_uri() in addresses
    assert all(address.startswith(("file:", "data:", "blob:")) for address in addresses)


def test_browser_draws_every_figure(browser, study):
    open_page(browser, studies.render(study), 1200)
    for name in FIGURES:
        assert count(browser, f"#{name} .main-svg") > 0
    assert count(browser, "#figure-loss .points path") == 12
    assert count(browser, "#figure-excess .points path") == 12
    assert count(browser, "#figure-curves .lines path.js-line") == 12
    assert count(browser, "#figure-curves .points path") == 12
    assert count(browser, "#figure-dimension .points path") == 5
    assert count(browser, "#figure-dimension .errorbar") == 5


@pytest.mark.parametrize("width", [400, pytest.param(1200, marks=pytest.mark.thorough)])
def test_page_does_not_scroll_sideways(browser, study, tmp_path, width):
    open_page(browser, studies.render(study), width)
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.save_screenshot(str(tmp_path / f"report-{width}.png"))


@pytest.mark.parametrize("prefix", [pytest.param("", marks=pytest.mark.thorough), "<i>&amp;%{x}"])
def test_hover_names_the_run(browser, build_study, prefix):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    open_page(browser, studies.render(build_study(prefix=prefix)), 1200)
    point = browser.find_elements(By.CSS_SELECTOR, "#figure-loss .points path")[7]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(browser).move_to_element(point).perform()
    read = "return document.querySelector('#figure-loss .hoverlayer')?.textContent"
    WebDriverWait(browser, 10).until(lambda driver: driver.execute_script(read))
    label = browser.execute_script(read)
    assert f"{prefix}n=2048_seed=1" in label
    assert "seed 1" in label and "at step 300" in label
