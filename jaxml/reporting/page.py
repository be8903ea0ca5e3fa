"""A self-contained HTML page: sections, tables that sort, pictures; light, dark and printable."""

import base64
import html
import io
import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# One colour of each series in light and in dark mode; charts refer to them as --series1, ...
_SERIES = (
    ("#2a78d6", "#3987e5"),
    ("#eb6834", "#d95926"),
    ("#1baf7a", "#199e70"),
    ("#eda100", "#c98500"),
    ("#e87ba4", "#d55181"),
    ("#008300", "#2fa02f"),
    ("#4a3aa7", "#9085e9"),
    ("#7a7974", "#a3a29b"),
)
NUM_SERIES = len(_SERIES)

_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
:root { --surface: #fcfcfb; --card: #ffffff; --ink: #16150f; --muted: #5d5b54; --line: #deddd6;
  --good: #1a6e3c; --mixed: #8a5300; --bad: #b3261e; $light }
@media (prefers-color-scheme: dark) { :root { --surface: #161614; --card: #1e1e1b;
  --ink: #f3f2ec; --muted: #b4b2a8; --line: #3b3a35; --good: #6fce95; --mixed: #e7b15c;
  --bad: #f2958d; $dark } }
* { box-sizing: border-box }
body { margin: 0; background: var(--surface); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif }
main { max-width: 1240px; margin: 0 auto; padding: 20px 16px 48px }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 8px 0 }
h2 { font-size: 1.15rem; margin: 36px 0 10px }
h3 { font-size: 1rem; margin: 20px 0 6px }
p, ul { margin: 6px 0 12px; max-width: 75ch; overflow-wrap: anywhere }
.note { color: var(--muted); font-size: .9rem }
.tiles, .grid { display: grid; gap: 12px; margin: 12px 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 160px), 1fr)) }
.grid { grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)) }
.tile, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; margin: 0; min-width: 0 }
.tile b { display: block; font-size: 1.35rem; line-height: 1.3; font-weight: 600 }
.tile span, figcaption { color: var(--muted); font-size: .85rem }
figcaption b { color: var(--ink); font-size: .95rem; display: block }
figure > svg { display: block; width: 100%; height: auto; margin-top: 6px }
.wide { overflow-x: auto; margin: 8px 0 }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top }
th.text, td.text { text-align: left; overflow-wrap: anywhere; min-width: 7em }
th { font-weight: 600; white-space: nowrap }
th button { all: unset; cursor: pointer } th button:focus-visible { outline: 2px solid }
th button::after { content: " \\2195"; color: var(--muted) }
th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit }
th[aria-sort=descending] button::after { content: " \\2193"; color: inherit }
.pictures { display: grid; gap: 10px; margin-top: 8px;
  grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)) }
.pictures.small { grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)) }
.pictures div { font-size: .78rem; line-height: 1.3; overflow-wrap: anywhere }
.pictures img { display: block; width: 100%; image-rendering: pixelated; border-radius: 3px;
  margin-bottom: 3px }
.pictures.smooth img { image-rendering: auto }
pre, code { font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); padding: 10px;
  border: 1px solid var(--line); border-radius: 8px; margin: 6px 0 }
summary { cursor: pointer; margin: 8px 0 }
section { border-top: 1px solid var(--line); margin-top: 32px }
sub, sup { line-height: 0; font-size: .75em }
.formula, .verdict { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 12px; margin: 8px 0 }
.formula { font: 1.05rem/1.6 "Cambria Math", "STIX Two Math", Georgia, "Liberation Serif", serif;
  overflow-x: auto }
.verdict p { margin: 0 }
.badge { font-weight: 600; white-space: nowrap }
.good { color: var(--good) } .mixed { color: var(--mixed) } .bad { color: var(--bad) }
.stacked th, .stacked td { text-align: left; white-space: normal }
@media (max-width: 700px) {
  .stacked, .stacked tbody, .stacked tr, .stacked td { display: block }
  .stacked thead { display: none }
  .stacked tr { border-bottom: 1px solid var(--line); padding: 6px 0 }
  .stacked td { border: 0; padding: 2px 0 }
  .stacked td:first-child { font-weight: 600 }
  .stacked td:not(:first-child) { display: flex; justify-content: space-between; gap: 16px }
  .stacked td:not(:first-child)::before { content: attr(data-label); color: var(--muted) }
  .stacked td:not(:first-child) span { text-align: right; flex-shrink: 0; max-width: 60% }
}
footer { color: var(--muted); font-size: .85rem; margin-top: 40px }
@media print { main { max-width: none; padding: 0 } figure, .tile, tr { break-inside: avoid }
  h2, h3 { break-after: avoid } .wide { overflow: visible }
  .grid { grid-template-columns: repeat(2, minmax(0, 1fr)) } }
</style>
</head>
<body>
<main>
$body
</main>
$script
</body>
</html>
""")

_SORT = """<script>
for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[head.cellIndex].dataset.value;
  const order = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))));
};
</script>"""


def page(title: str, parts: Iterable[str]) -> str:
    """Returns a complete page.

    Args:
      title: title of the document, as plain text.
      parts: HTML, from the functions of this module.

    Example:
      >>> page("A run", [paragraph("Done.")]).count("<p>Done.</p>")
      1
    """
    light, dark = (
        "; ".join(f"--series{i}: {pair[mode]}" for i, pair in enumerate(_SERIES, start=1))
        for mode in (0, 1)
    )
    body = "\n".join(part for part in parts if part)
    script = _SORT if "<th scope" in body else ""
    return _PAGE.substitute(title=escape(title), light=light, dark=dark, body=body, script=script)


def escape(text: object) -> str:
    """Escapes plain text for HTML."""
    return html.escape(str(text))


def heading(text: str, level: int = 2) -> str:
    """Returns a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """Returns a paragraph of plain text; `kind` is "" or "note"."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Returns lines of code or a command."""
    return f"<pre>{escape(text)}</pre>"


def bullets(lines: Sequence[str]) -> str:
    """Returns a list of plain lines; nothing for none."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def tiles(values: Mapping[str, str]) -> str:
    """Returns the main numbers of a page: a value, with its name below."""
    cells = [
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in values.items()
    ]
    return f'<div class="tiles">{"".join(cells)}</div>'


def figure(title: str, caption: str, content: str) -> str:
    """Returns a figure: HTML or SVG with a title and a caption."""
    about = f"<figcaption><b>{escape(title)}</b>{escape(caption)}</figcaption>"
    return f"<figure>{about}{content}</figure>" if content else ""


def grid(figures: Iterable[str]) -> str:
    """Arranges figures in a grid, whose columns follow the width of the page."""
    content = "".join(figures)
    return f'<div class="grid">{content}</div>' if content else ""


def details(summary: str, content: str) -> str:
    """Returns content that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], *, text: int = 1) -> str:
    """Returns a table that sorts by a click on a column.

    Args:
      names: names of the columns.
      rows: one value for each column: text or a number, shown with 4 digits; or a pair of the
        value to sort by and the text to show.
      text: number of first columns that hold text; the others hold numbers.
    """

    def cell(index: int, value: Any) -> str:
        key, shown = value if isinstance(value, tuple) else (value, number(value))
        key = "" if key is None else key
        is_text, content = index < text, escape(shown)
        if is_text:  # names of settings and paths break between their words
            content = re.sub(r"[_/]|\.(?=[a-z])", r"\g<0><wbr>", content)
        return f'<td{_class("text" * is_text)} data-value="{escape(key)}">{content}</td>'

    head = "".join(
        f'<th scope="col"{_class("text" * (i < text))}><button>{escape(name)}</button></th>'
        for i, name in enumerate(names)
    )
    body = "".join(f"<tr>{''.join(map(cell, range(len(row)), row))}</tr>" for row in rows)
    content = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{content}</table></div>'


def stacked(names: Sequence[str], rows: Iterable[Sequence[str]], labels: Sequence[str]) -> str:
    """Returns a table of HTML, whose rows narrow screens show one cell below the other.

    Args:
      names: names of the columns, as HTML.
      rows: cells, as HTML.
      labels: names of the columns as plain text, shown in front of stacked cells.
    """
    head = "".join(f"<th>{name}</th>" for name in names)
    labels = [escape(label) for label in labels]
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{label}"><span>{cell}</span></td>'
            for label, cell in zip(labels, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table class="stacked"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def number(value: Any) -> str:
    """Formats a number with at most 4 digits; other values by `str`.

    >>> number(0.00012345), number(12345), number(None), number(98.5)
    ('0.0001234', '12,345', '-', '98.5')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool | str) or not isinstance(value, int | float | np.number):
        return str(value)
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{value:.4g}"


def pictures(
    images: Iterable[np.ndarray],
    captions: Sequence[str],
    *,
    small: bool = False,
    columns: int = 0,
) -> str:
    """Returns pictures with captions as embedded PNG files.

    Args:
      images: arrays `[height, width, channels]`, uint8, with 1 or 3 channels.
      captions: a text for each.
      small: whether they are shown at half the size.
      columns: pictures in a row; 0 for as many as fit.
    """
    images = list(images)
    smooth = " smooth" if images[0].shape[0] > 48 else ""
    cells = [
        f'<div><img alt="{escape(caption)}" src="{data_uri(image)}">{escape(caption)}</div>'
        for image, caption in zip(images, captions, strict=True)
    ]
    kind = f"pictures{' small' if small else ''}{smooth}"
    style = f' style="grid-template-columns: repeat({columns}, 1fr)"' if columns else ""
    return f'<div class="{kind}"{style}>{"".join(cells)}</div>'


def data_uri(image: np.ndarray) -> str:
    """Encodes an image `[height, width, channels]` as a PNG in a `data:` address."""
    from PIL import Image  # comes with matplotlib

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((160, 160))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
