#!/usr/bin/env python3
# libivykis: the table of README.md, from results.md.
# SPDX-License-Identifier: LGPL-2.1-or-later
"""readme.py RESULTS: for each operation, what it takes here, and how many
times as much it takes with each peer."""

import re
import sys

# A label, the row, and how the kind of our peer begins.
ROWS = (
    ("post while one is pending", "burst", ""),
    ("item from another process", "stream", ""),
    ("post and handler, one thread", "self_1", ""),
    ("the same, 10,000 registered", "self_10000", ""),
    ("post to each of 10,000", "million_async", ""),
    ("wake a thread, same core", "wake_one", ""),
    ("round trip, two cores", "pingpong", ""),
    ("the same, busy polling", "pingpong", "busy polling"),
    ("handler run, 2 threads flood", "flood_2", ""),
    ("register an iv_event_raw", "register", ""),
    ("register an iv_event", "register", "iv_event"),
    ("move one of 10,000 timers", "move_10000", ""),
    ("move one of 1,000,000", "move_1000000", ""),
    ("fire one of 1,000 timers", "fire_1000", ""),
    ("fire one of 100,000", "fire_100000", ""),
    ("byte through a socket pair", "pairs_100", ""),
    ("descriptor for one event", "churn", ""),
    ("the same, by io_uring", "churn", "uring"),
    ("TCP connection", "connect", ""),
    ("request of redis-benchmark", "echo", ""),
    ("memory of an iv_event_raw", "mem_event", ""),
    ("memory of a loop", "mem_loop", ""))

# How peers are named in the tables of results.md.
PEERS = (("libuv", r"libuv "), ("libev", r"libev "),
         ("libevent", r"libevent "), ("0.42", r"ivykis .*\(Debian\)"))


def read(lines):
    """Medians by row and peer; units by row."""
    medians, units, row = {}, {}, None
    for line in lines:
        if line.startswith("## "):
            row = line[3:].split(":")[0].strip()
            continue
        cells = [c.strip() for c in line.strip("|\n ").split("|")]
        if len(cells) < 3 or cells[0].startswith("-"):
            continue
        if cells[0] == "peer":
            units[row] = cells[1]
        elif row in units:
            peer = cells[0].replace(" (starves descriptors)", "")
            medians[row, peer] = float(cells[1].replace(",", ""))
    return medians, units


def find(medians, row, name, kind):
    """The figure of a peer of the kind, or None if there is no such peer."""
    for (in_row, peer), value in medians.items():
        if in_row == row and re.match(name, peer) and \
                peer.partition(", ")[2].startswith(kind) and \
                (kind or ", " not in peer):
            return value
    return None


def digits(value):
    """The number with two digits, or with one if it is tiny."""
    if value >= 10:
        return "%.0f" % value
    if value >= 0.995:
        return "%.1f" % value
    return "%.2f" % value if value >= 0.1 else "%.1g" % value


def figure(value, unit):
    if unit == "ns" and value >= 10000:
        return digits(value / 1000) + " us"
    if unit.endswith("/s"):
        return digits(1e6 / value) + " us"
    return digits(value) + " " + unit


def line(medians, units, label, row, kind):
    ours = find(medians, row, r"ivykis .*\(this\)", kind)
    cells = [label, "-" if ours is None else figure(ours, units[row])]
    for _, name in PEERS:
        theirs = kind == "iv_event" and find(medians, row, name, kind) or \
            find(medians, row, name, "")
        if ours is None or theirs is None:
            cells.append("-")
        elif units[row].endswith("/s"):
            cells.append(digits(ours / theirs))
        else:
            cells.append(digits(theirs / ours))
    return cells


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        medians, units = read(f)
    rows = [["operation", "here"] + [p for p, _ in PEERS]]
    rows += [line(medians, units, *row) for row in ROWS]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * widths[0]] + ["-" * (w - 1) + ":"
                                        for w in widths[1:]])
    for cells in rows:
        print("| " + cells[0].ljust(widths[0]) + " | " + " | ".join(
            c.rjust(w) for c, w in zip(cells[1:], widths[1:])) + " |")


if __name__ == "__main__":
    main()
