#!/bin/sh
# libivykis: each example of a manual page is a program that compiles without a
# warning, runs, and exits with status 0.  The output is TAP.
# SPDX-License-Identifier: LGPL-2.1-or-later

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${TOP_BUILDDIR:=$TOP_SRCDIR}"
: "${CC:=cc}" "${MAN_DIR:=$TOP_SRCDIR/man3}"
: "${EXAMPLE_CFLAGS=-I$TOP_SRCDIR/src/include}"
libs=$TOP_BUILDDIR/src/.libs
: "${EXAMPLE_LDFLAGS=-L$libs -Wl,-rpath,$libs -livykis}"

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# extract PAGE: writes its examples to $tmp/1.c, $tmp/2.c, ...
extract()
{
	rm -f "$tmp"/*.c
	awk -v tmp="$tmp" '
	/^\.Sh/				{ examples = $2 ~ /^EXAMPLE/ }
	/^\.Ed/				{ program = 0 }
	program {
		gsub(/\\&/, "")
		gsub(/\\e/, "\\")
		print >(tmp "/" num ".c")
	}
	examples && /^\.Bd -literal/	{ program = 1; num++ }
	' "$1"
}

# The flags are lists of words.
# shellcheck disable=SC2086
build_and_run()
{
	$CC -std=c11 -Wall -Wextra -Werror $EXAMPLE_CFLAGS \
		-o "$tmp/example" "$1" $EXAMPLE_LDFLAGS -pthread &&
	timeout 20 "$tmp/example"
}

n=0
bad=0
for page in "$MAN_DIR"/*.3; do
	grep -q '^\.so ' "$page" && continue

	extract "$page"
	if ! [ -f "$tmp/1.c" ]; then
		n=$((n + 1))
		bad=$((bad + 1))
		echo "not ok $n - ${page##*/}: no example"
	fi
	for program in "$tmp"/*.c; do
		[ -f "$program" ] || continue
		n=$((n + 1))
		if build_and_run "$program" >"$tmp/log" 2>&1; then
			verdict=ok
		else
			verdict='not ok'
			bad=$((bad + 1))
		fi
		program=${program##*/}
		echo "$verdict $n - ${page##*/}, example ${program%.c}"
		[ "$verdict" = ok ] || sed 's/^/# /' "$tmp/log"
	done
done
echo "1..$n"
[ "$n" -gt 0 ] && [ "$bad" -eq 0 ]
