#!/bin/sh
# libivykis: C++ exceptions through iv_main().
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The cases are in leave.c.  The output is TAP.
# Environment: CC, CXX, TOP_SRCDIR, TOP_BUILDDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
: "${CXX:=c++}"

# shellcheck disable=SC2086 # there may be options
if ! command -v ${CXX%% *} >/dev/null; then
	echo "1..0 # SKIP there is no C++ compiler, $CXX"
	exit
fi

# The exceptions cross frames of C.
# shellcheck disable=SC2086 # a list
$CC -g -O2 -Wall -fexceptions -DCXX $defs -I"$TOP_SRCDIR/src/include" \
	-c "$TOP_SRCDIR/test/leave.c" -o "$dir/leave.o" &&
$CXX -g -O2 -Wall -c "$TOP_SRCDIR/test/throw.cc" -o "$dir/throw.o" &&
$CXX -o "$dir/throw" "$dir/leave.o" "$dir/throw.o" \
	"$TOP_BUILDDIR/test/libcheck.a" \
	"$TOP_BUILDDIR/src/.libs/libivykis.a" $uring -pthread || exit 1

"$dir/throw" 'may throw'
