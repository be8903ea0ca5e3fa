"""Findings as one self-contained HTML page, without scripts and without network access."""

import html
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxml.reporting import page
from jaxml.studies._study import VERDICTS, Check, Finding

TITLE = "Claims of a deep-learning course, measured"
EXPLANATION = (
    "Every section states a claim, measures it, and judges it by criteria. Each number is the mean "
    "over the seeds, followed by the standard deviation after ±. A criterion is met if the whole "
    "95 % confidence interval of the mean lies within its bounds; one lucky seed does not suffice. "
    "Bands around curves are the range of the seeds; dots on bars are the single seeds."
)


def render_page(findings: Mapping[str, Finding]) -> str:
    """Returns a page with a section for each finding.

    Args:
      findings: findings by the name of the study.
    """
    rows = [
        (f'<a href="#{name}">{markup(finding.study.text["Title"])}</a>', _badge(finding))
        for name, finding in findings.items()
    ]
    index = _table(("Study", "Verdict"), rows) if len(rows) > 1 else ""
    sections = [_section(name, finding) for name, finding in findings.items()]
    parts = [page.heading(TITLE, 1), page.paragraph(EXPLANATION), index, *sections]
    return page.page(TITLE, parts)


def _section(name: str, finding: Finding) -> str:
    study, text = finding.study, finding.study.text
    seeds = len(next(iter(finding.measured.values())))
    formulas = [markup(x, formula=True) for x in text["Formula"].splitlines() if x.strip()]
    figures = [
        page.figure(panel.title, "", panel.draw()) for panel in study.panels(finding.measured)
    ]
    numbers = study.table(finding.measured)
    code = "\n\n".join(inspect.getsource(function).rstrip() for function in study.code)
    again = f"python -m launch.study --name={name} --out=DIR"
    parts = [
        f"<h2>{markup(text['Title'])}</h2>",
        _paragraph("Claim.", text["Claim"]),
        f'<div class="formula">{"<br>".join(formulas)}</div>',
        _paragraph("What is measured.", text["Measured"]),
        page.grid(figures),
        page.heading("Numbers", 3),
        _table(numbers.header, [[markup(_cell(cell)) for cell in row] for row in numbers.rows]),
        page.heading(f"Criteria, over {seeds} seeds", 3),
        _criteria(finding),
        f'<div class="verdict">{_paragraph("Verdict.", _sentence(finding.verdict))}</div>',
        _paragraph("Try next.", text["Next"]),
        page.details(
            "The code that matters",
            page.preformatted(code)
            + f"<p>All of it is in {markup(f'`jaxml/studies/{name}.py`; `{again}` runs it')}.</p>",
        ),
    ]
    return f'<section id="{name}">{"".join(parts)}</section>'


def _paragraph(title: str, text: str) -> str:
    return f"<p><b>{title}</b> {markup(text)}</p>"


def _criteria(finding: Finding) -> str:
    rows = [
        (
            markup(check.effect),
            markup(_number(check.interval.mean)),
            markup(interval_words(check)),
            markup(bounds(check)),
            "yes" if check.holds else '<b class="bad">no</b>',
        )
        for check in finding.checks
    ]
    return _table(("effect", "mean", "95 % interval", "required", "met"), rows)


def interval_words(check: Check) -> str:
    """Returns the confidence interval of a check in words."""
    low, high = _number(check.interval.low), _number(check.interval.high)
    return low if low == high else f"{low} to {high}"


def bounds(check: Check) -> str:
    """Returns the bounds of a check in words."""

    def number(value: float) -> str:
        text = f"{value:g}"
        return _number(value, 1) if "e" in text else text.replace("-", "−")

    if check.at_least == check.at_most:
        return f"exactly {number(check.at_least)}"
    words = {"at least": check.at_least, "at most": check.at_most}
    return ", ".join(f"{k} {number(v)}" for k, v in words.items() if math.isfinite(v))


def _badge(finding: Finding) -> str:
    verdict = finding.study.text["Verdict"]
    short = next(v for v in VERDICTS if verdict.startswith(v))
    if not finding.confirmed:
        return '<span class="badge bad">not confirmed</span>'
    kind = {"holds": "good", "holds only when": "mixed"}.get(short, "bad")
    return f'<span class="badge {kind}">{short}{" …" * short.endswith("when")}</span>'


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of cells in HTML."""
    return page.stacked([markup(name) for name in header], rows, header)


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
    single = r"(?<![\w<&/])(?!a [a-z]{2})([A-Za-zα-ωΑ-ΟΡΤ-Ω])(?![\w;])"
    variable = single if formula else r"(?<!\w)([A-Za-zα-ω])(?=<su)"
    marked = []
    for i, part in enumerate(re.split(r"`([^`]+)`", text)):
        part = html.escape(part, quote=False)
        if i % 2:
            marked.append(f"<code>{part}</code>")
            continue
        for mark, tag in (("_", "sub"), (r"\^", "sup")):
            part = re.sub(rf"{mark}\{{([^}}]*)\}}", rf"<{tag}>\1</{tag}>", part)
            part = re.sub(rf"{mark}([^\W_])(?!\w)", rf"<{tag}>\1</{tag}>", part)
        part = re.sub(variable, r"<i>\1</i>", part)
        part = re.sub(r" {3,}", "&emsp;", part)
        marked.append(re.sub(r"(?<![\w*])\*(\w[^*]*)\*", r"<em>\1</em>", part))
    return "".join(marked)
