# libivykis: the peers of the benchmarks, and how their programs are run.
# SPDX-License-Identifier: LGPL-2.1-or-later

import os
import re
import subprocess
import sys

# A poll method of this library, measured in addition to its default.
METHOD = os.environ.get("METHOD", "uring")
BUSY_USEC = 50

WAITING = ("pingpong", "async")
DESCRIPTORS = ("pairs", "churn", "connect", "echo")

remarks = []
failures = []


def remark(text):
    if text not in remarks:
        remarks.append(text)
        print("\n*** " + text, file=sys.stderr, flush=True)


class Peer:
    """A program, the environment that it runs in, and its part of the rows."""

    def __init__(self, key, colour, kind="", package=None, ours=False,
                 other=False, env=None, groups=None):
        self.key = key
        self.colour = colour
        self.kind = kind            # distinguishes peers of one library
        self.package = package      # that has the library
        self.ours = ours            # if it fails, so does the run
        self.other = other          # somebody else's library
        self.env = env or {}
        self.groups = groups        # None: all
        self.name = key
        self.details = {}

    def program(self):
        by = "_event" if self.kind.startswith("iv_event") else ""
        if self.kind == "called":
            by = "_called"
        return "./bench_" + self.key.split("-")[0] + by

    def shown(self, command):
        settings = ["%s=%s" % item for item in self.env.items()]
        return " ".join(settings + [self.program()[2:]] + command)


OURS = {"ours": True}
SYSTEM = {"other": True, "package": "libivykis-dev"}
BUSY = {"ours": True, "groups": WAITING,
        "env": {"IV_BUSY_POLL": str(BUSY_USEC)}}
BUSY_KIND = "busy polling %d us" % BUSY_USEC

# In the order of the tables.
PEERS = (
    Peer("ivykis", "#b2182b", **OURS),
    Peer("ivykis-event", "#ef8a62", "iv_event", **OURS),
    Peer("ivykis-busy", "#67001f", BUSY_KIND, **BUSY),
    Peer("ivykis-event-busy", "#fddbc7", "iv_event, " + BUSY_KIND, **BUSY),
    Peer("ivykis-method", "#d6604d", METHOD, ours=True, groups=DESCRIPTORS,
         env={"IV_SELECT_POLL_METHOD": METHOD}),
    Peer("libivykis", "#2166ac", **SYSTEM),
    Peer("libivykis-event", "#92c5de", "iv_event", **SYSTEM),
    Peer("libuv", "#1b7837", other=True, package="libuv1-dev"),
    Peer("libev", "#a6dba0", other=True, package="libev-dev"),
    Peer("libevent", "#762a83", other=True, package="libevent-dev"),
    Peer("floor", "#999999", **OURS),
    Peer("fence", "#333333", **OURS),
    Peer("fence-called", "#666666", "called", **OURS))

BY_KEY = {p.key: p for p in PEERS}


def failed(peer, text):
    remark(text)
    if peer.ours:
        failures.append(text)


def output_of(peer, command):
    """What the command prints in the peer's environment; "" if it fails."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("IV_BUSY_POLL", "IV_SELECT_POLL_METHOD")}
    env.update(peer.env)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=300,
                              stderr=subprocess.STDOUT, text=True, check=True,
                              env=env)
    except subprocess.TimeoutExpired:
        failed(peer, "%s: timed out" % " ".join(command))
    except subprocess.CalledProcessError as e:
        failed(peer, "%s: failed (%d) %s" %
               (" ".join(command), e.returncode, e.output.strip()))
    else:
        return done.stdout
    return ""


def distribution():
    """The first word of its name."""
    try:
        with open("/etc/os-release") as f:
            return re.search(r'^NAME="?(\w+)', f.read(), re.M).group(1)
    except (OSError, AttributeError):
        return "system"


def origin(file):
    """Where another libivykis is from."""
    if file.startswith(("/lib", "/usr/lib")):
        return distribution()
    return os.path.dirname(file)


def name_of(peer):
    library = peer.key.split("-")[0]
    if library == "fence":
        name = "fence floor"
    elif library == "floor":
        name = "floor"
    elif library == "ivykis":
        name = "ivykis %s (this)" % peer.details["version"]
    elif library == "libivykis":
        name = "ivykis %s (%s)" % (peer.details["version"],
                                   origin(peer.details["file"]))
    else:
        name = "%s %s" % (library, peer.details["version"])
    return name + ", " * bool(peer.kind) + peer.kind


def can_be_measured(peer):
    """Does the library do what the peer's name says?"""
    env, details = peer.env, peer.details
    if "IV_BUSY_POLL" in env and details["busy-poll"] != "yes":
        remark("%s: not measured: the library has no iv_set_busy_poll()" %
               peer.name)
    elif env.get("IV_SELECT_POLL_METHOD", details.get("method")) != \
            details.get("method"):
        remark("%s: not measured: the library uses the poll method %s" %
               (peer.name, details["method"]))
    else:
        return True
    return False


def is_present(peer):
    """If it is, sets its name and details."""
    if not os.access(peer.program(), os.X_OK):
        if peer.ours:
            failed(peer, peer.program() + " is not built")
        else:
            remark("%s is missing and not compared (package %s)" %
                   (peer.key, peer.package))
        return False
    text = output_of(peer, [peer.program(), "-v"])
    peer.details = dict(line.split(" ", 1) for line in text.splitlines())
    if not text:
        return False
    peer.name = name_of(peer)
    return can_be_measured(peer)


def present():
    there = [p for p in PEERS if is_present(p)]
    files = [os.path.realpath(p.details["file"]) for p in there
             if p.key in ("ivykis", "libivykis")]
    if len(files) != len(set(files)):
        sys.exit("ivykis and libivykis are the same file: " + files[0])
    return there
