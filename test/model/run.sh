#!/bin/sh
# libivykis: verifies the models of the protocols, and that each seeded bug is
# caught.
# SPDX-License-Identifier: LGPL-2.1-or-later

command -v spin >/dev/null || {
	echo '1..0 # SKIP spin is not installed'
	exit 0
}

models=$(cd "$(dirname "$0")" && pwd) || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1

n=0
failed=0

# verdict STATUS TEXT: prints the verifier's output, too, if it failed.
verdict()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		failed=1
		echo "not ok $n - $2"
		sed 's/^/# /' out
	fi
}

# verify 'spin options' 'compiler options' 'verifier options' model
#
# With -DNOREDUCE no order of steps is left out, even if it is equivalent to
# another one.
verify()
{
	rm -f pan*
	{
		spin -a $1 "$models/$4.pml" &&
		${CC-cc} $2 -DNOREDUCE -DMEMLIM=$memory -w -o pan pan.c &&
		./pan -m10000 $3
	} >out 2>&1
}

# Was the whole state space searched, without an error?
is_complete()
{
	grep -q 'errors: 0$' out &&
	! grep -Eq 'not completed|too small|truncated|MEMLIM|out of memory' out
}

# The top of each model explains the -D options.
holds()
{
	verify "$2" "-O2 -DSAFETY $collapse" -w22 "$1" && is_complete
	verdict $? "$1 $2: the protocol holds ($(
		sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out) states)"
}

ends()
{
	verify "$2" '-O2 -DNP' '-l -w20' "$1" && is_complete
	verdict $? "$1 $2: every execution ends"
}

# An assertion has to fail; another error is not enough.
caught()
{
	model=$1
	options=$2
	shift 2
	for bug; do
		verify "$options -D$bug" -DSAFETY -w20 "$model"
		grep -q 'assertion violated' out
		verdict $? "$model: $bug is caught"
	done
}

memory=3000
collapse=
holds iv_event_raw
holds iv_event_raw -DPIPE
holds iv_event_raw '-DPOSTS=3 -DNO_CHILD'
holds iv_event_raw '-DPOSTS=3 -DADOPT'
holds iv_event_raw '-DOUTSIDER -DADOPT'
holds iv_event_raw '-DOUTSIDER -DADOPT -DPIPE'
ends iv_event_raw '-DPOSTS=1 -DOUTSIDER'
ends iv_event_raw -DADOPT
caught iv_event_raw -DNO_CHILD NO_FENCE_A NO_FENCE_B NO_FENCE_C \
	NO_ORDER_AFTER_BIT SKIP_ON_BIT STATE_BEFORE_BIT RUNG_BEFORE_WRITE \
	RUNG_OF_ANY_EPOCH HANDLER_BEFORE_TAKE CHECK_BEFORE_ASLEEP \
	RING_IS_PLAIN NOT_GONE GONE_LATER
caught iv_event_raw '' NO_FENCE_D NOT_FOREIGN NO_FOREIGN_CHECK \
	NO_FOREIGN_CHECK_IF_SET NO_TAKE_OVER TAKE_OVER_WITHOUT_RING \
	PLAIN_IF_FOREIGN TAKE_ALL
caught iv_event_raw -DADOPT NOT_FOREIGN NO_TAKE_OVER
caught iv_event_raw '-DPIPE -DOUTSIDER -DADOPT' FULL_IS_RINGS

holds iv_event -DNO_FORK
holds iv_event '-DPOSTS=2 -DNO_FORK -DNO_TWO'
holds iv_event '-DPOSTS=2 -DNO_TWO -DNO_SIGNAL'
ends iv_event -DNO_FORK
ends iv_event '-DNO_TWO -DNO_SIGNAL'
caught iv_event -DNO_FORK NO_ORDER_AFTER_PUSH NO_FENCE_B CHECK_BEFORE_ASLEEP \
	CHECK_BOARD_ONLY MARK_AFTER_HANDLER
caught iv_event '-DNO_TWO -DNO_SIGNAL' RELIES_ON_RUNG RUNG_THOUGH_FOREIGN \
	NO_TAKE_OVER

# These take an hour and 16 GB.
if [ "${TEST_MODEL_LONG-}" ]; then
	memory=16000
	collapse=-DCOLLAPSE
	holds iv_event_raw -DPOSTS=3
	holds iv_event_raw '-DOUTSIDER -DPIPE'
	holds iv_event_raw '-DPOSTS=4 -DNO_CHILD'
	holds iv_event_raw '-DPOSTS=4 -DADOPT'
	holds iv_event -DNO_TWO
	holds iv_event '-DPOSTS=2 -DNO_FORK'
fi

echo "1..$n"
exit $failed
