"""How a report looks: one column, the system's fonts, light or dark as the screen is, black on white in print."""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --tint: #f4f6f8;
  --grid: #e3e7eb; --warn: #9a6700; --warn-tint: #fff8e5; --yes: #1a7f37; --no: #b42318; --open: #6b5300; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #14171b; --ink: #e6e9ed; --soft: #9aa4af; --line: #363c44; --tint: #1d2127; --grid: #2b3037;
    --warn: #e3b341; --warn-tint: #272111; --yes: #56d364; --no: #ff8a80; --open: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 0.75rem; }
.question { color: var(--soft); font-size: 1.05rem; margin: 0.4rem 0 1.75rem; }
.soft, figcaption { color: var(--soft); font-size: 0.9rem; }
.verdict { border: 1px solid var(--line); border-radius: 8px; padding: 1.1rem 1.25rem; background: var(--tint); }
.verdict p { margin: 0.6rem 0 0; font-size: 1.15rem; line-height: 1.45; }
.badge { display: inline-block; padding: 0.1rem 0.7rem; border: 2px solid; border-radius: 999px; font-weight: 650; }
.badge.consistent { color: var(--yes); }
.badge.inconsistent { color: var(--no); border-style: double; border-width: 4px; }
.badge.inconclusive { color: var(--open); border-style: dashed; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 1rem; margin: 1.25rem 0; }
.headline > div { border-top: 3px solid var(--line); padding-top: 0.6rem; }
.headline dt { color: var(--soft); font-size: 0.9rem; }
.headline dd { margin: 0; }
.headline .value { font-size: 1.9rem; line-height: 1.25; font-weight: 600; font-variant-numeric: tabular-nums; }
.caveats { border-left: 4px solid var(--warn); background: var(--warn-tint); padding: 0.8rem 1.25rem;
  margin: 1.5rem 0; }
.caveats h2 { margin: 0 0 0.3rem; font-size: 1rem; }
.caveats ul { margin: 0; padding-left: 1.1rem; }
code, pre { font-family: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; font-size: 0.85em; }
code { overflow-wrap: anywhere; }
figure { margin: 0 0 1.5rem; }
figcaption { margin-top: 0.5rem; max-width: 75ch; }
.plot { height: 430px; }
.plot.low { height: 340px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: 0.4rem; }
th, td { text-align: left; padding: 0.35rem 0.9rem 0.35rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; }
.right { text-align: right; white-space: nowrap; }
details { border: 1px solid var(--line); border-radius: 8px; padding: 0.6rem 1rem; }
summary { cursor: pointer; }
pre { overflow-x: auto; margin: 0.75rem 0 0.25rem; }
.main-svg text { fill: var(--ink) !important; }
.main-svg .hoverlayer text { fill: #ffffff !important; }
.main-svg .gridlayer path { stroke: var(--grid) !important; }
@media print {
  body { font-size: 11pt; }
  main { padding: 0; max-width: none; }
  .modebar { display: none; }
  figure, tr, .verdict, .caveats { break-inside: avoid; }
  h2 { break-after: avoid; }
  .plot { zoom: 0.68; }
}
"""
