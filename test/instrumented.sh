#!/bin/sh
# libivykis: the tests under tools that watch what the programs do.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#	instrumented.sh TOOL...
#
#	asan		address, leak and undefined behaviour sanitizers
#	tsan		thread sanitizer
#	memcheck	valgrind
#	steps		pauses between any two steps of the library
#	kqueue		the poll method kqueue, over test/kqueue
#	kqueue_asan	the same under the sanitizers
#	kqueue_fuzz	the fuzzer with this poll method
#	coverage	gcov, and whether enough lines are reached
#
# Builds in TOOL.build below the current directory, and fails if a test fails or
# a tool reports anything.  Reports go to files in TOOL.build/reports, so that
# they count even if the process is killed.  Cases that cannot work under a tool
# are listed as skipped, with the reason.
#
# Environment: CC and MAKE; TOP_SRCDIR; TESTS, the programs to run; QUICK, if
# not empty, to run only programs in which the tool finds most, in few variants;
# WITH_URING, configure's option, to test the poll method uring as well.
set -u

: "${CC:=cc}" "${MAKE:=make}" "${QUICK:=}" "${TESTS:=}" "${WITH_URING:=}"
: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"

top=$PWD
jobs=$(nproc)
# shellcheck disable=SC2016
all='$(check_PROGRAMS)'

# build TOOL CFLAGS [CPPFLAGS [CONFIGURE-ARGUMENT...]]
build()
{
	build_in=$1.build
	build_flags="-g -O1 $2"
	build_cppflags=${3-}
	shift $(($# < 3 ? $# : 3))
	rm -rf "$build_in" &&
	mkdir -p "$build_in/reports" &&
	cd "$build_in" &&
	"$TOP_SRCDIR/configure" -q --disable-shared --disable-hardening \
		CC="$CC" CFLAGS="$build_flags" CPPFLAGS="$build_cppflags" \
		$WITH_URING "$@" &&
	"$MAKE" -s -j"$jobs" ${QUICK:+-C src} &&
	cd "$top" || return
}

# Prints verdicts other than PASS, and the number of each.
summary()
{
	awk -v tool="$1" '
	/^(PASS|FAIL|SKIP|ERROR|XPASS): / {
		verdict = $1
		sub(/:.*/, "", verdict)
		num[verdict]++
		if (verdict != "PASS")
			print
	}
	END {
		failed = num["FAIL"] + num["ERROR"] + num["XPASS"]
		printf "%s: %d passed, %d failed, %d skipped\n", tool,
			num["PASS"], failed, num["SKIP"]
		exit failed > 0 || num["PASS"] == 0
	}'
}

# run TOOL TESTS QUICK-TESTS [MAKE-VARIABLE...]
run()
{
	tool=$1
	tests=$2
	some=${TESTS:-${QUICK:+$3}}
	shift 3
	if [ -n "$QUICK" ]; then
		TEST_VARIANT=${variants-epoll-timerfd/eventfd poll/pipe eventfd pipe}
		TEST_VARIANT="$TEST_VARIANT${WITH_URING:+ uring/eventfd}"
		export TEST_VARIANT
	fi
	LIMITS=few "$MAKE" -k -j"$jobs" -C "$tool.build/test" check \
		TESTS="${some:-$tests}" ${some:+"check_PROGRAMS=$some"} "$@" \
		>"$tool.build/log" 2>&1
	status=$?
	summary "$tool" <"$tool.build/log" || status=1
	grep -q '^PASS' "$tool.build/log" || tail -n 20 "$tool.build/log"
	return "$status"
}

# Fails if there are reports.  These lines are no faults and are removed, one by
# one, as several processes may write at the same time.  LeakSanitizer may find
# threads that are ending when their process does.  libc may use a dead thread's
# memory for a new thread before ThreadSanitizer has noticed the death.  And
# valgrind does not support pidfd_open(2) and epoll_pwait2(2).
no_reports()
{
	find "$1.build/reports" -type f -exec sed -i \
		-e '/was not suspended. False leaks are possible/d' \
		-e '/ThreadSanitizer: dup thread with used id/d' \
		-e '/unhandled .* syscall: \(434\|441\)$/d' \
		-e '/-- You may be able to write your own handler/d' \
		-e '/-- Read the file README_MISSING_SYSCALL/d' \
		-e '/-- Nevertheless we consider this a bug/d' \
		-e '/-- it at http:..valgrind.org/d' {} +
	find "$1.build/reports" -type f -size +0 >"$1.build/reported"
	[ -s "$1.build/reported" ] || return 0
	xargs head -n 60 <"$1.build/reported"
	echo "$1: $(wc -l <"$1.build/reported") reports in $1.build/reports"
	return 1
}

asan()
{
	reports=$top/asan.build/reports
	ASAN_OPTIONS=log_path=$reports/asan:detect_stack_use_after_return=1
	UBSAN_OPTIONS=log_path=$reports/ubsan:print_stacktrace=1
	export ASAN_OPTIONS UBSAN_OPTIONS

	build asan "-fno-omit-frame-pointer -fsanitize=address,undefined \
		-fno-sanitize-recover=all" "-DCHECK_LEAKS -DIV_DEBUG" &&
	run asan "$all examples" "event event_raw event_raw_prepare \
		event_raw_process fd fd_pump inotify popen signal task \
		timer timer_fuzz tls ${WITH_URING:+uring} wait work"
}

# In the child of a process with threads, these would be reported as leaks.
tsan()
{
	TSAN_OPTIONS=log_path=$top/tsan.build/reports/tsan
	TSAN_OPTIONS=$TSAN_OPTIONS:die_after_fork=0:report_thread_leaks=0
	export TSAN_OPTIONS

	# The sanitizer delays signals until the next call that it intercepts,
	# which io_uring_enter(2) is not.
	WITH_URING=
	# The compiler warns that the sanitizer does not support fences.
	build tsan "-fsanitize=thread -Wno-tsan" &&
	run tsan "$all" "event event_raw thread work"
}

# All processes report to one descriptor, which exists before a case counts its
# own.  --run-libc-freeres=no leaves streams alone at an _exit(), as without
# valgrind.  Under valgrind all threads stop while one waits for io_uring(7), so
# only a program that has no other threads uses that.
memcheck()
{
	build memcheck "" || return
	valgrind="LOG_COMPILER=valgrind -q --log-fd=9 --fair-sched=yes \
		--child-silent-after-fork=no --run-libc-freeres=no \
		--leak-check=full --show-leak-kinds=definite,indirect \
		--errors-for-leak-kinds=definite,indirect --error-exitcode=99"
	rings=$WITH_URING
	WITH_URING=
	run memcheck "$all" "event_raw fd fd_pump task tls" "$valgrind" \
		9>>memcheck.build/reports/all || return
	[ -n "$rings" ] || return 0
	TESTS=fd QUICK=
	TEST_VARIANT="uring/eventfd uring/pipe" run memcheck "" "" "$valgrind" \
		9>>memcheck.build/reports/all
}

# Each program prints its STEPS_SEED, or takes it from the environment.
steps()
{
	QUICK=${QUICK:-steps}
	build steps "" -DIV_STEPS &&
	run steps "" "event event_raw event_raw_attack fork signal thread wait \
		work"
}

# build_over_kqueue TOOL CFLAGS [CPPFLAGS]: builds for a system that has a
# kqueue and no epoll(7).  udata is a pointer or, as in old NetBSD, a number.
build_over_kqueue()
{
	WITH_URING=
	shim=$TOP_SRCDIR/test/kqueue
	for udata in "" -DKQUEUE_UDATA_IS_INTPTR; do
		# shellcheck disable=SC2086
		$CC -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror $2 $udata \
			-I"$shim" -I"$TOP_SRCDIR/src/include" -c -o "$1.o" \
			"$TOP_SRCDIR/src/iv_fd_kqueue.c" || return
	done
	# shellcheck disable=SC2086
	$CC -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -g $2 -I"$shim" \
		-c -o "$1.o" "$shim/kqueue.c" &&
	ar cr "$1.a" "$1.o" &&
	build "$1" "$2" "-I$shim ${3-}" LIBS="$top/$1.a" \
		ac_cv_func_epoll_create1=no ac_cv_func_timerfd_create=no \
		ac_cv_func_pidfd_open=no
}

over_kqueue()
{
	build_over_kqueue "$@" &&
	variants="kqueue/eventfd kqueue/pipe eventfd pipe" &&
	TEST_VARIANT=$variants &&
	export TEST_VARIANT &&
	run "$1" "$all examples.sh" "fd fork kqueue/semantics"
}

kqueue()
{
	over_kqueue kqueue "-Werror"
}

kqueue_asan()
{
	reports=$top/kqueue_asan.build/reports
	ASAN_OPTIONS=log_path=$reports/asan:detect_stack_use_after_return=1
	UBSAN_OPTIONS=log_path=$reports/ubsan:print_stacktrace=1
	export ASAN_OPTIONS UBSAN_OPTIONS

	over_kqueue kqueue_asan "-fno-omit-frame-pointer \
		-fsanitize=address,undefined -fno-sanitize-recover=all" \
		"-DCHECK_LEAKS -DIV_DEBUG"
}

# Runs random inputs for FUZZ_SECONDS, beginning with the corpus.
kqueue_fuzz()
{
	CC=clang
	QUICK=1
	options=log_path=$top/kqueue_fuzz.build/reports/fuzz
	mkdir -p kqueue_fuzz.found &&
	build_over_kqueue kqueue_fuzz "-fno-sanitize-recover=all \
		-fsanitize=address,undefined,fuzzer-no-link" &&
	"$MAKE" -s -C kqueue_fuzz.build/test fuzz/fuzz &&
	ASAN_OPTIONS=$options UBSAN_OPTIONS=$options \
		kqueue_fuzz.build/test/fuzz/fuzz \
		-max_total_time="${FUZZ_SECONDS:-600}" -max_len=512 -timeout=60 \
		-len_control=20 -print_final_stats=1 \
		-artifact_prefix=kqueue_fuzz.found/ kqueue_fuzz.found \
		"$TOP_SRCDIR/test/fuzz/corpus"
}

# In these sources the tests must reach everything except what test/unreached
# lists; elsewhere, 95% of the lines.
core='iv_(event|event_raw|fd|fd_epoll|fd_poll|main|task|timer)[.]c'

# Prints FILE:LINE of each line in the column "Missing" of gcovr's table.
missing()
{
	awk '/^src\// && NF == 5 {
		num = split($5, ranges, ",")
		for (i = 1; i <= num; i++) {
			split(ranges[i] "-" ranges[i], ends, "-")
			for (line = ends[1]; line <= ends[2]; line++)
				print $1 ":" line
		}
	}' "$1"
}

# Prints FILE:LINE of each line in test/unreached.
listed()
{
	while IFS='	' read -r file count text; do
		case $file in '' | '#'*) continue ;; esac
		awk -v name="src/$file" -v count="$count" -v text="$text" '
		index($0, text) {
			found = 1
			for (i = 0; i < count; i++)
				print name ":" NR + i
		}
		END {
			exit !found
		}' "$root/src/$file" || {
			echo "test/unreached: no such line in $file: $text" >&2
			return 1
		}
	done <"$root/test/unreached"
}

# Prints gcovr's results, and fails if too little of a file is reached.  gcovr
# ignores errors, as a process that is killed may leave negative counts.
enough()
{
	root=$(cd "$TOP_SRCDIR" && pwd)
	out=$top/coverage.build/coverage
	set -- -r "$root" -f "$root/src/" --exclude-unreachable-branches \
		--gcov-ignore-parse-errors coverage.build/src coverage.build/test
	gcovr --branches "$@" >"$out.branches" 2>"$out.errors" &&
	gcovr "$@" >"$out.lines" 2>>"$out.errors" &&
	gcovr --csv "$out.csv" "$@" 2>>"$out.errors" || {
		cat "$out.errors"
		return 1
	}
	cat "$out.branches" "$out.lines"
	listed >"$out.listed" || return
	few=0
	{ missing "$out.lines"; missing "$out.branches"; } | sort -u |
		grep -E "/$core:" | grep -vxFf "$out.listed" && few=1
	awk -F, -v core="/$core" '
	function percent(covered, total)
	{
		return total ? 100 * covered / total : 100
	}
	NR > 1 {
		lines = percent($3, $2)
		short = $1 !~ core && lines < 95
		failed += short
		printf "%-24s %5.1f%% of lines %5.1f%% of branches%s\n", $1,
			lines, percent($6, $5), short ? ": too few" : ""
	}
	END {
		exit failed || NR < 2
	}' "$out.csv" || few=1
	return "$few"
}

coverage()
{
	CC=gcc
	build coverage "-O0 --coverage -fprofile-update=atomic" \
		-DCHECK_COVERAGE &&
	run coverage "$all" "" \
		LDFLAGS="-Wl,--wrap=_exit,--wrap=abort,--wrap=__gcov_execvp" &&
	enough
}

failed=
for tool in "$@"; do
	("$tool") && passed=yes || passed=no
	no_reports "$tool" || passed=no
	[ "$passed" = yes ] || failed="$failed $tool"
done
[ -z "$failed" ] && exit
echo "failed:$failed"
exit 1
