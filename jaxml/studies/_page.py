"""Findings as one self-contained HTML page, without scripts and without network access."""

import html
import importlib
import inspect
import io
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxml.errors import InputError
from jaxml.studies._study import VERDICTS, Check, Finding, Panel, Table
from jaxml.studies._style import CSS

_INK = "#010203"  # replaced by the color of the text, which differs between light and dark


def render_page(findings: Mapping[str, Finding]) -> str:
    """Returns a page with a section for each finding.

    Args:
      findings: findings by the name of the study.

    Raises:
      InputError: matplotlib is not installed.
    """
    rows = "".join(_index_row(name, finding) for name, finding in findings.items())
    index = (
        "<nav><table><tr><th>Study</th><th>Verdict</th></tr>" + rows + "</table></nav>"
        if len(findings) > 1
        else ""
    )
    sections = "".join(_section(name, finding) for name, finding in findings.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Claims of a deep-learning course, measured</title><style>{CSS}</style></head>"
        "<body><main><h1>Claims of a deep-learning course, measured</h1>"
        "<p>Every section states a claim, measures it, and judges it by a criterion. Each "
        "number is the mean over the seeds, followed by the standard deviation after &plusmn;. A "
        "criterion is met if the whole 95&nbsp;% confidence interval of the mean lies within its "
        "bounds; one lucky seed does not suffice. Bands in the figures are the range of the seeds, "
        "grey dots the single seeds."
        f"</p>{index}{sections}</main></body></html>\n"
    )


def _index_row(name: str, finding: Finding) -> str:
    title = markup(finding.study.text["Title"])
    return f'<tr><td><a href="#{name}">{title}</a></td><td>{_badge(finding)}</td></tr>'


def _section(name: str, finding: Finding) -> str:
    study, text = finding.study, finding.study.text
    seeds = len(next(iter(finding.measured.values())))
    formulas = "".join(
        f'<div class="formula">{markup(line, formula=True)}</div>'
        for line in text["Formula"].splitlines()
        if line.strip()
    )
    panels = "".join(map(_figure, study.panels(finding.measured)))
    code = "\n\n".join(inspect.getsource(function).rstrip() for function in study.code)
    return (
        f'<section id="{name}"><h2>{markup(text["Title"])}</h2>'
        f'<p class="claim"><b>Claim.</b> {markup(text["Claim"])}</p>{formulas}'
        f"<p><b>What is measured.</b> {markup(text['Measured'])}</p>"
        f'<div class="figure">{panels}</div>'
        f"<h3>Numbers</h3>{_table(study.table(finding.measured))}"
        f"<h3>Criteria, over {seeds} seeds</h3>{_criteria(finding)}"
        f'<p class="verdict"><b>Verdict.</b> {markup(_sentence(finding.verdict))}</p>'
        f"<p><b>Try next.</b> {markup(text['Next'])}</p>"
        f"<details><summary>The code that matters</summary><pre><code>{html.escape(code)}</code>"
        f"</pre><p>All of it: <code>jaxml/studies/{name}.py</code>; run it again with "
        f"<code>python -m launch.study --name={name} --out=DIR</code></p></details></section>"
    )


def _criteria(finding: Finding) -> str:
    table = Table(
        ("effect", "mean", "95 % interval", "required", "met"),
        [
            (
                check.effect,
                _number(check.interval.mean),
                interval_words(check),
                bounds(check),
                "yes" if check.holds else "no",
            )
            for check in finding.checks
        ],
    )
    return _table(table)


def interval_words(check: Check) -> str:
    """Returns the confidence interval of a check in words."""
    low, high = _number(check.interval.low), _number(check.interval.high)
    return low if low == high else f"{low} to {high}"


def bounds(check: Check) -> str:
    """Returns the bounds of a check in words."""
    words = []
    if check.at_least == check.at_most:
        return f"exactly {check.at_least:g}"
    if check.at_least > -math.inf:
        words.append(f"at least {check.at_least:g}")
    if check.at_most < math.inf:
        words.append(f"at most {check.at_most:g}")
    return ", ".join(words).replace("-", "−")


def _badge(finding: Finding) -> str:
    verdict = finding.study.text["Verdict"]
    short = next(v for v in VERDICTS if verdict.startswith(v))
    kind, label = ("unsure", "not confirmed") if not finding.confirmed else (short, short)
    kind = "only" if kind.endswith("when") else kind.split()[0]
    label = label + " …" if label.endswith("when") else label
    return f'<span class="badge {kind}">{label}</span>'


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _table(table: Table) -> str:
    """Returns a table, whose cells name their columns, since narrow screens stack them."""
    head = "".join(f"<th>{markup(cell)}</th>" for cell in table.header)
    labels = [html.escape(cell) for cell in table.header]
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{label}"><span>{markup(_cell(cell))}</span></td>'
            for label, cell in zip(labels, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    return f'<table class="stacked"><tr class="head">{head}</tr>{rows}</table>'


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    values = np.atleast_1d(np.asarray(value, np.float64))
    spread = float(values.std(ddof=1)) if len(values) > 1 and np.isfinite(values).all() else 0.0
    mean = _number(float(values.mean()))
    return mean if not spread > 1e-9 * abs(values.mean()) else f"{mean} ± {_number(spread, 2)}"


def _number(value: float, digits: int = 3) -> str:
    """Formats a number with some significant digits, and a power of ten where it is far from 1."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    if value == 0:
        return "0"
    if value == round(value) and abs(value) < 1e7:
        return f"{value:,.0f}".replace("-", "−")
    exponent = math.floor(math.log10(abs(value)))
    if -4 <= exponent < 6:
        text = f"{value:,.{max(digits - 1 - exponent, 0)}f}"
    else:
        text = f"{value / 10.0**exponent:.{digits - 1}f} · 10^{{{exponent}}}"
    return text.replace("-", "−")


def markup(text: str, *, formula: bool = False) -> str:
    """Converts plain text to HTML: `code`, *emphasis*, subscripts a_{i} and superscripts b^{2}.

    Args:
      text: a text of a study.
      formula: whether single letters are variables, which are set in italics.

    Example:
      >>> markup("x_i^2 < `y`")
      '<i>x</i><sub>i</sub><sup>2</sup> &lt; <code>y</code>'
      >>> markup("g^L", formula=True)
      '<i>g</i><sup><i>L</i></sup>'
    """
    single = r"(?<![\w<&/])(?!a [a-z]{2})([A-Za-zα-ωΑ-Ω])(?![\w;])"
    variable = single if formula else r"(?<!\w)([A-Za-zα-ω])(?=<su)"
    marked = []
    for i, part in enumerate(re.split(r"`([^`]+)`", text)):
        part = html.escape(part, quote=False)
        if i % 2:
            marked.append(f"<code>{part}</code>")
            continue
        for mark, tag in (("_", "sub"), (r"\^", "sup")):
            part = re.sub(rf"{mark}\{{([^}}]*)\}}", rf"<{tag}>\1</{tag}>", part)
            part = re.sub(rf"{mark}([^\W_])", rf"<{tag}>\1</{tag}>", part)
        part = re.sub(variable, r"<i>\1</i>", part)
        part = re.sub(r" {3,}", "&emsp;", part)
        marked.append(re.sub(r"(?<![\w*])\*(\w[^*]*)\*", r"<em>\1</em>", part))
    return "".join(marked)


def _figure(panel: Panel) -> str:
    kind = ' class="wide"' if panel.wide else ""
    title = markup(panel.title)
    return f"<figure{kind}><figcaption>{title}</figcaption>{draw_svg(panel)}</figure>"


def draw_svg(panel: Panel) -> str:
    """Draws a panel as an SVG element that scales with the page and has the page's colors.

    Raises:
      InputError: matplotlib is not installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        raise InputError("the figures need matplotlib: pip install 'jaxml[plot]'") from None
    ink = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK
    )
    style = {
        **ink,
        "svg.fonttype": "none",
        "svg.hashsalt": panel.title,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "legend.fontsize": 9,
    }
    with matplotlib.rc_context(style):
        size = (9.2, 3.4) if panel.wide else (4.5, 3.6)
        figure = figures.Figure(figsize=size, layout="constrained")
        panel.draw(figure.subplots())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _inline(stream.getvalue(), panel.title)


def _inline(svg: str, title: str) -> str:
    """Returns the `<svg>` element without its fixed size, identifiers and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    used = set(re.findall(r"#(\w+)", svg))

    def keep(match: re.Match[str]) -> str:
        return match[0] if match[1] in used else ""

    svg = re.sub(r' id="([\w.-]+)"', keep, svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "sans-serif", svg)
    svg = svg.replace(_INK, "currentColor")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)
