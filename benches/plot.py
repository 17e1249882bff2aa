#!/usr/bin/env python3
"""Draws what work costs in bytes against the size of the archive, as an SVG.

Reads the JSON lines that the benches `carry` and `union` print, of several sizes:

    for n in 100000 1000000 10000000; do
        GWA_BENCH_ENVELOPES=$n cargo bench --bench carry
        GWA_BENCH_ENVELOPES=$n cargo bench --bench union
    done | benches/plot.py > docs/images/cost.svg
"""

import json
import math
import sys

WIDTH, HEIGHT = 760, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 20, 50
# Height of a line of text.
LINE = 16
# What is drawn: the line's `what`, where its bytes are, how it is called, its colour.
SERIES = [
    ("mirror", ("bytes",), "mirror", "#1f77b4"),
    ("follow a day", ("bytes",), "follow one day", "#17becf"),
    ("diff, 10 new", ("bytes",), "diff, 10 differ", "#d62728"),
    ("merge, 10 new", ("bytes",), "merge, 10 new", "#e377c2"),
    ("query over HTTP, rare topic, 30 days", ("cost", "bytes"), "rare topic, 30 days", "#9467bd"),
    ("query over HTTP, warm topic, 24 h", ("cost", "bytes"), "warm topic, a day", "#2ca02c"),
    ("fork", ("new_block_bytes",), "fork", "#ff7f0e"),
]


def points(lines):
    """The bytes of each series by number of envelopes."""
    found = {what: {} for what, *_ in SERIES}
    for line in lines:
        if not line.startswith("{"):
            continue
        row = json.loads(line)
        for what, path, *_ in SERIES:
            if row.get("what") == what:
                value = row
                for key in path:
                    value = value[key]
                found[what][row["envelopes"]] = value
    return found


def human(number):
    """1000000 as 1 M, 3000 as 3 k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g} "


def main():
    found = points(sys.stdin)
    sizes = sorted({size for series in found.values() for size in series})
    most = max(value for series in found.values() for value in series.values())
    decades = range(2, math.ceil(math.log10(most)) + 1)
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(size):
        return LEFT + (math.log10(size) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value):
        share = (math.log10(value) - decades[0]) / (decades[-1] - decades[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        "<title>Bytes that work costs, by envelopes archived</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for decade in decades:
        at = y(10**decade)
        out.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#dddddd"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{human(10**decade)}B</text>'
        )
    for size in sizes:
        out.append(
            f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
            f"{human(size).strip()}</text>"
        )
    out.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
        "envelopes archived</text>"
    )
    labels = []
    for what, _, name, colour in SERIES:
        series = sorted(found[what].items())
        if not series:
            continue
        line = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in series)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for size, value in series:
            out.append(f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>')
        size, value = series[-1]
        labels.append((y(value), x(size), f"{name}: {human(value)}B", colour))
    lowest = 0.0
    for at, end, text, colour in sorted(labels):
        # Below the one above it, where both would be at one height.
        lowest = max(at, lowest + LINE)
        out.append(f'<text x="{end + 8:.1f}" y="{lowest + 4:.1f}" fill="{colour}">{text}</text>')
    out.append("</svg>")
    print("\n".join(out))


main()
