"""What a comparison says, as text, Markdown and JSON."""

import dataclasses
import json
import shlex

from . import summary

UNDECIDED = "~"


def legend(comparison):
    settings = comparison.settings
    yield (f"Median of up to {settings['rounds']} interleaved rounds of {settings['seconds']:g} s; "
           "spread is (highest - lowest) / median; ")
    yield (f"ratios are of medians, and {UNDECIDED} marks those that the noise leaves undecided: the "
           "two columns' ranges overlap, or there were fewer than "
           f"{summary.FEWEST_ROUNDS} rounds. ")
    yield "p50, p99: of one operation. CPU: of the processes that serve, per operation. "
    yield ("Calls: system calls of these per operation, counted by "
           f"{settings['system_calls_by']} in a run of its own.")


def number(value, digits=3):
    """A figure as a reader wants it: three digits, and no fraction of thousands."""
    if value is None:
        return "-"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def ratio_text(ratio):
    if ratio is None:
        return "-"
    return f"{ratio.value:.2f}" + ("" if ratio.decided else UNDECIDED)


def header(comparison, unit):
    return ["column", unit, "spread", *(f"to {base}" for base in comparison.bases), "p50 us",
            "p99 us", "CPU us", "calls"]


def row(comparison, ground, workload, column, cell):
    """The texts of one line, as header() has them."""
    figures = summary.figures(cell)
    if figures is None:
        return [column.name, "failed" if cell.failure else "-",
                *["-"] * (len(comparison.bases) + 5)]
    ratios = [ratio_text(comparison.ratio(ground, workload, column.name, base))
              for base in comparison.bases]
    return [column.name, number(figures.median), f"{figures.spread:.0%}", *ratios,
            number(figures.p50_us), number(figures.p99_us), number(figures.cpu_us),
            number(figures.calls)]


def tables(comparison):
    """(ground, workload, header, rows) of each table there is."""
    for ground in comparison.grounds:
        for workload in comparison.workloads:
            rows = [row(comparison, ground, workload, *each)
                    for each in comparison.rows(ground, workload)]
            if rows:
                yield ground, workload, header(comparison, workload.unit), rows


def _aligned(lines):
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        first, *others = line
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:])]
        yield "  " + "  ".join(cells).rstrip()


def facts(comparison):
    """(name, text) of what the figures hold for."""
    yield from comparison.machine.items()
    yield "started", comparison.started
    yield "command", shlex.join(comparison.command)
    for ground, description in comparison.grounds.items():
        yield f"on {ground}", description
    for (ground, column), said in comparison.mounts.items():
        if said:
            yield f"{column} ({ground})", " ".join(f"{word}={value}" for word, value in said.items())


def text(comparison):
    lines = [f"{name}: {value}" for name, value in facts(comparison)]
    for ground, workload, head, rows in tables(comparison):
        lines += ["", f"{workload.name}  [{ground}: {comparison.grounds[ground]}]"]
        lines += _aligned([head, *rows])
    lines += ["", "".join(legend(comparison))]
    lines += [f"note: {note}" for note in comparison.notes]
    lines += [f"warning: {warning}" for warning in comparison.warnings]
    return "\n".join(lines) + "\n"


def _cell_of_markdown(cell):
    return cell.replace("|", "\\|")


def markdown(comparison):
    lines = []
    for ground in comparison.grounds:
        lines += [f"## On {ground}: {comparison.grounds[ground]}", ""]
        started = False
        for where, workload, _, rows in tables(comparison):
            if where != ground:
                continue
            if not started:
                head = ["workload", *header(comparison, "a second")]
                lines += [_line(head), "|---|---|" + "--:|" * (len(head) - 2)]
                started = True
            lines += [_line([f"{workload.name} [{workload.unit}]", *each]) for each in rows]
        lines.append("")
    lines += ["".join(legend(comparison)), ""]
    lines += [f"- {name}: {value}" for name, value in facts(comparison)]
    lines += [f"- note: {note}" for note in comparison.notes]
    lines += [f"- **warning**: {warning}" for warning in comparison.warnings]
    return "\n".join(lines) + "\n"


def _line(cells):
    return "| " + " | ".join(map(_cell_of_markdown, cells)) + " |"


def _cell_of_json(comparison, ground, workload, column, cell):
    figures = summary.figures(cell)
    ratios = {}
    for base in comparison.bases:
        ratio = comparison.ratio(ground, workload, column.name, base)
        if ratio is not None:
            ratios[base] = dataclasses.asdict(ratio)
    return {"ground": ground, "workload": workload.name, "column": column.name,
            "unit": workload.unit, "failure": cell.failure,
            "figures": dataclasses.asdict(figures) if figures else None, "ratios": ratios,
            "runs": [{**dataclasses.asdict(run), "rate": run.rate} for run in cell.runs]}


def as_json(comparison):
    """All figures, those of each run included."""
    whole = {
        "started": comparison.started, "command": comparison.command,
        "machine": comparison.machine, "settings": comparison.settings,
        "grounds": comparison.grounds,
        "columns": [{"name": each.name, "kind": each.kind, "options": each.options,
                     "command": list(each.command)} for each in comparison.columns],
        "mounts": [{"ground": ground, "column": column, "reported": said}
                   for (ground, column), said in comparison.mounts.items()],
        "cells": [_cell_of_json(comparison, ground, workload, column, cell)
                  for ground in comparison.grounds for workload in comparison.workloads
                  for column, cell in comparison.rows(ground, workload)],
        "notes": comparison.notes, "warnings": comparison.warnings,
    }
    return json.dumps(whole, indent=1) + "\n"
