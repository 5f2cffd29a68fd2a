#!/bin/sh
# libivykis: random programs behave alike with this library and with the one
# that the system has installed.  differential_player.c says what they do and
# what they leave out.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A difference is a failure if it appears three times in a row, because what the
# kernel does is not entirely under control.  Other differences are printed in a
# comment.
#
# Environment: CC, TOP_SRCDIR, TOP_BUILDDIR;
#	DIFFERENTIAL_SEED	the first program, 1
#	DIFFERENTIAL_PROGRAMS	how many, 200
#	DIFFERENTIAL_SECONDS	for how long instead; the first program then
#				depends on the time
#	DIFFERENTIAL_LIBRARY	the directory of the library to be tested
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${DIFFERENTIAL_SECONDS:=}" "${DIFFERENTIAL_PROGRAMS:=200}"
[ -z "$DIFFERENTIAL_SECONDS" ] || {
	: "${TAP_LIMIT:=$((DIFFERENTIAL_SECONDS + 1800))}"
	: "${DIFFERENTIAL_SEED:=$(date +%s)}"
}
export TAP_LIMIT DIFFERENTIAL_SEED
: "${TAP_LIMIT:=1800}" "${DIFFERENTIAL_SEED:=1}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
# shellcheck source=test/system_library.sh
. "$TOP_SRCDIR/test/system_library.sh"
cd "$dir" || exit 1

ours=${DIFFERENTIAL_LIBRARY:-$TOP_BUILDDIR/src/.libs}
batch=100

if ! find_system; then
	echo "1..0 # SKIP libivykis-dev 0.43 or before is not installed"
	exit 0
fi

# The player's functions are exported, to replace those of the libc.
build()
{
	$CC -std=gnu11 -D_GNU_SOURCE -O1 -g -I"$TOP_SRCDIR/src/include" \
		"$TOP_SRCDIR/test/differential_player.c" \
		"$TOP_SRCDIR/test/differential_world.c" \
		-rdynamic -L"$system" -livykis -ldl -pthread -o player
}

loads()
{
	LD_LIBRARY_PATH=$1 LD_TRACE_LOADED_OBJECTS=1 ./player | tee loaded
	grep -q "libivykis.so.0 => $1/libivykis.so.0 " loaded
}

# play NAME LIBRARY FIRST NUMBER
play()
{
	rm -rf "$1.files"
	mkdir "$1.files" && (
		cd "$1.files" &&
		LD_LIBRARY_PATH=$2 exec ../player "$3" "$4" >"../$1.trace"
	)
}

# play_both FIRST NUMBER: succeeds if both libraries have the same trace.
play_both()
{
	play system "$system" "$@" &
	play ours "$ours" "$@"
	wait $!
	cmp -s system.trace ours.trace
}

# differs SEED: is there a difference three times in a row?
differs()
{
	for time in 1 2 3; do
		if play_both "$1" 1; then
			[ $time = 1 ] || echo "$1" >>once
			return 1
		fi
	done
}

# differing_seeds FIRST NUMBER: prints the programs whose traces differ.
differing_seeds()
{
	for trace in system ours; do
		awk -v trace="$trace." '
			/^00 seed [0-9]+ ends / {
				print text $0 >(trace $3)
				close(trace $3)
				text = ""
				next
			}
			{ text = text $0 "\n" }
		' "$trace.trace"
	done
	seed=$1
	while [ "$seed" -lt $(($1 + $2)) ]; do
		cmp -s "system.$seed" "ours.$seed" || echo "$seed"
		rm -f "system.$seed" "ours.$seed"
		seed=$((seed + 1))
	done
}

# agree FIRST NUMBER: programs that differ are run again.
agree()
{
	if play_both "$1" "$2"; then
		tally <ours.trace
		return
	fi

	tally <ours.trace
	for wrong in $(differing_seeds "$1" "$2"); do
		if ! differs "$wrong"; then
			echo "$wrong" >>once
			continue
		fi
		echo "program $wrong: - the system's library, + this one"
		diff -U 15 system.trace ours.trace | sed -n '3,50p'
		echo "$wrong" >wrong
		return 1
	done
}

# Count the handlers that were called, and how programs ended.
tally()
{
	sed -n -e 's/^[0-9]* [0-9]*: \([a-z ]*\).*/\1/p' \
		-e 's/^[0-9]* \(end of the program\)$/\1/p' \
		-e 's/^[0-9]* \(raw\|work\|thread ends\|fatal\|init\).*/\1/p' |
		sort | uniq -c >>tallies
}

all_called()
{
	awk '{ num[$2 " " $3 " " $4 " " $5] += $1 }
		END { for (what in num) print num[what], what }' tallies |
		sort -rn >tally
	cat tally
	for what in task timer event raw signal in out err watch work \
		'work here' completed status read fatal 'thread ends' tick \
		'end of the program'; do
		grep -q "^[0-9]* $what *\$" tally || {
			echo "no program had: $what"
			return 1
		}
	done
}

verdict "the player of the programs compiles" build
[ -x player ] || {
	echo "1..$num"
	exit 1
}
verdict "the player runs with this library" loads "$ours"
verdict "the player runs with the system's library" loads "$system"

: >once
: >tallies
begin=$(date +%s)
seed=$DIFFERENTIAL_SEED
programs=0
more()
{
	if [ -n "$DIFFERENTIAL_SECONDS" ]; then
		[ $(($(date +%s) - begin)) -lt "$DIFFERENTIAL_SECONDS" ]
	else
		[ "$programs" -lt "$DIFFERENTIAL_PROGRAMS" ]
	fi
}
: >wrong
while more && [ ! -s wrong ]; do
	verdict "programs $seed to $((seed + batch - 1)) behave alike" \
		agree "$seed" "$batch"
	seed=$((seed + batch))
	programs=$((programs + batch))
done
[ -s wrong ] || verdict "handlers of each kind were called" all_called
[ ! -s once ] ||
	echo "# differences that did not appear again: $(sort -u once | xargs)"
echo "1..$num"
