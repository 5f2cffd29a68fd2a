#!/bin/sh
# libivykis: static analysis.  It fails if an analyser complains or is missing.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: TOP_SRCDIR, TOP_BUILDDIR.
set -u

cd "${TOP_SRCDIR:-$(dirname "$0")/..}" || exit 1

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# What configure found.
defs=$(sed -n 's/^IV_DEFS = //p' "${TOP_BUILDDIR:-build}/Makefile")
[ -n "$defs" ] || exit 1
includes="-Isrc/include -Isrc -Itest/kqueue"
failed=0

# analyze FLAG... <FILES.  Each flag may be several words.
# shellcheck disable=SC2086
analyze()
{
	xargs -P 2 -n 1 gcc -std=gnu11 $defs $includes -O2 -Wall -Wextra \
		-Werror -fanalyzer "$@" -S -o /dev/null
}

# gcc reports a leak of memory to which only lists inside of it point.  A test
# need not free memory before it ends, and may crash if there is none.
analyzer()
{
	echo '{ "none", 0 },' >"$tmp/syscalls.h"
	printf '%s\n' src/*.c examples/*.c | grep -v iv_timer.c |
		analyze $(pkg-config --cflags glib-2.0) &&
	echo src/iv_timer.c | analyze -Wno-analyzer-malloc-leak &&
	printf '%s\n' test/*.c test/fuzz/*.c test/kqueue/*.c |
		analyze -I"$tmp" -Itest -DIV_STEPS -Wno-analyzer-malloc-leak \
			-Wno-analyzer-possible-null-argument \
			-Wno-analyzer-possible-null-dereference
}

# One file at a time, as clang-tidy confuses the variable arguments of several.
# shellcheck disable=SC2086
tidy()
{
	printf '%s\n' src/*.c |
		xargs -P 2 -I '{}' clang-tidy --quiet '{}' -- -std=gnu11 \
			$defs $includes
}

# cppcheck takes offsetof() and iv_container_of() for uses of null pointers.
# The other analysers check for these without that mistake.
# shellcheck disable=SC2086
checker()
{
	cppcheck -q --enable=warning,performance,portability --std=c11 \
		--error-exitcode=1 --inline-suppr --suppress=nullPointer \
		$defs $includes src examples test bench
}

# SC2034 and SC2154 are about variables that a script shares with those that it
# includes; SC2046 is about commands that print flags, which are several words.
shells()
{
	grep -rl '^#!/bin/sh' bootstrap .ci bench doc/html.sh test |
		grep -v '\.\(log\|trs\|in\)$' | xargs shellcheck -S warning \
			-e SC2034,SC2046,SC2154
}

# analyse PROGRAM FUNCTION
analyse()
{
	if ! command -v "$1" >/dev/null; then
		echo "$1: missing"
	elif "$2" >"$tmp/out" 2>&1; then
		echo "$1: no complaints"
		return
	else
		cat "$tmp/out"
		echo "$1: failed"
	fi
	failed=1
}

analyse gcc analyzer
analyse clang-tidy tidy
analyse cppcheck checker
analyse shellcheck shells
exit $failed
