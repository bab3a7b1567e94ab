"""An HTML page that stands alone, light or dark as the reader's system is, readable on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

# Hues that people with the usual colour blindnesses tell apart, for both grounds. Source: Okabe & Ito 2008, darker on light.
_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--text:#1c1e21;--soft:#5f6670;--line:#dfe3e8;--card:#f6f7f9;
--c0:#0067a5;--c1:#c45100;--c2:#00825c;--c3:#a8478a;--c4:#8a6d00;--c5:#3d8fbf;--c6:#7a5cc0;--c7:#b0343c;--good:#00763f;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ground:#15171a;--text:#e6e8eb;--soft:#9aa3ad;--line:#32373d;--card:#1d2024;
--c0:#5bb4ee;--c1:#f0924c;--c2:#3fc796;--c3:#dd8cc4;--c4:#dcc04a;--c5:#8fd0f5;--c6:#b39df0;--c7:#f08088;--good:#52c98b;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem;max-width:84rem;background:var(--ground);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;-webkit-text-size-adjust:100%}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:1.25rem 0 .4rem}
p{margin:.5rem 0;max-width:46rem}.soft{color:var(--soft);font-size:.9rem}
.lead{border-left:4px solid var(--c0);background:var(--card);padding:.75rem 1rem;border-radius:0 6px 6px 0;max-width:none}
.scroll{overflow-x:auto;margin:.5rem 0;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.32rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left;padding-left:0;position:sticky;left:0;background:var(--ground)}
th:last-child,td:last-child{padding-right:0}
td.best{font-weight:700;color:var(--good)}td.bad{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,28rem),1fr));gap:1.25rem 2rem}
figure{margin:0}figcaption{font-weight:600;font-size:.95rem;margin-bottom:.25rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:12px}svg .label{fill:var(--text)}
.grid{stroke:var(--line);stroke-width:1}.legend{display:flex;flex-wrap:wrap;gap:.15rem 1rem;font-size:.85rem;color:var(--soft)}
.swatch{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.35em;vertical-align:-.05em}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,16rem),1fr));gap:.75rem}
.side{background:var(--card);border-radius:6px;padding:.6rem .8rem;font-size:.88rem;overflow-wrap:anywhere}
.side ol{margin:.3rem 0 0;padding-left:1.4rem}.hit{color:var(--good);font-weight:600}
details{margin:.6rem 0;border:1px solid var(--line);border-radius:6px;padding:.5rem .8rem}
summary{cursor:pointer;overflow-wrap:anywhere}
code{font-size:.88em;overflow-wrap:anywhere}
@media(max-width:30rem){td:first-child{white-space:normal;min-width:8.5rem;max-width:8.5rem}body{padding:.9rem}h1{font-size:1.25rem}}
@media print{details{break-inside:avoid}}
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole document. title is text; parts are HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Text as a paragraph. kind: `soft`, `lead`."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def heading(text: str, level: int = 2) -> str:
    """Text as a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], marks: Sequence[Sequence[str]] = ()) -> str:
    """Texts as a table that scrolls sideways where it is wide. marks: for each cell `best`, `bad` or ""."""
    html = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = []
    for i, row in enumerate(rows):
        kinds = marks[i] if marks else [""] * len(row)
        cells = (
            f'<td class="{kind}">{escape(cell)}</td>' if kind else f"<td>{escape(cell)}</td>"
            for cell, kind in zip(row, kinds, strict=True)
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><thead><tr>{html}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def charts(figures: Sequence[str]) -> str:
    """Charts side by side where there is room."""
    return f'<div class="charts">{"".join(figures)}</div>'
