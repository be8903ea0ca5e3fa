"""The page of findings, and the criteria it shows."""

import dataclasses
import json
import re

import numpy as np
import pytest
from scipy import stats

from jaxml import studies
from jaxml.studies import Check, Settings, Study, Table, confidence_interval, render_page
from jaxml.studies._page import _cell, bounds, markup
from jaxml.studies._panels import bars, drawing, lines, pictures
from jaxml.studies._study import SECTIONS, VERDICTS
from tests.launch import processes
from tests.reporting.report_pages import Page

VALUES = np.array([0.2, 0.3, 0.4])


def measure(settings, **conditions):
    return {"x": np.array(VALUES[: len(settings.seeds)]), "curve": np.ones((3, 5))}


STUDY = Study(
    measure,
    checks=lambda found: [Check("gain <&>", found["x"], at_least=0.0)],
    table=lambda found: Table(("name", "value"), [("a_1", found["x"]), ("b", 3)]),
    panels=lambda found: [
        lines("Lines <b>", {"u": found["curve"], "v": 2 * found["curve"]}, y="loss", log="y"),
        bars("Bars", {"u": found["x"]}, x="value"),
        pictures("Pictures", np.ones((2, 3, 3)), ["one", "two"], columns=2),
        drawing("Own", lambda axes: axes.plot([0, 1], [1, 0]), x="x", y="y"),
    ],
    code=(measure,),
)  # fmt: skip


@pytest.fixture
def finding(monkeypatch):
    text = "Title of x_1.\n\nClaim: a < b.\n\nFormula:\n  y_i = x^2\n\nMeasured: c.\n\nVerdict: "
    monkeypatch.setitem(globals(), "__doc__", text + "holds. So `x < y`.\n\nNext: d.")
    return STUDY.run(Settings(seeds=(0, 1, 2)))


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=7)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    np.testing.assert_allclose(confidence_interval(values), [values.mean(), low, high])
    assert confidence_interval(VALUES[:1]) == (0.2, -np.inf, np.inf)  # one seed proves nothing


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(0.0, np.inf, True), (0.1, np.inf, False), (-np.inf, 0.6, True), (-np.inf, 0.5, False)],
)
def test_a_check_holds_if_the_whole_interval_lies_within_the_bounds(low, high, holds):
    check = Check("effect", VALUES, low, high)  # the interval is 0.05 to 0.55
    assert check.holds == holds
    assert not Check("effect", np.array([0.2, np.nan]), low, high).holds


def test_bounds_are_words():
    assert bounds(Check("e", VALUES, 0.0, 0.0)) == "exactly 0"
    assert bounds(Check("e", VALUES, 0.5, 2)) == "at least 0.5, at most 2"
    assert bounds(Check("e", VALUES, -0.02, 1e-5)) == "at least −0.02, at most 1 · 10^{−5}"


def test_numbers_have_three_digits_and_their_spread():
    assert _cell(VALUES) == "0.300 ± 0.10"
    assert _cell(1234567) == "1,234,567"
    assert _cell(np.array([-1.5e-7, -1.5e-7])) == "−1.50 · 10^{−7}"
    assert _cell("text") == "text"


def test_markup_escapes_and_marks():
    assert markup("keep_prob") == "keep_prob"
    assert markup("a_1 < `<b>` and 10^{−7}, *so*") == (
        "<i>a</i><sub>1</sub> &lt; <code>&lt;b&gt;</code> and 10<sup>−7</sup>, <em>so</em>"
    )


def test_the_page_is_complete_and_self_contained(finding):
    assert finding.confirmed
    page = render_page({"one": finding, "two": finding})
    for text in ("a &lt; b", "0.300 ± 0.10", "gain &lt;&amp;&gt;", "0.0516 to 0.548", "at least 0",
                 "Holds. So <code>x &lt; y</code>", "def measure", "--name=two"):  # fmt: skip
        assert text in page
    parsed = Page(page)
    assert {"Lines <b>", "Bars", "Pictures", "Own"} <= set(parsed.figures)
    assert parsed.addresses == []
    assert page.count("<svg") == 6
    assert "prefers-color-scheme" in page
    assert not re.search(r"https?://|<script", page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert {"one", "two"} <= set(ids)


def test_a_finding_that_fails_says_so(finding):
    failed = dataclasses.replace(finding, checks=[Check("gain", VALUES, at_least=1.0)])
    assert not failed.confirmed
    page = render_page({"one": failed, "two": finding})
    assert "Not confirmed by this run; expected: holds." in page
    assert "not confirmed</span>" in page


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_study_has_all_sections(name):
    text = studies.load(name).text
    assert tuple(text) == ("Title", *SECTIONS)
    assert all(text.values())
    assert text["Verdict"].startswith(VERDICTS)


@pytest.mark.slow
def test_the_launcher_writes_the_page(tmp_path):
    fresh = ("--seeds=4", "--first_seed=5")
    done = processes.run("launch.study", "--name=weight_scale", f"--out={tmp_path / 'out'}", *fresh)
    assert done.returncode == 0, done.stderr
    assert "weight_scale" in done.stdout
    assert "<svg" in (tmp_path / "out/index.html").read_text()
    report = json.loads((tmp_path / "out/findings.json").read_text())
    assert report["weight_scale"]["confirmed"]
    found = [criterion["values"] for criterion in report["weight_scale"]["criteria"]]
    expected = studies.load("weight_scale").run(Settings(seeds=(5, 6, 7, 8))).checks
    np.testing.assert_allclose(found[2], expected[2].values, rtol=1e-3)  # -5.5, by seed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name=dropuot", "--out=x"], "--name must be one of "),
        (["--name=dropout"], "--out must be given"),
        (["--name=dropout", "--out=x", "--full"], "--data_dir must be given with --full"),
    ],
)
def test_wrong_flags_are_reported_in_one_line(arguments, message):
    done = processes.run("launch.study", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
