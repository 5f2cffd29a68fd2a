#!/bin/sh
# libivykis: bugs of earlier versions that are fixed in this one.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A case of a test program shows each bug.  The program is built with the
# headers and the library that the system has installed.  It has to fail in the
# described way with that library, and to pass with the library of this tree.
#
#	old_bugs.sh			all bugs
#	old_bugs.sh TEXT		those whose line contains TEXT
#
# The script fails if one line is wrong.  A bug that is not shown has a reason.
# Environment: CC, CXX, TOP_SRCDIR, TOP_BUILDDIR.
set -u

# All of them take longer than the usual limit of a script.
: "${TAP_LIMIT:=7200}"
: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
# shellcheck source=test/system_library.sh
. "$TOP_SRCDIR/test/system_library.sh"
cd "$dir" || exit 1

only=${1-}
: "${CXX:=c++}"
ours=$TOP_BUILDDIR/src/.libs
shown=0
unshown=0
skipped=0
wrong=0

if ! find_system; then
	echo "libivykis-dev 0.43 or before is not installed"
	exit 1
fi

wanted()
{
	case $* in *"$only"*) ;; *) return 1 ;; esac
}

# line NAME DEFECT PROGRAM OUTCOME
line()
{
	printf '%-8s %-50s  %-18s %s\n' "$1" "$2" "$3" "$4"
}

is_wrong()
{
	wrong=$((wrong + 1))
	line "$1" "$2" "$3" "WRONG: $4"
	[ ! -s "${5-}" ] || sed 's/^/    /' "$5"
}

# Functions that the system's library lacks abort if they are called.
build()
{
	[ -x "$system/$1" ] && return
	wraps=
	[ "$1" != timer ] || wraps=-Wl,--wrap=calloc,--wrap=free
	# shellcheck disable=SC2086 # none or one word
	build_system "$1" $wraps -L"$system" -livykis 2>errors && return
	cat >absent.c <<-END
	#include <stdlib.h>
	int iv_event_raw_export(void *raw) { abort(); }
	int iv_event_raw_post_fd(int fd) { abort(); }
	int iv_event_raw_prepare(void *raw) { abort(); }
	int iv_event_raw_adopt(void *raw) { abort(); }
	int iv_init_try(void) { abort(); }
	int iv_loop_fd(void) { abort(); }
	int iv_main_once(void *limit) { abort(); }
	void iv_set_busy_poll(unsigned int usec) { abort(); }
	void iv_timer_register_in_ms(void *timer, long ms) { abort(); }
	int iv_wait_interest_register_try(void *interest) { abort(); }
	void iv_work_pool_submit_continuation(void *a, void *b) { abort(); }
	END
	$CC -w -c absent.c &&
	build_system "$1" $wraps absent.o -L"$system" -livykis
}

# run LIBRARY SECONDS PROGRAM CASE VARIANT
run()
{
	# shellcheck disable=SC2086 # several words
	LD_LIBRARY_PATH=$1 TEST_VARIANT=$5 \
		timeout --foreground -k 5 "$2" $tool "$system/$3" "$4" \
		>out 2>&1
	status=$?
	[ $status != 124 ] || echo 'did not end' >>out
	return $status
}

# passes_with_system SECONDS PROGRAM CASE VARIANT: the case is run $times times,
# as some bugs show by chance.
passes_with_system()
{
	time=0
	while [ $time -lt $times ]; do
		time=$((time + 1))
		run "$system" "$@" || return 1
	done
}

# row NAME DEFECT PROGRAM CASE VARIANT WORDS: with the system's library the
# program has to print one of the lines of WORDS.  It has hung if it takes ten
# times as long as with this library, and five seconds more.
row()
{
	wanted "$@" || return 0
	if ! build "$3" >out 2>&1; then
		is_wrong "$1" "$2" "$3" "it does not compile" out
		return
	fi

	begun=$(date +%s)
	if ! run "$ours" 900 "$3" "$4" "$5" || ! grep -q '^ok' out; then
		is_wrong "$1" "$2" "$3" "fails with this library" out
		return
	fi
	if grep -q '^ok.* # SKIP' out; then
		skipped=$((skipped + 1))
		line "$1" "$2" "$3" \
			"skipped: $(sed -n 's/^# skipped: //p' out)"
		return
	fi

	limit=$((5 + 10 * ($(date +%s) - begun)))
	if passes_with_system $limit "$3" "$4" "$5"; then
		is_wrong "$1" "$2" "$3" "passes on the system's library" out
	elif ! grep -aqF -- "$6" out; then
		is_wrong "$1" "$2" "$3" "fails without printing \"$6\"" out
	else
		shown=$((shown + 1))
		line "$1" "$2" "$3" "$(grep -aoF -- "$6" out | head -n 1)"
	fi
}

# A row whose bug memcheck finds.
memcheck()
{
	if ! command -v valgrind >/dev/null; then
		wanted "$@" || return 0
		skipped=$((skipped + 1))
		line "$1" "$2" "$3" "skipped: valgrind is not installed"
		return
	fi
	tool="valgrind -q --error-exitcode=1"
	row "$@"
	tool=
}

# newer FUNCTION ROW...: a row for libraries that have this function.
newer()
{
	if nm -D "$system/libivykis.so.0" | grep -q "$1"; then
		shift
		row "$@"
	else
		cannot "$2" "$3" "the system's library has no $1"
	fi
}

# cannot NAME DEFECT REASON
cannot()
{
	wanted "$@" || return 0
	unshown=$((unshown + 1))
	line "$1" "$2" - "not shown: $3"
}

# header NAME DEFECT SUFFIX TEXT COMPILER...: TEXT does not compile with the
# system's headers.
header()
{
	wanted "$@" || return 0
	id=$1
	defect=$2
	text=header.$3
	printf '%b\n' "$4" >"$text"
	shift 4
	if ! "$@" -fsyntax-only -I"$TOP_SRCDIR/src/include" "$text" \
	     >out 2>&1; then
		is_wrong "$id" "$defect" "$text" "fails with our headers" out
	elif "$@" -fsyntax-only -I"$system/include" "$text" >out 2>&1; then
		is_wrong "$id" "$defect" "$text" "compiles with both headers"
	else
		shown=$((shown + 1))
		line "$id" "$defect" "$text" \
			"$(sed -n 's/.*error: //p' out | head -n 1 | cut -c 1-60)"
	fi
}

# clang's sanitizer traps what it would report.
uses_null()
{
	clang -std=gnu11 -w -fsanitize=null -fsanitize-trap=null -I"$1" \
		container_of.c -o container_of >out 2>&1 || return 2
	./container_of >>out 2>&1
	test $? -gt 128
}

null_pointer()
{
	wanted "$@" || return 0
	if ! command -v clang >/dev/null; then
		skipped=$((skipped + 1))
		line "$1" "$2" "$3" "skipped: clang is not installed"
		return
	fi
	cat >container_of.c <<-END
	#include <stddef.h>
	#include <iv_list.h>
	struct s { int i; struct iv_list_head list; } s;
	int main(void)
	{
		struct iv_list_head *list = &s.list;
		return iv_container_of(list, struct s, list) != &s;
	}
	END
	uses_null "$TOP_SRCDIR/src/include"
	here=$?
	if [ $here = 1 ] && uses_null "$system/include"; then
		shown=$((shown + 1))
		line "$1" "$2" "$3" "trapped by clang's sanitizer"
	else
		is_wrong "$1" "$2" "$3" "not the system's library alone" out
	fi
}

# host LIBRARY MODE ROUNDS: as in test/plugin.
host()
(
	# shellcheck disable=SC3045 # not in every sh
	ulimit -s 128
	MALLOC_ARENA_MAX=1 LD_LIBRARY_PATH=$1 \
		./plugin_host "$3" "$2" ./plugin_part.so
)

# plugin NAME DEFECT MODE ROUNDS STATUS: the exit status of a program that
# unloads a plugin with the system's library.
plugin()
{
	wanted "$@" || return 0
	if ! compile_system "$TOP_SRCDIR/test/plugin_part.c" part.o -fPIC \
	     >out 2>&1 ||
	   ! $CC -shared part.o -L"$system" -livykis -o plugin_part.so \
	     >out 2>&1 ||
	   ! $CC -pthread "$TOP_SRCDIR/test/plugin_host.c" -o plugin_host \
	     -ldl >out 2>&1; then
		is_wrong "$1" "$2" plugin "it does not compile" out
		return
	fi
	if ! host "$ours" "$3" "$4" >out 2>&1; then
		is_wrong "$1" "$2" plugin "fails with this library" out
		return
	fi
	host "$system" "$3" "$4" >out 2>&1
	status=$?
	if [ $status = "$5" ]; then
		shown=$((shown + 1))
		line "$1" "$2" plugin "exit status $status"
	else
		is_wrong "$1" "$2" plugin "exit status $status, not $5" out
	fi
}

tool=
times=3
each=epoll-timerfd/eventfd
poll=poll/eventfd

for alone in iv_list iv_avl iv_tls iv_wait; do
	header headers "$alone.h does not compile alone" c \
		"#include <$alone.h>" "$CC" -std=gnu11
done
for alone in event event_raw signal popen work inotify fd_pump; do
	header headers "iv_$alone.h is no C++" cc \
		"#include <stddef.h>\n#include <iv_$alone.h>" "$CXX"
done
header headers "iv_container_of needs GNU C" c \
	'#include <stddef.h>\n#include <iv_list.h>\n
	struct s { struct iv_list_head l; };\n
	struct s *f(struct iv_list_head *l);\n
	struct s *f(struct iv_list_head *l)\n
	{ return iv_container_of(l, struct s, l); }' \
	"$CC" -std=c11 -Werror
header headers "IV_AVL_TREE_INIT is for new C++ only" cc \
	'#include <stddef.h>\n#include <iv_avl.h>\n
	int f(const struct iv_avl_node *, const struct iv_avl_node *);\n
	iv_avl_tree t = IV_AVL_TREE_INIT(f);' \
	"$CXX" -std=c++11 -pedantic-errors
header headers "parameters that are not used" c \
	'#include <stddef.h>\n#include <iv_event.h>' \
	"$CC" -Wall -Wextra -Werror
header headers "struct timespec is incomplete in C99" c \
	'#include <iv.h>' "$CC" -std=c99
null_pointer headers "iv_container_of looks through a null pointer" container_of

row start "iv_init does not check whether it got memory" \
	tls 'without memory for a loop' - 'wait status 0xb'
row start "iv_tls_user_ptr takes another's key for its own" \
	tls "another library's key is not taken for ours" - \
	'not so: iv_tls_user_ptr(&user) == NULL'
row start "IV_TASK_INIT does, too" \
	task 'tasks may be initialised before there is a loop' $each \
	'Segmentation fault'
row start "iv_init twice loses the first loop" \
	loop 'a second iv_init keeps the loop' $each 'num_descriptors() is'
row start "calls without a loop crash" \
	fatal 'calls that need a loop are fatal' $each 'wait status 0xb'
row start "iv_deinit with an event leaks a descriptor" \
	event 'iv_deinit with events registered' $each 'num_descriptors() is'
row start "a fatal handler that fails recurses" \
	fatal 'a handler that calls iv_fatal' - 'is 11, not 6'
plugin start "a thread ends after the library was unloaded" leave 1 139
plugin start "each time it is loaded it takes another thread key" clean 2000 134
cannot start "a thread's key that takes no value is not noticed" \
	"libc has room for 32 keys without memory"
cannot start "modes and the fatal handler change unsynchronised" \
	"a race in compiled code, known by reading"

row limits "the hard limit of descriptors is lowered" \
	process 'the first iv_init raises RLIMIT_NOFILE' - rlim_max
row limits "a soft limit above 131072 is lowered" \
	process 'a soft limit above 131072 stays' - rlim_cur
cannot limits "hard limits above 2^31 are taken for small ones" \
	"no kernel grants them"
# In half of the runs the random contents of the stack do no harm.
times=50
row limits "a failing getrlimit is not noticed" \
	process 'the limit can be neither read nor set' - Aborted
times=3
row limits "IV_EXCLUDE_POLL_METHOD has effect if gids differ" \
	process 'ignored if real and effective' - \
	'the method is epoll,'
cannot limits "... and for programs with file capabilities" \
	"the loader would not take the library, either"

row poll "no descriptor at first: ppoll for ever" \
	process 'without a descriptor for epoll the method' - \
	'not so: !strcmp(name, want)'
row poll "no descriptor later: fatal" \
	process 'that begin at the limit of descriptors' - 'status is'
memcheck poll "poll writes before its array" \
	fd 'a descriptor without handlers keeps the loop' $poll \
	'Invalid write of size 2'
row poll "poll writes behind its array" \
	fd '70000 objects may watch one descriptor' $poll Aborted
row poll "poll spins on a number that is not open" \
	fd 'a descriptor that the kernel rejects' $poll 'did not end'
row poll "many descriptors need a large stack" \
	fd 'enough for 15000 ready descriptors' $each \
	'Segmentation fault'
cannot poll "poll takes 1 MiB for each loop" "a cost; no case has a limit"
row poll "a timerfd that cannot be opened is fatal" \
	process 'without a descriptor for the timerfd' - Aborted

row time "an old iv_now delays timers" \
	time 'an old iv_now delays no timer' $each 'did not end'
row timer "a negative time is fatal" \
	timer 'any negative time is in the past' $each Aborted
row timer "a tv_nsec out of range is fatal" \
	timer 'tv_nsec may have any value' $each Aborted
row task "a task that was copied is unusable" \
	task 'a copy of an unregistered task may be registered' $each \
	'iv_task_registered(&copy) is 1, not 0'

row fd "register_try of a number above 65535 is fatal" \
	fd 'descriptors above 65535 work like others' $poll Aborted
row fd "register_try leaves errno 0" \
	fd 'register_try returns EBADF for a number' $poll \
	'errno is 0, not 9'
row fd "registering leaves errno ENOTSOCK" \
	fd 'calls that succeed keep errno' $each 'errno is 88'
row fd "fatal messages name no descriptor" \
	fd 'a descriptor that the kernel rejects' $each \
	'which should contain "descriptor'

row fd "closing before unregistering is fatal" \
	fd 'closed descriptor may be unregistered' $each Aborted
row fd "poll spins on an O_PATH descriptor" \
	fd 'an O_PATH descriptor is fatal' $poll 'did not end'
row fd "the loop takes the number of standard input" \
	fd 'number of a closed standard input' $each '(fcntl(0, 1)) is'

row event "no descriptor: registering is fatal" \
	event 'registering fails at the descriptor limit' $each Aborted
row event "no descriptor: the loop runs for ever" \
	event 'registering fails at the descriptor limit' $poll 'did not end'
row event "one thread's failure takes others' wakeups" \
	event 'a loop that cannot get a wakeup' $each 'errno is 9'
row event "its pipe is not close-on-exec" \
	event 'pipes that are used instead of an eventfd' $each 'FD_CLOEXEC'
cannot event "unregistering looks at the queue without the lock" \
	"a race in compiled code, seen by the thread sanitizer"
row event "a post is fatal after a child unregistered" \
	fork 'a child that unregisters leaves the parent all' $each Aborted

row raw "a failure prints to standard error" \
	event_raw_refused 'registering fails for as long as' $each \
	'lseek(s->mem, 0, SEEK_CUR) is'
row raw "a post changes errno" \
	event_raw 'a post keeps errno' $each 'errno is 11'
row raw "eventfd or pipe is one choice for all objects" \
	event_raw_refused 'keeps its eventfd when eventfd(2) is missing' $each \
	'did not end'
row raw "a pipe is inherited by exec for a moment" \
	event_raw_refused 'a pipe is created with its flags' $each \
	'iv_event_raw_register(&c.ev) is -1'
row tls "sizes overflow unnoticed" \
	tls 'sizes that overflow are fatal' - 'wait status 0,'

# Which of these happens depends on a race.
hangs_or_aborts='did not end
Aborted
status is 6'

row fork "a child that unregisters stops the parent's events" \
	fork 'a child that unregisters a descriptor' $each 'did not end'
row fork "parent and child disturb each other" \
	fork 'parent and child may run the loop' $each \
	"$hangs_or_aborts"
row fork "a child takes the parent's timer" \
	fork 'a timer of the parent fires whatever the child' $each \
	"$hangs_or_aborts"

row fork "a child that closed all cannot unregister" \
	fork 'closed all that it inherited loses' $each 'status is 6'

row signal "no descriptor: registered all the same" \
	signal 'at the descriptor limit registering fails' $each \
	'(iv_signal_register(&c.s)) is 0, not -1'
row signal "unusable signal numbers are fatal" \
	signal 'an unusable signal number is refused' - Aborted
row signal "a child that unregisters counts wrong" \
	signal 'a child may unregister inherited objects' $each 'status is 10'
row signal "SIGPIPE is not ignored afterwards" \
	signal 'unregistering the last object restores SIG_IGN' - \
	'not so: disposition(SIGPIPE) == SIG_IGN'
row signal "a signal changes errno" \
	signal 'the signal handler keeps errno' eventfd 'status is 1280'
row signal "a thread's own fault is repeated for ever" \
	signal "a thread's own fault has the same effect" - 'did not end'
row signal "the handler runs on a stack that is too small" \
	signal "the signal handler runs on a thread's alternate stack" - \
	'Segmentation fault'

row wait "a child without an interest: NULL dereference" \
	wait 'a child may die after its interest was unregistered' $each \
	'Segmentation fault'
row wait "all children are waited for" \
	wait 'the stop of a child without an interest is left' $each \
	'WUNTRACED | WNOHANG) is 0'
row wait "no descriptor: registered all the same" \
	wait 'at the descriptor limit spawn fails' $each \
	'is 0, not -1'
row wait "reports depend on one thread's loop" \
	wait "reports do not depend on another thread's loop" $each 'did not end'
row wait "a second interest corrupts the set" \
	wait 'two interests in one child get every report' $each 'did not end'
row wait "a spawned child inherits a held lock" \
	wait 'iv_wait_interest_kill returns in a spawned child' - \
	'did not end'
row wait "a spawned child swallows signals" \
	wait 'a spawned child never swallows a signal' - 'did not end'
row wait "a forked child's interests get no reports" \
	wait 'new interests of a forked child get reports' $each 'did not end'
row wait "the end of a child that other code reaped is lost" \
	wait 'the end of a child that other code reaped' $each \
	'did not end'

row popen "a child inherits another request's pipe" \
	popen "a child does not inherit another request's pipe" - 'did not end'
row popen "closed standard descriptors lose the output" \
	popen "the caller's standard descriptors may be closed" - 'read ""'
row popen "closing twice crashes" \
	popen 'closing a request again does nothing' $each Aborted
row popen "closing after a failure crashes" \
	popen 'at the descriptor limit submit fails' $each \
	'Segmentation fault'
row popen "the child of a failed exec prints buffered text" \
	popen 'the child of a failed exec prints nothing' - \
	'read "pending text"'
row popen "a child swallows the signal of an early close" \
	popen 'a child never swallows the signal of an early' - 'did not end'
row popen "a request submitted again forgets its program" \
	popen 'a request may be submitted again while' $each 'did not end'
row popen "no program runs without /dev/null" \
	popen 'without /dev/null a child reads nothing' - 'read ""'
row popen "the caller's end is standard output" \
	popen "the caller's end is never a standard descriptor" - \
	'not so: fd > 2'
row popen "the end of a child that other code reaped is lost" \
	popen 'the end of a child that other code reaped' $each \
	'did not end'
row popen "a child that cannot be sent a signal is given up" \
	popen 'a child that cannot be sent a signal is waited for' $each \
	'not -1 (errno 0)'

row work "idle threads are not woken for a burst" \
	work 'as many run at once in threads that have been idle' $each \
	'did not end'
newer iv_work_pool_submit_continuation work \
	"idle threads are not woken for continuations" \
	work 'as many run at once if one item submits' $each 'did not end'
row work "no thread allowed: items are dropped" \
	work 'the owner runs the items if no threads are allowed' $each \
	'runs is 0, not 1'
row work "threads refused: items are dropped" \
	work 'the owner runs the items if the kernel refuses' $each \
	'runs is 0, not 1'
row work "no descriptor: created all the same" \
	work 'at the descriptor limit creating a pool fails' $poll \
	'is 0, not -1'
newer iv_work_pool_submit_continuation work "thread_stop runs locked" \
	work 'threads idle for ten seconds end' - 'did not end'

row thread "threads that outlive their creator's loop crash" \
	thread "threads may outlive their creator's loop" $each Aborted
row thread "no descriptor: created all the same" \
	thread 'creating fails with EMFILE' $poll \
	'is 0, not -1
Segmentation fault'
row thread "no name crashes" \
	thread 'a NULL name is an empty name' - 'Segmentation fault'
cannot thread "ids and the debug flag are read unsynchronised" \
	"a race in compiled code, known by reading"

row inotify "unregistering at once writes to a random address" \
	inotify 'private members need not be initialised' $each \
	'Segmentation fault'
row inotify "unregistering a watch that is gone damages the set" \
	inotify 'unregistering after IN_IGNORED does nothing' - \
	'others[i].calls is 0, not 1'
row inotify "a second watch replaces the first one's mask" \
	inotify 'a second watch for a file fails with EEXIST' - \
	'errno is 0, not 17'
row inotify "an overflow is not reported" \
	inotify 'an overflow calls each watch once' - \
	'overflows is 0, not 1'
row inotify "the descriptor is inherited by exec for a moment" \
	inotify 'the descriptor is created close-on-exec' - \
	'init_flags is 0'
row inotify "reading needs a large stack" \
	inotify 'a stack of 64 KiB is enough' $each 'Segmentation fault'

row F1 "what splice(2) rejects is lost" \
	fd_pump 'copied to output that splice(2) rejects' - 'is -1, not 1'
row F2 "with a full pipe it goes on asking for input" \
	fd_pump 'input is not asked for, nor its end' - \
	'not so: wanted <= 1'
row F3 "threads confuse pipes and memory" \
	fd_pump 'splice(2) may fail in one thread' - 'buf[i] is'
row F4 "without a descriptor it fails" \
	fd_pump 'a pump works without free descriptors' - 'is -1, not 1'
row F5 "slow for ever after a lack of descriptors" \
	fd_pump 'a lack of descriptors for the first pump' - \
	'moved_at_once(fd) > 4096'
row F6 "it goes on after an error" \
	fd_pump 'after an error a pump moves nothing' - 'is 1, not -1'
row F7 "an input error loses what was read" \
	fd_pump 'buffered bytes are written before an input' - \
	'is -1, not 1'
row F8 "what a program wrote to a terminal is lost" \
	fd_pump 'all that a program wrote to a terminal' - 'drained is'
row L1 "objects are lost if a handler jumps out" \
	leave 'are served after longjmp' poll/eventfd 'calls is 1, not 2'
row L2 "without a system log a fatal error prints nothing" \
	fatal 'the message goes to standard error' - '"" was written'
row L3 "a fatal error in a cancelled thread ends the thread" \
	fatal 'in a cancelled thread ends the process' - 'is 0, not 6'

echo "$shown shown, $unshown not shown, $skipped skipped, $wrong wrong"
[ "$wrong" = 0 ] && [ "$shown" -gt 0 ]
