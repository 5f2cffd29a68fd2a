# libivykis: the report of the benchmarks.
# SPDX-License-Identifier: LGPL-2.1-or-later

import os
import platform
import re
import time
from collections import namedtuple

from peers import BY_KEY, remarks

# How units are described, and which of two figures is better (None: neither).
UNITS = {"ns": ("ns per operation, less is better", min),
         "runs/s": ("handler runs per second, more is better", max),
         "conn/s": ("connections per second, more is better", max),
         "items": ("items per handler run", None),
         "B": ("bytes, less is better", min),
         "lost": ("wakeups lost per round", None),
         "served": ("times a readable descriptor is served per operation",
                    None)}

Group = namedtuple("Group", "title calls")

# The title of each chart, and whether system calls are counted.
GROUPS = {
    "burst": Group("A post while one is pending", True),
    "self": Group("A loop that posts to itself", True),
    "life": Group("Objects and loops that come and go", True),
    "wake": Group("Waking a loop that sleeps", False),
    "pingpong": Group("Two loops that answer each other", True),
    "async": Group("One loop against several that answer it", True),
    "flood": Group("Handler runs while threads post without pause", False),
    "million": Group("10,000 objects posted at once", True),
    "stream": Group("Items from another process", True),
    "items": Group("Items per handler run", False),
    "lost": Group("Lost wakeups", False),
    "served": Group("A readable descriptor beside endless work", False),
    "task": Group("A task that asks to run again", True),
    "memory": Group("Memory per object", False),
    "pairs": Group("Socket pairs that pass bytes on", True),
    "churn": Group("Descriptors that come and go", True),
    "connect": Group("Short TCP connections", True),
    "echo": Group("An echo server under redis-benchmark", True),
    "move": Group("Timers that are moved", False),
    "fire": Group("Timers that are due together", False)}

# Rows that show which peers starve descriptors in these groups.
SERVED = {"self": "self_served", "task": "task_served"}

# The goals of this library, as ratios in one run: row, peer, the peer that it
# is compared with (None: the best other library), and the bound, which is a
# lower bound where more is better.
Goal = namedtuple("Goal", "row peer of bound")
GOALS = (
    Goal("self_1", "ivykis", "floor", 0.08),
    Goal("self_10000", "ivykis", "floor", 0.12),
    Goal("self_1", "ivykis-event", "floor", 0.06),
    Goal("burst", "ivykis", "fence", 1.2),
    Goal("burst_fork", "ivykis", "fence", 1.2),
    Goal("flood_2", "ivykis", "libuv", 1.5),
    Goal("stream", "ivykis", "libivykis", 0.08),
    Goal("pingpong", "ivykis-busy", "floor", 0.1),
    Goal("pingpong_bells", "ivykis-busy", "floor", 0.1),
    Goal("wake_one", "ivykis", "floor", 1.05),
    Goal("pairs_1", "ivykis", "floor", 1.03),
    Goal("pairs_100", "ivykis", "floor", 1.03),
    Goal("churn", "ivykis-method", "ivykis", 0.35),
    Goal("connect", "ivykis", None, 1.0),
    Goal("connect_one", "ivykis", None, 1.0),
    Goal("move_10000", "ivykis", "libev", 0.6),
    Goal("move_1000000", "ivykis", "libev", 0.6),
    Goal("fire_1000", "ivykis", "libev", 1.0),
    Goal("fire_100000", "ivykis", "libev", 0.8),
    Goal("fire_1000000", "ivykis", "libev", 0.8),
    Goal("mem_loop_fd", "ivykis", "libev", 1.0))

# One more goal: a bound on the system calls for posts of a loop to itself.
CALLS_ROW, CALLS_POSTS, CALLS_BOUND = "self_1", 100_000, 10_000


def counts_calls(row):
    return GROUPS[row.group].calls


def number(value):
    if value is None:
        return "-"
    if value and abs(value) < 0.001:
        return "%.1e" % value
    if abs(value) < 100:
        return "%.3g" % value
    return "{:,.0f}".format(value)


def ratio(value, base):
    if not base:
        return "-"
    return ("%.2f" if value > base / 10 else "%.1g") % (value / base)


def table(head, lines):
    rows = [head] + lines
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(
            c.ljust(w) for c, w in zip(cells, widths)) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([line(head), rule] + [line(r) for r in lines])


def lost_table(row):
    lines = []
    for peer in row.peers():
        figures = row.figures[peer]
        low, high = row.spread(peer)
        lines.append([
            peer.name, "%d" % sum(f["value"] for f in figures),
            "{:,.0f}".format(sum(f["ops"] for f in figures)),
            "%d..%d" % (low, high), number(row.median(peer, "cpu")),
            row.shown(peer)])
    return table(["peer", "lost", "of", "per round", "CPU ns/op", "command"],
                 lines)


def best_other(row):
    better = UNITS[row.unit][1]
    values = [row.median(p) for p in row.peers() if p.other]
    return better(values) if better and values else None


def bases(row):
    """What figures are divided by: column headings and values."""
    if UNITS[row.unit][1] is None:
        return {}
    there = row.peers()
    found = {"x " + BY_KEY[key].name: row.median(BY_KEY[key])
             for key in ("floor", "fence", "fence-called")
             if BY_KEY[key] in there}
    if best_other(row):
        found["x best other"] = best_other(row)
    return found


def figure_table(row, starving):
    relations = bases(row)
    timed = row.unit != "B"
    calls = counts_calls(row)
    lines = []
    for peer in row.peers():
        median = row.median(peer)
        lines.append(
            [peer.name + " (starves descriptors)" * (peer in starving),
             number(median),
             "..".join(number(v) for v in row.spread(peer))] +
            [number(row.median(peer, "cpu"))] * timed +
            [number(row.calls.get(peer))] * calls +
            [ratio(median, base) for base in relations.values()] +
            [row.shown(peer)])
    return table(["peer", row.unit, "min..max"] + ["CPU ns/op"] * timed +
                 ["calls/op"] * calls + list(relations) + ["command"], lines)


def verdict(value, bound, better):
    if value is None:
        return "not measured"
    met = value <= bound if better is min else value >= bound
    return "met" if met else "missed"


def cpu_ratio(row, peer, base):
    """The ratio of CPU times, which a busy machine distorts less."""
    there = row.peers()
    if row.unit != "ns" or peer not in there or base not in there:
        return "-"
    cpu = row.median(base, "cpu")
    return "%.3g" % (row.median(peer, "cpu") / cpu) if cpu else "-"


def goal_line(rows, goal):
    row, peer = rows[goal.row], BY_KEY[goal.peer]
    better = UNITS[row.unit][1]
    sign = "<=" if better is min else ">="
    value = of = None
    if goal.of is None:
        of, whose = best_other(row), "best other"
    else:
        base, whose = BY_KEY[goal.of], BY_KEY[goal.of].name
        of = row.median(base) if base in row.peers() else None
    if of and peer in row.peers():
        value = row.median(peer) / of
    return [goal.row, peer.name, "%s %g x %s" % (sign, goal.bound, whose),
            "-" if value is None else "%.3g" % value,
            cpu_ratio(row, peer, BY_KEY.get(goal.of)),
            verdict(value, goal.bound, better)]


def calls_line(row):
    peer = BY_KEY["ivykis"]
    calls = row.calls.get(peer)
    value = None if calls is None else calls * CALLS_POSTS
    return [row.name, peer.name, "<= {:,} system calls for {:,} posts".format(
        CALLS_BOUND, CALLS_POSTS), number(value), "-",
            verdict(value, CALLS_BOUND, min)]


def goals_table(rows):
    lines = [goal_line(rows, g) for g in GOALS if g.row in rows]
    if CALLS_ROW in rows:
        lines.append(calls_line(rows[CALLS_ROW]))
    return table(["row", "peer", "goal", "measured", "by CPU time", "result"],
                 lines) if lines else ""


def machine():
    cpu = platform.processor()
    try:
        with open("/proc/cpuinfo") as f:
            cpu = re.search(r"model name\s*: (.*)", f.read()).group(1)
    except (OSError, AttributeError):
        pass
    return "%s, %d processors, %s %s" % (
        cpu, len(os.sched_getaffinity(0)), platform.system(),
        platform.release())


def starving_peers(rows, group):
    """Peers that serve a descriptor in less than 1% of the operations."""
    served = rows.get(SERVED.get(group))
    if served is None:
        return []
    return [p for p in served.peers() if served.median(p) < 0.01]


def peer_line(peer):
    details = [peer.shown([])] + [
        peer.details[key] for key in ("file", "method") if key in peer.details]
    if "file" not in peer.details:
        details.append(peer.details["version"])
    return "- **%s**: %s" % (peer.name, ", ".join(details).strip())


INTRODUCTION = """\
How to read the tables:

- A figure is the median of {rounds} round{s}, each of which ran all peers in \
turn; min..max is their spread.
- ns (nanoseconds per operation) and B (bytes): less is better.  runs/s \
(handler runs per second) and conn/s (connections per second): more is better.
- x floor: divided by the figure of the same work done by hand, with epoll and \
eventfd.  x fence floor: divided by the least that a coalesced post can cost, \
written in place or, where it says so, called as a library's functions are.  \
x best other: divided by the best figure of another library in the table.
- calls/op: system calls per operation, counted by `{counted_by}` in separate \
runs.
- ivykis posts to an iv_event_raw unless iv_event is named.
- "Starves descriptors": while this work goes on, a readable descriptor is \
hardly ever served (rows {served}).
- A peer that cannot do the work of a row is not in its table.
"""


def report(rows, peers, run):
    text = ["# Wakeups and the rest of a loop, measured", "",
            "`%s`, %s" % (run["command"], time.strftime("%Y-%m-%d %H:%M")),
            "", machine() + ", load %.2f before." % run["load"], ""]
    text += [peer_line(p) for p in peers] + [""]
    text += ["- **%s**" % r for r in remarks] + [""] * bool(remarks)
    text.append(INTRODUCTION.format(
        rounds=run["rounds"], s="s" * (run["rounds"] != 1),
        counted_by=run["counted_by"], served=" and ".join(SERVED.values())))
    goals = goals_table(rows)
    text += ["## Goals", "", goals, ""] * bool(goals)
    for row in rows.values():
        if not row.peers():
            continue
        text += ["## %s: %s" % (row.name, row.text), "",
                 lost_table(row) if row.unit == "lost" else
                 figure_table(row, starving_peers(rows, row.group)), ""]
    return "\n".join(text)
