"""The report of a run is one complete file, which a real browser shows without errors."""

import dataclasses
import os
import re
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from jaxml.config import DataConfig, LossConfig
from jaxml.errors import InputError
from jaxml.reporting import page
from jaxml.reporting.report import sentence, wilson, write_report
from jaxml.reporting.run_files import overrides, read_run
from tests.reporting.report_pages import Page, findings, write_run

COMMON = [
    "Loss", "Learning rate", "Gradient norm", "Weight norm", "Update-to-weight ratio",
    "Where the time goes",
]  # fmt: skip
FIGURES = {
    "classes": [
        *COMMON, "Accuracy", "Confusion matrix", "Reliability", "Most confident mistakes",
        "Least confident hits", "Kernels of the first layer", "Training examples",
    ],
    "binary": [
        *COMMON, "Accuracy", "ROC curve", "Precision and recall", "Outputs by class",
        "Confusion matrix", "Reliability",
    ],
    "regression": [
        *COMMON, "RMSE", "Prediction and target", "Residuals", "Distribution of the residuals",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    written = {}
    for kind in FIGURES:
        metric = "rmse" if kind == "regression" else "accuracy"
        run = write_run(folder / kind, metric=metric, seed=3)
        written[kind] = write_report(run, findings(kind)).read_text()
    return written


@pytest.mark.parametrize("kind", FIGURES)
def test_a_report_has_the_figures_of_its_kind_and_loads_nothing(reports, kind):
    page = Page(reports[kind])
    assert set(FIGURES[kind]) <= set(page.figures)
    assert page.addresses == []
    assert len(reports[kind]) < 2_000_000
    assert "http" not in reports[kind]


def test_a_report_says_what_happened_and_how_to_repeat_it(reports):
    text = " ".join(Page(reports["classes"]).words)
    for part in (
        "resnet20v1 with 1,234 parameters was trained on digits for 3 epochs",
        "75.00% of 40 test examples",
        "--config=configs/a.py",
        "config.seed=3",
        "commit 0123abc, with uncommitted changes",
        "The run was resumed once:",
        "from step 10",
    ):
        assert part in text


def test_names_are_escaped(reports):
    assert "<cat>" not in reports["classes"]
    assert "&lt;cat&gt;" in reports["classes"]


def test_the_table_of_classes_agrees_with_scikit_learn(reports):
    given = findings("classes")
    scores: Any = precision_recall_fscore_support(given.targets, given.outputs.argmax(axis=1))
    row = re.search(r"<tr><td[^>]*>dog</td>(.*?)</tr>", reports["classes"])
    assert row is not None
    shown = re.findall(r'data-value="([^"]*)"', row[1])
    np.testing.assert_allclose([float(x) for x in shown[2:5]], [s[1] for s in scores[:3]])


def test_names_in_a_table_break_between_words():
    table = page.table(["setting", "value"], [("optim.weight_decay", "0.5 of a<b")], text=2)
    assert ">optim.<wbr>weight_<wbr>decay</td>" in table
    assert 'data-value="optim.weight_decay"' in table
    assert ">0.5 of a&lt;b</td>" in table


def test_the_interval_of_the_accuracy_is_that_of_wilson():
    z, n, p = 1.959964, 40, 0.75
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(wilson(p, n), (center - half, center + half), rtol=1e-5)


def test_a_report_without_findings_has_the_curves(tmp_path):
    page = Page(write_report(write_run(tmp_path / "run"), None).read_text())
    assert "Loss" in page.figures
    assert "Confusion matrix" not in page.figures


def test_a_margin_is_no_probability(tmp_path):
    run = write_run(tmp_path / "run", loss=LossConfig(name="one_vs_rest_hinge"))
    given = dataclasses.replace(findings("classes"), probabilistic=False)
    assert "Reliability" not in Page(write_report(run, given).read_text()).figures


def test_folders_that_hold_no_run_are_rejected(tmp_path):
    with pytest.raises(InputError, match=r"holds no run \(config.json is missing\)"):
        read_run(tmp_path)
    run = write_run(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="has no metrics yet"):
        read_run(run)
    (run / "config.json").write_text('{"unknown": 1}')
    with pytest.raises(InputError, match=r"config\.json: config\.unknown"):
        read_run(run)


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    run = write_run(tmp_path / "run", data=DataConfig(name="digits"))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "epo')
    assert len(read_run(run).lines) == 6
    assert sentence(read_run(run)).startswith("resnet20v1 with 1,234 parameters was trained on dig")


def test_settings_of_all_commands_are_listed():
    commands = ["x --config.a=1 --noconfig.b", "x --config.c 2 --config.d"]
    found = ["config.a=1", "noconfig.b", "config.c=2", "config.d"]
    assert overrides(commands) == found


SORT = """<script>
const heads = [...document.querySelectorAll("th button")];
const head = heads.find(one => one.textContent === "examples");
head.click(); head.click();
document.title = "SORTED " + [...head.closest("table").tBodies[0].rows]
  .map(row => row.cells[head.parentElement.cellIndex].textContent).join(",");
</script></body>"""


@pytest.mark.slow
def test_a_browser_shows_a_report_without_errors_and_sorts_tables(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium is installed")
    given = findings("classes")
    uneven = type(given)(given.outputs[:37], given.targets[:37], num_classes=4)
    report = write_report(write_run(tmp_path / "run"), uneven)
    text = report.read_text()
    report.write_text(text.replace("</body>", SORT))
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", report.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=True, env=os.environ,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert "SORTED 10,9,9,9" in done.stdout
    assert done.stdout.count("<svg") == text.count("<svg")
