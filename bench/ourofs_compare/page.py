"""The comparison as one HTML page that needs no other file: tables, and the plots as SVG in it."""

import html
import re

from . import report

STYLE = """
body { font: 14px/1.4 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; margin: 0 0 1.5em; }
th, td { padding: 0.15em 0.7em; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; height: auto; }
.warning { color: #a00; }
dt { font-weight: bold; float: left; clear: left; margin-right: 0.5em; }
"""


def _svg(path, number):
    """The drawing without what stands before it, and with ids that no other one on the page has."""
    text = path.with_suffix(".svg").read_text(encoding="utf-8")
    text = text[text.index("<svg"):]
    text = re.sub(r'\bid="', f'id="plot{number}-', text)
    return re.sub(r'(href="#|url\(#)', rf"\1plot{number}-", text)


def _table(head, rows):
    yield "<table><tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def render(comparison, plots):
    """The page. `plots` are the stems of SVG files."""
    lines = ["<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">',
             "<title>ourofs compared</title>", f"<style>{STYLE}</style></head><body>",
             "<h1>ourofs compared</h1>"]
    lines += [f'<p class="warning">Warning: {html.escape(text)}</p>' for text in comparison.warnings]
    lines += [f"<p>Note: {html.escape(text)}</p>" for text in comparison.notes]
    lines += [_svg(path, number) for number, path in enumerate(plots)]
    for ground, workload, head, rows in report.tables(comparison):
        lines.append(f"<h3>{html.escape(workload.name)} on {html.escape(ground)}</h3>")
        lines += _table(head, rows)
    lines.append(f"<p>{html.escape(''.join(report.legend(comparison)))}</p><dl>")
    lines += [f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
              for name, value in report.facts(comparison)]
    lines.append("</dl></body></html>")
    return "\n".join(lines) + "\n"
