"""Style sheet of the page of findings."""

CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #f3f4f6;
  --line: #d0d7de; --link: #0b5cad; --good: #1a6e3c; --mixed: #8a5300; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --paper: #14171a; --soft: #20252b;
  --line: #3b434c; --link: #7fb5f0; --good: #6fce95; --mixed: #e7b15c; --bad: #f2958d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.3rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
p { max-width: 46rem; margin: .6rem 0; }
a { color: var(--link); }
section { border-top: 1px solid var(--line); padding: 1.5rem 0 .5rem; margin-top: 1.5rem; }
.claim { font-size: 1.08rem; }
.formula { background: var(--soft); border-left: 3px solid var(--link); padding: .35rem .8rem;
  font-family: 'Cambria Math', 'STIX Two Math', Georgia, serif; font-size: 1.08rem;
  overflow-x: auto; }
sub, sup { line-height: 0; font-size: .75em; }
.figure { display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
figcaption { font-weight: 600; font-size: .95rem; }
svg { width: 100%; height: auto; display: block; }
td:not(:first-child) { white-space: nowrap; }
@media (max-width: 700px) {
  .stacked, .stacked tbody, .stacked tr, .stacked td { display: block; }
  .stacked .head { display: none; }
  .stacked tr { border-bottom: 1px solid var(--line); padding: .35rem 0; }
  .stacked td { border: 0; padding: .1rem 0; white-space: normal; }
  .stacked td:first-child { font-weight: 600; }
  .stacked td:not(:first-child) { display: flex; justify-content: space-between; gap: 1rem; }
  .stacked td:not(:first-child)::before { content: attr(data-label); opacity: .8; }
  .stacked td span { text-align: left; }
  .stacked td:not(:first-child) span { text-align: right; flex-shrink: 0; max-width: 60%; }
}
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
.verdict { background: var(--soft); padding: .6rem .8rem; border-radius: 6px; }
.badge { white-space: nowrap; font-weight: 600; }
.badge.holds { color: var(--good); } .badge.only { color: var(--mixed); }
.badge.does, .badge.unsure { color: var(--bad); }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--link); }
pre { background: var(--soft); padding: .8rem; border-radius: 6px; overflow-x: auto;
  font-size: .82rem; line-height: 1.4; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
@media print { details { display: block; } }
"""
