"""Plots of a comparison as PNG and SVG, by matplotlib. Text of the SVG stays text."""

import dataclasses

from . import report, summary

BAR_INCHES = 0.17
WIDTH_INCHES = 10
DOTS_PER_INCH = 120


@dataclasses.dataclass
class Bar:
    """A value, the range around it where there is one, and what is written beside it."""

    value: float
    lowest: float | None
    highest: float | None
    text: str


@dataclasses.dataclass
class Plot:
    """One file: for each workload a bar for each column that has a value."""

    name: str
    title: str
    axis: str
    scale: str
    bars: dict  # {workload: {column: Bar}}


def _bars_of(comparison, ground, group, make):
    """{workload: {column: Bar}} of the cells for which `make` gives a Bar."""
    bars = {}
    for workload in comparison.workloads:
        if workload.group != group:
            continue
        for column, cell in comparison.rows(ground, workload):
            figures = summary.figures(cell)
            bar = make(workload, column, figures) if figures else None
            if bar is not None:
                bars.setdefault(workload.name, {})[column.name] = bar
    return bars


def _rates(comparison, ground, group):
    """Ratios to native, with the range of the rounds."""
    def bar(workload, column, figures):
        native = comparison.cells.get((ground, workload.name, "native"))
        base = summary.figures(native) if native else None
        if base is None:
            return None
        ratio = comparison.ratio(ground, workload, column.name, "native")
        value, low, high = (each / base.median for each in
                            (figures.median, figures.lowest, figures.highest))
        return Bar(value, low, high, report.ratio_text(ratio) if ratio else f"{value:.2f}")

    return Plot(f"{ground}-{group}-rates",
                f"{group}: rate as a ratio to native ({ground}: {comparison.grounds[ground]})",
                "median, and the range of the rounds; ~: too noisy to decide", "linear",
                _bars_of(comparison, ground, group, bar))


def _attribute(comparison, ground, group, kind, title, axis, scale, attribute):
    def bar(_workload, _column, figures):
        value = getattr(figures, attribute)
        return None if not value else Bar(value, None, None, report.number(value))

    return Plot(f"{ground}-{group}-{kind}",
                f"{group}: {title} ({ground}: {comparison.grounds[ground]})", axis, scale,
                _bars_of(comparison, ground, group, bar))


def plots_of(comparison):
    """Every Plot that has something to show."""
    found = []
    groups = dict.fromkeys(workload.group for workload in comparison.workloads)
    for ground in comparison.grounds:
        for group in groups:
            found += [
                _rates(comparison, ground, group),
                _attribute(comparison, ground, group, "p99",
                           "99 % of the operations take no longer than this", "microseconds", "log",
                           "p99_us"),
                _attribute(comparison, ground, group, "cpu",
                           "CPU time of the processes that serve", "microseconds an operation",
                           "log", "cpu_us"),
            ]
    return [plot for plot in found if plot.bars]


def colour_of(number):
    """Where a column's colour is in tab20: the ten strong ones, then the ten pale ones."""
    return number % 10 * 2 + number // 10 % 2


def draw(plot, columns, stem):
    """Writes stem.png and stem.svg; `columns` gives order and colours. ImportError without
    matplotlib."""
    import matplotlib  # pylint: disable=import-outside-toplevel
    matplotlib.use("Agg")
    from matplotlib import pyplot  # pylint: disable=import-outside-toplevel

    shown = [name for name in columns if any(name in bars for bars in plot.bars.values())]
    colours = {name: pyplot.get_cmap("tab20")(colour_of(columns.index(name))) for name in shown}
    height = BAR_INCHES * len(plot.bars) * (len(shown) + 1) + 1.5
    with pyplot.rc_context({"svg.fonttype": "none", "font.size": 8}):
        figure, axes = pyplot.subplots(figsize=(WIDTH_INCHES, height))
        for number, name in enumerate(shown):
            _draw_bars(axes, plot, name, number, len(shown), colours[name])
        axes.set_yticks(range(len(plot.bars)), list(plot.bars))
        axes.invert_yaxis()
        axes.set_xscale(plot.scale)
        axes.set_xlabel(plot.axis)
        axes.set_title(plot.title)
        axes.margins(x=0.12)
        if plot.scale == "linear":
            axes.set_xlim(left=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / height), ncol=4, frameon=False)
        for kind in ("png", "svg"):
            figure.savefig(f"{stem}.{kind}", dpi=DOTS_PER_INCH, bbox_inches="tight")
        pyplot.close(figure)


def _draw_bars(axes, plot, name, number, count, colour):
    thickness = 1 / (count + 1)
    for place, bars in enumerate(plot.bars.values()):
        if name not in bars:
            continue
        bar = bars[name]
        middle = place + (number - (count - 1) / 2) * thickness
        axes.barh(middle, bar.value, thickness, color=colour,
                  label=name if place == _first(plot, name) else None)
        end = bar.value
        if bar.highest is not None:
            reach = [[bar.value - bar.lowest], [bar.highest - bar.value]]
            axes.errorbar(bar.value, middle, xerr=reach, fmt="none", ecolor="black",
                          elinewidth=0.7, capsize=1.5)
            end = bar.highest
        axes.annotate(bar.text, (end, middle), xytext=(3, 0), textcoords="offset points",
                      va="center", fontsize=6)


def _first(plot, name):
    return next(place for place, bars in enumerate(plot.bars.values()) if name in bars)


def draw_all(comparison, directory):
    """The stems of the files that were written below `directory`."""
    columns = [column.name for column in comparison.columns]
    stems = []
    for plot in plots_of(comparison):
        stem = directory / plot.name
        draw(plot, columns, stem)
        stems.append(stem)
    return stems
