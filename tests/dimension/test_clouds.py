"""The dimensions of clouds as a table and as a page that draws in a real browser."""

import io
import json
import math

import pytest
from rich.console import Console

from jaxscale.dimension import figures, page
from jaxscale.dimension.conclusion import BIASED, conclude
from jaxscale.errors import InputError
from jaxscale.verdict import Number, Stopwatch, caveat, check

NOT_FOUND = {"found": False, "dimension": None, "standard_error": None, "lower": None, "upper": None}
FOUND = {"found": True, "dimension": 2.01, "standard_error": 0.02, "lower": 0.1, "upper": 0.4}


def estimate(name, **changes):
    numbers = {"dimension": 2.0123, "standard_error": 0.05, "interval": [1.914, 2.11], "scale": 0.2}
    counts = {"points_used": 3990, "duplicates_collapsed": 8, "zero_distances": 0, "nonfinite_dropped": 2}
    return {"estimator": name, **numbers, "analytic_standard_error": 0.04, **counts, "note": "", **changes}


def profile(name, plateau, scales=(0.1, 0.2, 0.4)):
    count = len(scales)
    return {
        "estimator": name,
        "scale": list(scales),
        "dimension": [2.0] * count,
        "standard_error": [0.05] * (count - 1) + [float("nan")],
        "spread": [None] * count,
        "points": [3990] * count,
        "k": [4 << i for i in range(count)],
        "plateau": plateau,
    }


def measured(name="torus.npy"):
    profiles = [profile("mle", FOUND), profile("gride", NOT_FOUND), profile("twonn", NOT_FOUND, (0.05,))]
    cloud = {"shape": [4000, 4], "estimates": [estimate("mle"), estimate("twonn", interval=[None, None])]}
    clouds = [{"cloud": name, **cloud, "profiles": profiles}, {"cloud": "plain.npy", **cloud}]
    return {"k": 20, "metric": "euclidean", "seed": 0, "clouds": clouds}


def printed(values, width=110):
    stream = io.StringIO()
    page.print_clouds(conclude(values, Stopwatch()), Console(file=stream, width=width))
    return stream.getvalue()


def test_table_has_a_line_for_each_estimate_and_a_sentence_for_each_profile():
    text = printed(measured("[red]torus.npy"))
    assert text.count("8 duplicate, 2 not finite") == 4
    assert "[red]torus.npy" in text and "[1.91, 2.11]" in text and "[—, —]" in text
    assert "mle: plateau at d = 2.01 ± 0.020 from distance 0.100 to 0.400" in text
    assert "gride: no plateau; the dimension depends on the scale" in text
    assert "twonn: no plateau" not in text  # it reads one scale, which says nothing of others


def scales(k, reason, noise=None, radius=None):
    """What a profile says of scales."""
    end = lambda scale, d: {"scale": scale, "dimension": d, "standard_error": 0.05, "interval": [d - 0.1, d + 0.1]}
    deviation = {"distance": noise, "deviation": 0.03, "standard_error": 0.002}
    return {
        "small": end(0.1, 2.6),
        "large": end(0.4, 2.0),
        "noise": {"found": noise is not None, **(deviation if noise else dict.fromkeys(deviation))},
        "curvature": {"found": radius is not None, "radius": radius},
        "recommended_k": k,
        "recommended_scale": None if k is None else 0.2,
        "reason": reason,
    }


def of_scales(*profiles, **cloud):
    cloud = {"cloud": "a", "shape": [9, 2], "estimates": [estimate("mle")], "profiles": list(profiles), **cloud}
    return {"k": 20, "metric": "euclidean", "seed": 0, "clouds": [cloud]}


def test_a_profile_says_its_noise_its_k_and_both_ends():
    level = profile("mle", FOUND) | {"scales": scales(8, "k = 8: it is level", noise=0.15)}
    bent = profile("gride", NOT_FOUND) | {"scales": scales(4, "k = 4: larger ones bend", radius=7.0)}
    neither = profile("mom", NOT_FOUND) | {"scales": scales(None, "no k: report both ends")}
    text = " ".join(printed(of_scales(level, bent, neither), width=400).split())
    assert (
        "mle: plateau at d = 2.01 ± 0.020 from distance 0.100 to 0.400; noise fills distances below 0.150, "
        "its standard deviation 0.0300 ± 0.0020 in each column; k = 8: it is level" in text
    )
    assert (
        "gride: no plateau; d = 2.60 ± 0.050 at distance 0.100 and 2.00 ± 0.050 at distance 0.400; "
        "bends like a sphere of radius 7.00; k = 4: larger ones bend" in text
    )
    assert "mom: no plateau; no k: report both ends" in text


def test_without_a_plateau_the_verdict_has_the_readings_at_both_ends():
    profiles = [profile("mle", FOUND), profile("mom", NOT_FOUND)]
    values = of_scales(*(one | {"scales": scales(None, "no k")} for one in profiles))
    found = check(conclude(values, Stopwatch())).numbers
    assert Number("d of a by mom at distance 0.100", 2.6, (2.5, 2.7)) in found
    assert Number("d of a by mom at distance 0.400", 2.0, (1.9, 2.1)) in found
    assert not any("by mle at distance" in one.name for one in found)


def test_layers_without_a_plateau_say_their_range_at_both_ends():
    values = of_layers([("", "")] * 3)
    for place, cloud in enumerate(values["clouds"]):
        said = scales(None, "no k")
        said["small"]["dimension"] = 7.0 + place
        cloud["profiles"] = [profile("mle", NOT_FOUND) | {"scales": said}]
    text = printed(values, width=200)
    assert "layers 0 to 2, mle: no plateau; d = 7.00 to 9.00 at the smallest distances, 2.00 at the largest" in text


def test_the_figure_marks_the_recommended_k_and_shades_the_noise():
    cloud = {"cloud": "a", "profiles": [profile("mle", FOUND) | {"scales": scales(8, "k = 8", noise=0.15)}]}
    figure = figures.scale_figure([cloud])
    line = next(trace for trace in figure.data if trace.name == "mle")
    assert list(line.marker.size) == [8, 15, 8]
    (shade,) = figure.layout.shapes
    assert (shade.x0, shade.x1) == (0.1, 0.15)


def test_calibrated_dimensions_stand_beside_their_readings_with_a_note():
    stands_for = {"dimension": 12.1, "standard_error": 0.15, "interval": [11.8, 12.4], "bias": -2.3}
    low = estimate("mle", dimension=9.8, note="The reading 9.8 is likely too low: so it is.")
    values = {"k": 10, "metric": "euclidean", "seed": 0, "clouds": [{"cloud": "cube.npy", "shape": [2000, 12]}]}
    values["clouds"][0]["estimates"] = [low]
    text = printed(values)
    assert "calibrated" not in text.split("\n")[1] and "is likely too low" in text and "--calibrate takes" in text
    values["clouds"][0]["estimates"] = [low | {"calibrated": stands_for}]
    text = printed(values)
    assert "[11.8, 12.4]" in text and "is likely too low" in text and "--calibrate" not in text


def test_the_verdict_relies_on_what_a_reading_stands_for_and_on_plateaus():
    stands_for = {"dimension": 12.1, "standard_error": 0.15, "interval": [11.8, 12.4], "bias": -2.3}
    low = estimate("mle", note="The reading 2.01 is likely too low.", calibrated=stands_for)
    unread = estimate("pca", dimension=math.nan, interval=[math.nan, math.nan])
    cloud = {"cloud": "a", "shape": [9, 2], "estimates": [low, unread], "profiles": [profile("mle", FOUND)]}
    cloud["caveats"] = [caveat("no_reading", "pca: it could not be read.")]
    document = conclude({"k": 10, "metric": "euclidean", "seed": 0, "clouds": [cloud]}, Stopwatch())
    found = check(document)
    assert found.numbers == (
        Number("d of a by mle, calibrated", 12.1, (11.8, 12.4)),
        Number("d of a by pca", None, (None, None)),
        Number("d of a by mle, plateau over scales", 2.01, (2.01 - 1.96 * 0.02, 2.01 + 1.96 * 0.02)),
    )
    assert found.sentence == "a: d = 12.1 [11.8, 12.4] by mle, calibrated, — [—, —] by pca."
    texts = {
        "dimension_biased_down": "a, mle: The reading 2.01 is likely too low.",
        "no_reading": "a, pca: it could not be read.",
    }
    assert {one.code: one.text for one in found.caveats} == texts
    # What a caveat of the whole says is not said again of its cloud.
    assert "caveats" not in document["clouds"][0] and BIASED not in found.limits


def test_of_many_clouds_the_verdict_says_the_least_and_the_largest():
    clouds = [
        {"cloud": f"layer {i}", "shape": [9, 2], "estimates": [estimate("mle", dimension=5 + i)]} for i in range(4)
    ]
    clouds[3]["estimates"] = [estimate("mle", dimension=math.nan)]
    found = check(conclude({"k": 10, "metric": "euclidean", "seed": 0, "clouds": clouds}, Stopwatch()))
    assert found.sentence == "Of 4 clouds d is 5 (layer 0) to 7 (layer 2) by mle." and len(found.numbers) == 4
    assert BIASED in found.limits


def of_layers(notes, run=None):
    """Four layers, whose estimates by mle and twonn have these notes."""
    clouds = [
        {"cloud": f"layer {place}", "layer": place, "shape": [9, 2], "caveats": []}
        | {"estimates": [estimate(name, note=note) for name, note in (("mle", mle), ("twonn", twonn))]}
        | ({} if run is None else {"run": run})
        for place, (mle, twonn) in enumerate(notes)
    ]
    return {"k": 10, "metric": "euclidean", "seed": 0, "clouds": clouds}


def test_what_is_said_of_many_layers_is_said_once():
    low = "The reading {} is likely too low: n=2000 points."
    notes = [("", ""), *((low.format(9.5 + place), low.format(11 + place)) for place in range(3))]
    values = of_layers(notes)
    values["clouds"][0]["caveats"] = [caveat("no_interval", "mle: 3 has no interval.")]
    values["clouds"][2]["caveats"] = [caveat("no_interval", "mle: 4 has no interval."), caveat("other", "Only here.")]
    found = conclude(values, Stopwatch())
    assert [one["text"].removesuffix(" --calibrate takes the bias off.") for one in found["caveats"]] == [
        "layers 1 to 3, mle, twonn: The reading 9.5 to 13 is likely too low: n=2000 points.",
        "layers 0, 2, mle: 3 to 4 has no interval.",
        "layer 2: Only here.",
    ]
    assert found["sentence"].startswith("Of 4 layers d is ")
    notes[1] = ("", notes[1][1])
    texts = [one["text"] for one in conclude(of_layers(notes, "a.npz"), Stopwatch())["caveats"]]
    assert len(texts) == 1 and texts[0].startswith(
        "a.npz, twonn in layers 1 to 3, mle in layers 2, 3: The reading 10.5 to 13 "
    )


def test_layers_without_a_plateau_share_a_sentence_and_a_page_without_scripts(tmp_path):
    values = of_layers([("", "")] * 4)
    for place, cloud in enumerate(values["clouds"]):
        cloud["profiles"] = [profile("mle", FOUND if place == 1 else NOT_FOUND), profile("twonn", NOT_FOUND)]
    values["clouds"][3]["cloud"] = "layer 3 (<b>%{y})"
    values["clouds"][2]["estimates"][0] |= {"dimension": math.nan, "interval": [math.nan, math.nan]}
    concluded = conclude(values, Stopwatch())
    said = printed(values)
    assert "layer 1, mle: plateau at d = 2.01" in said
    assert "layers 0, 2, 3, mle: no plateau" in said and "layers 0 to 3, twonn: no plateau" in said
    page.write_plot(concluded, str(tmp_path / "layers.html"))
    written = (tmp_path / "layers.html").read_text()
    assert "<script" not in written and "<b>%" not in written and "layer 3 (&lt;b&gt;%{y})" in written
    assert written.count('<svg viewBox="0 0 300 210"') == 4 and len(written) < 100_000


def test_an_estimator_has_one_color_by_layer_and_by_scale():
    clouds = of_layers([("", "")] * 2)["clouds"]
    for cloud in clouds:
        cloud["profiles"] = [profile("mle", NOT_FOUND), profile("twonn", NOT_FOUND)]
        cloud["measured"] = {"dimension": 2.0, "interval": [1.9, 2.1], "most_alike": []}
    by_layer = {
        trace.name: trace.line.color for trace in figures.layer_figure(clouds, "layer").data if trace.fill is None
    }
    assert set(by_layer) == {"d", "mle", "twonn"} and len(set(by_layer.values())) == 3
    (_, panel), _ = figures.scale_panels(clouds)
    by_scale = [trace.line.color for trace in panel.data if trace.fill is None]
    assert by_scale == [by_layer["mle"], by_layer["twonn"]]
    assert figures.profile_colors(clouds) == {name: by_layer[name] for name in ("mle", "twonn")}


def test_numbers_stay_whole_on_a_narrow_terminal():
    assert "[1.91, 2.11]" in printed(measured("a/long/path/to/some/folder/of/embeddings/torus.npy"), width=72)


def test_figure_bands_the_plateaus_and_names_its_lines():
    values = measured()
    lines = figures.scale_figure(values["clouds"][:1]).data
    assert [trace.name for trace in lines if trace.name] == ["mle", "gride", "twonn"]
    assert sum(trace.fill == "toself" for trace in lines) == 1
    assert len({trace.line.color for trace in lines if trace.name}) == 3
    several = [{**cloud, "profiles": [profile("mle", NOT_FOUND)]} for cloud in values["clouds"]]
    assert [trace.name for trace in figures.scale_figure(several).data] == ["torus.npy, mle", "plain.npy, mle"]


def test_ticks_are_round_numbers_around_the_scales():
    figure = figures.scale_figure([{"cloud": "x", "profiles": [profile("mle", NOT_FOUND, (0.03, 0.4))]}])
    assert {"0.02", "0.05", "0.1", "0.2", "0.5"} <= set(figure.layout.xaxis.ticktext)


def test_page_escapes_names_and_draws_in_a_browser(browser, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    hostile = "<img src=x onerror=alert(1)>%{y}.npy"
    page.write_plot(conclude(measured(hostile), Stopwatch()), str(tmp_path / "scales.html"))
    own = (tmp_path / "scales.html").read_text().split("<script>", 1)[0]
    assert "<img" not in own
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get((tmp_path / "scales.html").as_uri())
    drawn = "return document.querySelectorAll('#figure-scale .points path').length"
    WebDriverWait(browser, 30).until(lambda driver: driver.execute_script(drawn) == 7)
    assert browser.execute_script("return document.querySelectorAll('#figure-scale .js-fill').length") == 1
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked and all(address.startswith(("file:", "data:", "blob:")) for address in asked)


def test_a_picture_is_drawn_where_kaleido_and_a_browser_are(tmp_path):
    pytest.importorskip("kaleido", reason="needs the extra [png]")
    page.write_plot(conclude(measured(), Stopwatch()), str(tmp_path / "scales.png"))
    assert (tmp_path / "scales.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.html or \.png"):
        page.write_plot(conclude(measured(), Stopwatch()), str(tmp_path / "scales.svg"))
