"""The picture: one row per scenario, one dot per target, its interval as whiskers, Envoy as the line at one."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

from bench.targets import BASELINE

# Colour, marker, size, and how far below the middle of its row: overlapping dots stay visible.
STYLE = {
    "pyproxy": ("#d1495b", "o", 9, -0.08),
    "haproxy": ("#30638e", "s", 6, 0.12),
    "nginx": ("#6a994e", "D", 5.5, 0.26),
}
INK, GREY, FAINT, CHEAPER = "#22223b", "#6c6d80", "#dcdce6", "#f3f6f1"
TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
LOOK: dict[Any, Any] = {"svg.hashsalt": "bench", "font.size": 9, "text.color": INK, "axes.edgecolor": FAINT}

Rows = list[tuple[str, dict[str, Any]]]


def draw(summary: dict[str, Any], stem: Path) -> None:
    """Write `stem`.svg and `stem`.png; a log axis shows half and twice at the same distance."""
    rows = [(name, one) for name, one in summary["scenarios"].items() if any(_ratio(one, target) for target in STYLE)]
    if not rows:
        return
    with plt.rc_context(LOOK):
        figure, axes = plt.subplots(figsize=(9.5, 1.5 + 0.5 * len(rows)))
        _frame(axes, rows)
        for target in STYLE:
            _dots(axes, rows, target)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, handletextpad=0.3)
        figure.text(0.01, 0.01, _caption(summary), fontsize=7, color=GREY, va="bottom")
        inches = figure.get_figheight()
        figure.subplots_adjust(left=0.30, right=0.85, top=1 - 0.55 / inches, bottom=0.75 / inches)
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), dpi=160)
        plt.close(figure)


def _ratio(one: dict[str, Any], target: str) -> dict[str, Any] | None:
    return (one["targets"].get(target) or {}).get("ratio_data")


def _frame(axes: Axes, rows: Rows) -> None:
    ratios = [ratio["median"] for _, one in rows for target in STYLE if (ratio := _ratio(one, target))]
    low, high = min(0.5, *ratios) / 1.6, max(2.0, *ratios) * 1.3
    axes.set_title("CPU per request, relative to Envoy", loc="left", x=-0.53, weight="bold", pad=10, fontsize=12)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.minorticks_off()
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.axvspan(low, 1.0, color=CHEAPER, zorder=0)
    axes.axvline(1.0, color=INK, linewidth=1.4, label="Envoy", zorder=2)
    axes.grid(visible=True, axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=GREY)
    axes.spines[["left", "right", "top"]].set_visible(False)
    for place, (name, one) in enumerate(rows):
        _label(axes, place, name, one)


def _label(axes: Axes, place: int, name: str, one: dict[str, Any]) -> None:
    """The scenario on the left, the absolute figures on the right."""
    if place:
        axes.axhline(place - 0.5, color=FAINT, linewidth=0.6, zorder=1)
    where: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
    axes.annotate(name, (0, place), (-8, 6), ha="right", weight="bold", **where)
    axes.annotate(one["about"], (0, place), (-8, -6), ha="right", fontsize=7.5, color=GREY, **where)
    figures = [(target, one["targets"].get(target)) for target in ("pyproxy", BASELINE)]
    known = [(target, found["us_data"]) for target, found in figures if found and found["us_data"] is not None]
    for line, (target, microseconds) in enumerate(known):
        colour = STYLE[target][0] if target in STYLE else GREY
        offset = (8, 6 - 12 * line) if len(known) > 1 else (8, 0)
        words = f"{target} {microseconds:,.1f} µs"
        axes.annotate(words, (1, place), offset, fontsize=8, color=colour, **where)


def _dots(axes: Axes, rows: Rows, target: str) -> None:
    colour, marker, size, below = STYLE[target]
    known = [(place + below, ratio) for place, (_, one) in enumerate(rows) if (ratio := _ratio(one, target))]
    if not known:
        return
    medians = [ratio["median"] for _, ratio in known]
    whiskers = [
        [ratio["median"] - (ratio["low"] or ratio["median"]) for _, ratio in known],
        [(ratio["high"] or ratio["median"]) - ratio["median"] for _, ratio in known],
    ]
    look: dict[str, Any] = {
        "markersize": size,
        "capsize": 2.5,
        "elinewidth": 1.3,
        "markeredgecolor": "white",
        "zorder": 4,
    }
    axes.errorbar(
        medians, [y for y, _ in known], xerr=whiskers, fmt=marker, color=colour, label=target, ecolor=colour, **look
    )
    if target == "pyproxy":
        for y, ratio in known:
            words = f"{ratio['median']:.2f}x" if ratio["median"] >= 0.1 else f"{ratio['median']:.3f}x"
            place = (ratio["median"], y)
            text = axes.annotate(words, place, (0, 7), textcoords="offset points", ha="center", color=colour, zorder=5)
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _caption(summary: dict[str, Any]) -> str:
    host, python = summary["host"], summary["python"].get("version", "absent")
    quick = "quick run, " if summary["quick"] else ""
    noisy = "noisy machine, " if any(one["noisy"] for one in summary["scenarios"].values()) else ""
    return (
        "Left of the line is cheaper. Data path of one worker each, loopback, "
        f"{quick}{noisy}medians of interleaved blocks with 95 % intervals.\n"
        f"{host['cpu']}, Linux {host['kernel']}, Python {python}, commit {summary['git']}, {summary['begun'][:10]}."
    )
