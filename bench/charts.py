# libivykis: the charts of the benchmarks, one per group of rows.
# SPDX-License-Identifier: LGPL-2.1-or-later

import shutil
import subprocess
import textwrap

from peers import PEERS, remark
from report import GROUPS, UNITS

SCRIPT = """
set terminal svg size %(width)d,520 font "sans,13" background "white"
set output "bench-%(group)s.svg"
set title "%(title)s\\n{/*0.8 median of %(rounds)s; whiskers: min, max}"
set style fill solid 1 border -1
set grid ytics
set key outside right top noenhanced
set bmargin 5
set xtics (%(labels)s) noenhanced scale 0
set xrange [-0.5:%(last)d.5]
set ylabel "%(unit)s" noenhanced font ",11"
set format y '%%g'
%(scale)s
plot %(plots)s
"""

LOGARITHMIC = "set logscale y\nset yrange [%g:%g]"
LINEAR = "set yrange [0:%s]"

# Columns: x, the figure, its least and greatest; boxes also have a width.
# On a logarithmic scale there are points, as boxes would have no base.
POINTS = "($0%+g):%d:%d:%d"
BOXES = "($0%+g):%d:%d:%d:(%g)"


def label(row):
    return "\\n".join([row.name] + textwrap.wrap(row.text, 24))


def scale_of(rows):
    """Logarithmic if high boxes would hide low ones."""
    values = [v for row in rows for p in row.peers() for v in row.spread(p)]
    low, high = min(values), max(values)
    if low > 0 and high > 20 * low:
        return LOGARITHMIC % (low / 2, high * 2), True
    return LINEAR % ("*" if high > 0 else "1"), False


def data_of(rows, peers):
    lines = []
    for row in rows:
        cells = []
        for p in peers:
            cells += [str(v) for v in (row.median(p), *row.spread(p))] \
                if p in row.peers() else ["NaN"] * 3
        lines.append(" ".join(cells))
    return "\n".join(lines)


def plots_of(peers, logarithmic):
    width = 0.8 / len(peers)
    plots = []
    for i, peer in enumerate(peers):
        x = (i - (len(peers) - 1) / 2) * width
        columns = (x, i * 3 + 1, i * 3 + 2, i * 3 + 3)
        if logarithmic:
            using, style = POINTS % columns, "yerrorbars pt 7 lw 1.5"
        else:
            using, style = BOXES % (*columns, width), "boxerrorbars"
        plots.append('$d using %s title "%s" with %s linecolor rgb "%s"' %
                     (using, peer.name, style, peer.colour))
    return ", ".join(plots)


def chart(group, rows, rounds):
    peers = [p for p in PEERS if any(p in r.peers() for r in rows)]
    scale, logarithmic = scale_of(rows)
    script = "$d << END\n" + data_of(rows, peers) + "\nEND" + SCRIPT % {
        "group": group, "title": GROUPS[group].title,
        "rounds": "%d round" % rounds + "s" * (rounds != 1),
        "width": 600 + 200 * len(rows), "last": len(rows) - 1,
        "labels": ", ".join('"%s" %d' % (label(r), i)
                            for i, r in enumerate(rows)),
        "scale": scale, "plots": plots_of(peers, logarithmic),
        "unit": UNITS[rows[0].unit][0] + " (logarithmic)" * logarithmic}
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def draw(rows, rounds):
    if not shutil.which("gnuplot"):
        remark("gnuplot is missing: no charts")
        return
    for group in dict.fromkeys(r.group for r in rows):
        members = [r for r in rows if r.group == group and r.peers()]
        if members:
            chart(group, members, rounds)
