"""The style of a report: light or dark as the reader's system, for pages of 320 pixels and more.

Colors c0 to c7 follow Okabe and Ito, whose palette the color-blind can tell apart; each has a contrast of 3 to 1 and
more with the page. Texts have 4.5 to 1 and more.
"""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --text: #1c1f23; --soft: #5a626b; --rule: #dcdfe3;
  --grid: #e6e8eb; --link: #0b5cad; --good: #12693f; --bad: #b3261e; --warn: #8a5300; --code: #f0f1f3;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #c2629a; --c4: #2f8fc7; --c5: #a17800;
  --c6: #838b94; --c7: #4d5661; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --text: #e6e9ec; --soft: #a4adb7;
  --rule: #343a41; --grid: #2b3036; --link: #7db8f0; --good: #5fcf95; --bad: #ff8f86; --warn: #e6b15c; --code: #272c32;
  --c0: #4ba6e0; --c1: #f08a3c; --c2: #2fc398; --c3: #e08fbf; --c4: #86cdf5; --c5: #dcb33c;
  --c6: #7d868f; --c7: #b4bcc5; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 3.5rem; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 1320px; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .5rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h4 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: 0 0 .5rem; } .soft, figcaption p, caption, .empty { color: var(--soft); }
a { color: var(--link); } .good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.good, .bad, .warn { font-weight: 600; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem; }
nav { position: sticky; top: 0; z-index: 1; background: var(--page); border-bottom: 1px solid var(--rule);
  overflow-x: auto; white-space: nowrap; }
nav ul { list-style: none; display: flex; gap: 1.25rem; max-width: 1320px; margin: 0 auto; padding: .6rem 1rem; }
nav a { text-decoration: none; } nav a:hover { text-decoration: underline; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0 0;
  padding: 0; }
.cards div { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .7rem .9rem; }
.cards dt { color: var(--soft); font-size: .875rem; }
.cards dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
.cards dd span { display: block; font-size: .875rem; font-weight: 400; color: var(--soft); }
.grid { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem; align-items: start; margin-bottom: 1rem; }
@media (min-width: 1000px) { .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
figure, .box { margin: 0 0 1rem; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: .9rem 1rem; min-width: 0; }
.grid figure { margin: 0; }
figcaption p { font-size: .875rem; }
.chart { display: block; width: 100%; height: auto; } .chart text { fill: var(--soft); font-size: 12px; }
.narrow { display: none; } @media (max-width: 560px) { .wide { display: none; } .narrow { display: block; } }
.chart .rule { stroke: var(--grid); fill: none; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.l1 { stroke-dasharray: 7 3; } .l2 { stroke-dasharray: 2 3; } .l3 { stroke-dasharray: 9 3 2 3; }
.l4 { stroke-dasharray: 1 4; } .l5 { stroke-dasharray: 12 4; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .25rem 0 .5rem; padding: 0;
  font-size: .875rem; } .legend svg { margin-right: .35rem; vertical-align: -1px; }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--link); }
.scroll { overflow-x: auto; } .box > .scroll { max-height: 34rem; overflow-y: auto; }
details .scroll { max-height: 26rem; overflow-y: auto; margin-top: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } .many { min-width: 54rem; }
.many td:last-child:not(.n) { min-width: 14rem; }
caption { text-align: left; font-size: .875rem; padding-bottom: .25rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--card);
  color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 500; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .w { white-space: nowrap; }
code, pre { font: .85rem/1.45 ui-monospace, monospace; background: var(--code); border-radius: 4px; }
code { padding: .05rem .3rem; overflow-wrap: anywhere; } th code { white-space: nowrap; }
pre { padding: .5rem .6rem; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .25rem 0; max-height: 14rem; overflow-y: auto; }
.facts { margin: .25rem 0 .75rem; padding-left: 1.2rem; }
footer { color: var(--soft); font-size: .875rem; padding-top: 1rem; padding-bottom: 2rem; }
""" + "".join(
    f".c{number} {{ fill: var(--c{number}); }} .l{number} {{ stroke: var(--c{number}); }}\n" for number in range(8)
)
