#!/bin/sh
# libivykis: do the tests notice the bugs that they are about?
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Each mutant is the library with one seeded bug.  The named case of a test
# program has to pass with the library, and to fail with the mutant.
#
#	mutants.sh			all
#	mutants.sh WORD		those whose description contains WORD
#	mutants.sh "" 2/4		the second of each four in a row
#
# Environment: CC, CFLAGS, TOP_SRCDIR, TOP_BUILDDIR.

set -u
CC=${CC:-cc}
top=${TOP_SRCDIR:-$(dirname "$0")/..}
only=${1-}
part=${2:-1/1}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# What configure has found.
defs=$(sed -n 's/^IV_DEFS = //p' "${TOP_BUILDDIR:-$top/build}/Makefile")
[ -n "$defs" ] || exit 1
uring=
case $defs in *-DHAVE_URING*) uring=-luring ;; esac
# As in test/Makefile.am.
echo '#include <sys/syscall.h>' | $CC -E -dM -x c - | sed -n \
	's/^#define __NR_\([a-z0-9_]*\) .*/{ "\1", __NR_\1 },/p' \
	>"$tmp/syscalls.h"
# These flags make a system with a kqueue: see test/kqueue/README.
$CC -std=gnu11 -D_GNU_SOURCE -O2 -w -I"$top/test/kqueue" -c \
	"$top/test/kqueue/kqueue.c" -o "$tmp/kqueue.o" || exit 1
echo "-UHAVE_EPOLL -UHAVE_EPOLL_CREATE1 -DHAVE_KQUEUE
	-I$top/test/kqueue $tmp/kqueue.o" >"$tmp/kqueue"
kqueue=@$tmp/kqueue
memory=-Wl,--wrap=calloc,--wrap=free
steps=-Wl,--wrap=calloc,--wrap=iv_timer_run
echo "$kqueue $memory" >"$tmp/kqueue.memory"
echo "$kqueue $steps" >"$tmp/kqueue.steps"
seen=0
number=0
failed=0

# wanted DESCRIPTION
wanted() {
	case $1 in *"$only"*) ;; *) return 1 ;; esac
	seen=$((seen + 1))
	[ $((seen % ${part#*/})) = $((${part%/*} % ${part#*/})) ]
}

# compile FLAGS SOURCE OBJECT
compile() {
	$CC -std=gnu11 ${CFLAGS:--O2} -w $defs $1 -I"$top/src/include" \
		-I"$top/src" -I"$top/test" -I"$tmp" -c "$2" -o "$3"
}

# objects FLAGS PROGRAM: compiles the library and the program without a bug,
# once for each set of flags.
objects() {
	dir=$tmp/objects$1
	mkdir -p "$dir"
	for src in "$top"/src/iv_*.c "$top"/test/check.c \
			"$top"/test/check_linux.c "$top/test/$2.c"; do
		# These are for other systems.
		case $src in
		*/iv_inotify_none.c | */iv_loop_fd_none.c) continue ;;
		*/iv_fd_epoll.c) [ "${1#"$kqueue"}" = "$1" ] || continue ;;
		*/iv_fd_kqueue.c) [ "${1#"$kqueue"}" != "$1" ] || continue ;;
		*/iv_fd_uring.c) [ -n "$uring" ] || continue ;;
		esac
		obj=$dir/$(basename "$src" .c).o
		[ -e "$obj" ] || compile "$1" "$src" "$obj" || return 1
	done
}

# link FLAGS PROGRAM FILE OBJECT OUTPUT: the object in place of the file's.
# shellcheck disable=SC2010
link() {
	$CC $1 -o "$5" "$4" $(ls "$tmp/objects$1"/iv_*.o |
		grep -v "/$3\.o$") "$tmp/objects$1/check.o" \
		"$tmp/objects$1/check_linux.o" \
		"$tmp/objects$1/$2.o" -pthread $uring
}

# passes EXECUTABLE CASE VARIANT: a case that does not end has failed, too.
passes() {
	TEST_VARIANT=$3 timeout -k 1 $limit "$1" "$2" >"$tmp/out" 2>&1 &&
		grep -q '^ok' "$tmp/out" && ! grep -q SKIP "$tmp/out"
}

# The time that a case takes without the bug sets the limit for the mutant.
sound_passes() {
	limit=600
	begin=$(date +%s)
	passes "$@" || return 1
	limit=$((8 + 10 * ($(date +%s) - begin)))
}

# Some cases fail only by chance, so they are repeated.
survives() {
	for try in 1 2 3 4 5 6 7 8 9 10 11 12; do
		passes "$@" || return 1
	done
}

verdict() {
	number=$((number + 1))
	case $1 in not*)
		failed=1
		sed 's/^/# /' "$tmp/out"
	esac
	echo "$1 $number - $2${3:+ # SKIP $3}"
}

# mutant DESCRIPTION FILE SED PROGRAM CASE VARIANT [FLAGS]
mutant() {
	wanted "$1" || return
	flags=${7-}
	: >"$tmp/out"

	if ! objects "$flags" "$4" >"$tmp/out" 2>&1 ||
	   ! link "$flags" "$4" "$2" "$tmp/objects$flags/$2.o" "$tmp/sound"
	then
		verdict "not ok" "$1: the tests do not build"
		return
	fi

	sed "$3" "$top/src/$2.c" >"$tmp/$2.c"
	if cmp -s "$tmp/$2.c" "$top/src/$2.c" ||
	   ! compile "$flags" "$tmp/$2.c" "$tmp/mutant.o" >"$tmp/out" 2>&1 ||
	   ! link "$flags" "$4" "$2" "$tmp/mutant.o" "$tmp/mutant"; then
		verdict "not ok" "$1: the mutation does not apply"
		return
	fi

	if ! sound_passes "$tmp/sound" "$5" "$6"; then
		if grep -q SKIP "$tmp/out"; then
			verdict ok "$1" "the case is skipped here"
		else
			verdict "not ok" "$1: the case fails without the bug"
		fi
	elif survives "$tmp/mutant" "$5" "$6"; then
		verdict "not ok" "$1: not noticed"
	else
		verdict ok "$1"
	fi
}

# shared DIRECTORY FILE OBJECT: the library with the object in place of the
# file's.
# shellcheck disable=SC2010
shared() {
	mkdir -p "$1" &&
	$CC -shared -o "$1/libivykis.so.0" -Wl,-soname,libivykis.so.0 \
		-Wl,--version-script="$top/src/libivykis.ver" "$3" \
		$(ls "$tmp/objects-fPIC"/iv_*.o | grep -v "/$2\.o$") -pthread $uring
}

# plays_alike DIRECTORY: does the differential test pass with this library?
plays_alike() {
	CC=$CC TOP_SRCDIR=$top DIFFERENTIAL_LIBRARY=$1 DIFFERENTIAL_PROGRAMS=300 \
		"$top/test/differential.sh" >"$tmp/out" 2>&1
	! grep -q '^not ok' "$tmp/out"
}

# differs DESCRIPTION FILE SED: a mutant for the differential test.
differs() {
	set -- "differential: $1" "$2" "$3"
	wanted "$1" || return
	: >"$tmp/out"

	if ! objects -fPIC loop >"$tmp/out" 2>&1 ||
	   ! shared "$tmp/sound.lib" "$2" "$tmp/objects-fPIC/$2.o"; then
		verdict "not ok" "$1: the library does not build"
		return
	fi
	sed "$3" "$top/src/$2.c" >"$tmp/$2.c"
	if cmp -s "$tmp/$2.c" "$top/src/$2.c" ||
	   ! compile -fPIC "$tmp/$2.c" "$tmp/mutant.o" >"$tmp/out" 2>&1 ||
	   ! shared "$tmp/mutant.lib" "$2" "$tmp/mutant.o"; then
		verdict "not ok" "$1: the mutation does not apply"
	elif [ -z "${sound-}" ] && ! plays_alike "$tmp/sound.lib"; then
		verdict "not ok" "$1: the test fails without the bug"
	elif sound=yes && grep -q '# SKIP' "$tmp/out"; then
		verdict ok "$1" "the test is skipped here"
	elif plays_alike "$tmp/mutant.lib"; then
		verdict "not ok" "$1: not noticed"
	else
		verdict ok "$1"
	fi
}

raw=iv_event_raw
board=iv_board
page=iv_board_page
event=iv_event

# Some mutants pause (3000), so that a race is soon lost.  No mutant lacks a
# fence, as a processor hardly ever shows its effect with a system call between
# the two checks.  The models in test/model have such mutants.
mutant "raw post: RUNG is set before the write" $raw \
	'/^static void ring(/,/^}/s/^\tif (!write_ring/\
	unsigned long before = state;\
	atomic_compare_exchange_strong(\&bell->state, \&before,\
				       before - IV_BOARD_ASLEEP + IV_BOARD_RUNG);\
&/' \
	event_raw_attack 'poster is killed at any instruction' eventfd
mutant "raw post: RUNG is set in whatever epoch" $raw \
	'/(void)atomic_compare_exchange_strong/,/;/c\
		atomic_store(\&bell->state, rung);' \
	event_raw_attack 'stopped at any instruction' eventfd
mutant "raw post: RUNG is never set" $raw \
	'/(void)atomic_compare_exchange_strong/,/;/c\
		;' \
	event_raw_board 'rings once' eventfd
mutant "raw post: a foreign loop needs no doorbell" $raw \
	'/^static int needs_doorbell/,/^}/s/(IV_BOARD_ASLEEP | IV_BOARD_FOREIGN)/IV_BOARD_ASLEEP/' \
	event_raw_prepare 'is busy when the second adopts' poll/eventfd
mutant "raw post: no write to a foreign loop that is awake" $raw \
	'/^static void write_if_needed/,/^}/s/if (state & IV_BOARD_FOREIGN)/if (0)/' \
	event_raw_prepare 'is busy when the second adopts' poll/eventfd
mutant "raw post: a full descriptor changes errno" $raw \
	'/^post_by_write/,/^}/s/errno = saved_errno;/;/' \
	event_raw_prepare 'posts fill the descriptor' eventfd
mutant "raw post: an unregistered object rings" $raw \
	'/^static void write_if_needed/,/^}/s/ && !is_stale(at)//' \
	event_raw_board 'a stale copy' poll/eventfd
mutant "raw post: a child says what is gone in its parent" $raw \
	'/^static int is_stale/,/^}/s/return .*/return/' \
	event_raw_hostile 'posts wake a loop' poll/eventfd
mutant "raw post: a board that is used again goes unnoticed" $page \
	'/^int iv_board_is_open/,/^}/s/return iv_board_life.*/return 1;/' \
	event_raw_board 'the board is used again' eventfd
mutant "raw post: the life of a board is read before what is closed" $page \
	'/^int iv_board_is_open/,/^}/{
	s/if ((atomic_load.*/if (iv_board_life(iv_place_board(at)) != life)/
	s/return iv_board_life.*/return !(atomic_load(closed_of(at)) >> at.bit \& 1);/;}' \
	event_raw_board 'the board is used again' eventfd
mutant "raw post: cancelled in the middle" $raw \
	's/if (!write_ring(fd))/if (!make_readable(fd, RING))/
	/^post_by_write/,/^}/s/state = iv_cancel_disable();/state = 0;/' \
	event 'whose cancellation is pending' poll/eventfd
mutant "raw delivery: the bit is taken after the handler" $raw \
	'/^static void got_event/,/^}/{
	s/iv_board_take_bit(at)/iv_place_is_set(at)/
	s/^\t\tcall_handler(this);/{\
		call_handler(this);\
		for (volatile int i = 0; i < 3000; i++)\
			;\
		iv_board_take_bit(at);\
	}/;}' \
	event_raw_attack "a thread's stores" eventfd
mutant "raw delivery: a doorbell is taken for a post" $raw \
	's/if (buf\[i\] != RING)/if (1)/' \
	event_raw_board 'rings once' eventfd
mutant "raw delivery: a read drains one byte" $raw \
	's/read(fd, buf, sizeof(buf))/read(fd, buf, 1)/' \
	event_raw_process 'posts through an exported' poll/pipe
mutant "raw delivery: a single read" $raw \
	's/i < 64; i++/i < 1; i++/' \
	event_raw_process 'to a full descriptor' poll/pipe
mutant "raw wait: a forked loop does not make boards foreign" $board \
	'/^void iv_board_abandon/,/^}/s/iv_board_make_foreign(r->board);/;/' \
	fork "a busy parent's posts" poll/eventfd
mutant "raw wait: a forked loop does not ring for what is pending" $board \
	'/^void iv_board_abandon/,/^}/s/ring_for(r, ring);/;/' \
	fork "a busy parent's posts" poll/eventfd
mutant "raw wait: a loop that sleeps forgets that it is foreign" $board \
	's/new = (old & ~IV_BOARD_MODE) | mode;/new = (old \& ~(IV_BOARD_MODE | IV_BOARD_FOREIGN)) | mode;/' \
	event_raw_prepare 'adopt the same object' poll/eventfd
mutant "raw wait: never ASLEEP" $board \
	's/set_mode_of_all(st, IV_BOARD_ASLEEP)/set_mode_of_all(st, IV_BOARD_AWAKE)/' \
	event_raw 'a post wakes a sleeping loop' poll/eventfd
mutant "raw unregister: event_wfd stays" $raw \
	'/^void iv_event_raw_unregister/,/^}/{/close_to_posts(/d;}' \
	event_raw 'mistakes are fatal' ''
mutant "raw unregister: the bit is not marked as gone" $board \
	'/^void iv_board_leave/,/^}/{/atomic_fetch_or(&b->gone/,/;/c\
		;
	}' \
	event_raw_board 'a stale copy' poll/eventfd
mutant "raw unregister: posters are not waited for" $page \
	's/unused = wait_for_posters(.*/unused = 1;/' \
	event_raw_board 'number that is reused' eventfd
mutant "raw unregister: posters to a wakeup are not counted" $raw \
	'/^post_by_write/,/^}/{
	s/iv_board_begin_write(at.bell)/fd < 0 ? iv_board_own(at.bell) : &/
	s/^\tiv_step();/\tint counted = fd >= 0;/
	s/iv_board_end_write(own);/if (counted) &/;}' \
	event_raw_board "that of a loop's wakeup" eventfd
mutant "raw unregister: a wakeup's number is read before a poster counts" $raw \
	'/^post_by_write/,/^}/{
	s/^\town = iv_board_begin_write/\tint early = iv_board_own(at.bell)->fd;\
&/
	s/fd = atomic_load(&own->fd);/fd = early;/;}' \
	event_raw_board "that of a loop's wakeup" eventfd
mutant "raw register: not close-on-exec" iv_sys \
	's/pipe2(fd, O_CLOEXEC | /pipe2(fd, /' \
	fork 'that a child executes' poll/pipe
mutant "raw register: blocking" $raw \
	's/iv_sys_pipe(fd, O_NONBLOCK)/iv_sys_pipe(fd, 0)/' \
	event_raw_attack "handler's post to a full" poll/pipe
mutant "raw register: EMFILE makes it a pipe" $raw \
	'/if (errno == EMFILE/,/return -1;/d' \
	event_raw_refused 'eventfd(2) lacks a resource' poll/eventfd
mutant "raw register: EACCES makes it fail" $raw \
	's/errno == EMFILE ||/errno == EACCES || &/' \
	event_raw_refused 'any other failure of eventfd' poll/eventfd
mutant "raw register: descriptors stay open when it fails" $raw \
	'/^static int open_and_watch/,/^}/{/pair_close(fd, 0);/d;}' \
	event_raw_refused 'if epoll_ctl(2) fails' epoll/eventfd
mutant "raw adopt: the former owner is not noticed" $raw \
	's/if (!(atomic_fetch_or(&at.bell->flags, IV_BOARD_OWNED) &/if (!(0 \&/' \
	event_raw_prepare 'one of the two owners is busy' eventfd
second='is busy when the second adopts'
mutant "raw adopt: the second owner does not make the board foreign" $raw \
	'/^static void adopt_board/,/^}/s/iv_board_make_foreign(at.bell);/;/' \
	event_raw_prepare "$second" poll/eventfd
mutant "raw adopt: the second owner does not ring for what is pending" $raw \
	'/^static void adopt_board/,/^}/s/if (iv_place_is_set(at))/if (0)/' \
	event_raw_prepare "$second" poll/eventfd
mutant "raw adopt: an unregistered object still has an owner" $board \
	's/atomic_fetch_and(&b->flags, ~IV_BOARD_OWNED);/;/' \
	event_raw_prepare 'after another owner has unregistered' eventfd
mutant "raw adopt: ringing the doorbell changes errno" $raw \
	'/^int iv_event_raw_adopt/,/^}/{/errno = saved_errno;/d;}' \
	event_raw_prepare 'an owner is killed' eventfd
mutant "raw prepare: without a board" $raw \
	's/iv_board_place_alone())/(struct iv_place){ .word = NULL })/' \
	event_raw_prepare 'awake make no system call' eventfd
mutant "board: in private memory" $page \
	's/MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED/MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED/' \
	event_raw 'children post' poll/eventfd
mutant "board: a child goes on with the parent's page" $page \
	's/struct iv_board_pages \*s = &iv_process->boards;/\
	static struct iv_board_pages parents;\
	struct iv_board_pages *s = \&parents;/
	s/if (!iv_board_is_inherited(b))/if (1)/' \
	event_raw_board 'what a child registers' poll/eventfd
mutant "board: a bit is handed out again" $board \
	'/^void iv_board_leave/,/^}/s/^\tr->live--;/&\
	if (index + 1 == r->used)\
		r->used--;/' \
	event_raw 'stale copy' eventfd
mutant "board: a page is used again with its old memory" $page \
	's/if (mmap(boards_of(p)/if (!p->used \&\& mmap(boards_of(p)/' \
	event_raw_board 'has been given to another' eventfd
mutant "board: pages are not used again" $page \
	's/--p->refs == 0/0/' \
	event_raw_board 'come and go between' eventfd
mutant "board: a page is lost when memory is refused" $page \
	'/^	if (!can_share()) {/,/^	}/{/wait_for_use/d;}' \
	event_raw_refused 'without shared memory' poll/eventfd
mutant "board: a page that may have been unmapped is used again" $page \
	's/MAP_FIXED, -1, 0) == MAP_FAILED)/MAP_FIXED, -1, 0) == MAP_FAILED \&\&\
	    (wait_for_use(s, p), 1))/' \
	event_raw_board 'a failed mmap has unmapped' eventfd
mutant "board: the bell of objects left registered is given away" $board \
	'/^void iv_board_deinit/,/^}/s/!r->is_bell ||/1 ||/' \
	event_raw_board 'objects left registered' eventfd
mutant "board: one that had two owners is lost" $board \
	'/^void iv_board_leave/,/^}/s/iv_board_put(b);/;/' \
	event_raw_board 'two processes have adopted' eventfd
mutant "board: a child may set bits of what is not registered" $board \
	's/memory_order_relaxed) & r->mine\[w\];/memory_order_relaxed);/
	s/if ((r->mine\[w\] & iv_place_mask(at)) &&/if (/' \
	event_raw_hostile 'the memory that they share' poll/eventfd
mutant "board: a child's hints are slots of records" $board \
	'/^own_record/,/^}/s/if (i >= st->board.room)/if (0)/
	/^static void note_hinted/,/^}/s/i < st->board.room;/i < 64;/' \
	event_raw_hostile 'the memory that they share' poll/eventfd
mutant "board: a bit is what a child has made of it" $board \
	's/^\tbegin_use(at);/\t;/' \
	event_raw_hostile 'posts wake a loop' poll/eventfd
mutant "board: a child keeps its parent changing the state" $board \
	's/i < TRIES && is_own(r)/is_own(r)/' \
	event_raw_hostile 'after each of its steps' eventfd
mutant "board: as many as there are pinned" $board \
	'/^static int has_enough_boards/,/^}/s/return .*;/return 0;/' \
	event_raw_board 'come and go between' eventfd
mutant "board: hints are never set" $raw \
	's/atomic_fetch_or(&at.bell->hints, .*);/;/' \
	event_raw_board 'make few system calls' eventfd
mutant "busy poll: the kernel is not asked" iv_busy_poll \
	's/if (ns_since(&asked, &now) < ASK_NSEC)/if (1)/' \
	busy_poll 'descriptors are served while the loop polls' poll/eventfd
mutant "busy poll: posts are not checked for" iv_busy_poll \
	's/if (iv_main_has_work(st))/if (0)/' \
	busy_poll 'without a doorbell' poll/eventfd
mutant "busy poll: instead of asking the kernel" iv_main \
	'/^wait_for_events(/,/^}/s/if (is_something_due(st))/if (iv_task_queued(st))/' \
	busy_poll 'while the loop always has work' poll/eventfd
mutant "busy poll: beyond the next timer" iv_busy_poll \
	's/until != NULL && iv_time_compare(until, &end) < 0/0/' \
	busy_poll 'timers are served while' poll/eventfd
mutant "busy poll: the window stays" iv_busy_poll \
	's/b->window \/= 2;/;/' \
	busy_poll 'polls in vain' poll/eventfd
mutant "busy poll: a loop without a limit never spins" iv_busy_poll \
	's/^\t\treturn spin(st);/\t\treturn 0;/' \
	busy_poll 'that came while it ran' poll/eventfd
mutant "busy poll: it spins after any post" iv_main \
	's/|= !st->has_slept;/= 1;/' \
	busy_poll 'woken by each post' poll/eventfd
mutant "busy poll: no spins are left out" iv_busy_poll \
	's/^\tb->skips = b->in_vain;/\t;/' \
	busy_poll 'less and less' poll/eventfd
mutant "busy poll: bad values are accepted" iv_busy_poll \
	's/if (\*word == .*usec <= MAX_USEC)/if (1)/' \
	busy_poll 'to all loops' ''
mutant "busy poll: privileged programs use the environment" iv_main \
	's/iv_process_getenv("IV_BUSY_POLL")/getenv("IV_BUSY_POLL") ?: ""/' \
	process 'set-user-ID' ''
mutant "busy poll: on one processor" iv_busy_poll \
	's/has_one_processor = .*;/has_one_processor = 0;/' \
	busy_poll 'one processor' ''
mutant "raw post_fd: SIGPIPE not blocked" $raw \
	'/pthread_sigmask(SIG_BLOCK, &sigpipe/c\
	(void)pthread_sigmask(SIG_SETMASK, NULL, \&mask);' \
	event_raw_process 'an owner that died' pipe
mutant "raw post_fd: SIGPIPE not taken back" $raw \
	'/iv_sys_take_sigpipe(/,/;/d' \
	event_raw_process 'an owner that died' pipe
mutant "raw post_fd: a SIGPIPE that waited is taken" iv_sys \
	's/(void)raise(SIGPIPE);/;/' \
	event_raw_process 'pending for the thread' pipe
mutant "raw post_fd: a SIGPIPE that waited is doubled" iv_sys \
	's/was_pending && !sigismember(&pending, SIGPIPE)/was_pending/' \
	event_raw_process 'pending for the process' pipe

mutant "event post: the state is read before the push" $event \
	'/^static int queue_and_wake/,/^}/{
	s/^\tint first = .*push(st, ev);/\
	int asleep = atomic_load(\&bell->state) \& IV_BOARD_MODE;\
	for (volatile int i = 0; i < 3000; i++)\
		;\
&/
	s/if (bell != NULL)/if (bell != NULL \&\& asleep)/;}' \
	event 'no wakeup is lost' eventfd
mutant "event delivery: pending is cleared after the handler" $event \
	'/^static void deliver/,/^}/{
	/atomic_exchange_explicit(&ev->mark/d
	s/^\tev->handler(ev->cookie);/&\
	for (volatile int i = 0; i < 3000; i++)\
		;\
	ev->mark = 0;/;}' \
	event 'no wakeup is lost' eventfd
mutant "event delivery: the last post first" $event \
	's/slot = st->event.tail + num;/slot = st->event.tail;/
	s/enqueue(st, --slot, ev)/enqueue(st, slot++, ev)/' \
	event 'in the order of the first posts' poll/eventfd
mutant "event delivery: a batch grows when the queue is compacted" $event \
	's/if (i < st->event.batch)$/if (1)/' \
	event 'runs in the next one' poll/eventfd
mutant "event delivery: unregistered events stay in the queue" $event \
	's/if (st->event.queue\[i\] != NULL)$/if (1)/' \
	event 'unregistered and registered again' poll/eventfd
mutant "event delivery: the owner's posts take no position" $event \
	's/^\t\tst->event.own = 1;/\t\t;/' \
	event "a task's position, before iv_main" poll/eventfd
mutant "event unregister: waiting for a poster never sleeps" iv_process \
	's/if (times < 100)/if (1)/' \
	event 'a loop of real-time priority' eventfd
mutant "event unregister: an event with a mark is taken for queued" $event \
	'/^void iv_event_unregister/,/^}/s/if (is_in_queue(st, ev))/if (atomic_load(\&ev->mark))/' \
	event "during another" eventfd
mutant "event unregister: the call is not cancelled" $event \
	'/^void iv_event_unregister/,/^}/s/if (is_in_queue(st, ev))/if (0)/' \
	event 'unregistering cancels' poll/eventfd
mutant "event register: an event is counted though it failed" $event \
	'/^int iv_event_register/,/^}/{
	/^\tst->numobjs++;/d
	s/^\tif (st->event.num == 0) {/\tst->numobjs += 1;\
&/;}' \
	event 'at the descriptor limit' poll/eventfd
mutant "event deinit: the wakeup stays open" $event \
	'/^void iv_event_deinit/,/^}/s/unregister_wake(st);/;/' \
	event 'with events registered leaks' poll/eventfd
mutant "event fork: a queued event keeps the parent's mark" $event \
	'/^static void fork_marks/,/^}/s/if (st->event.queue\[i\] != NULL)/if (0)/' \
	fork 'an event that is already queued' poll/eventfd
mutant "event fork: the wakeup is shared" $event \
	'/^void iv_event_go_on/,/^}/s/unregister_wake(st);/return;/' \
	fork 'share none of' poll/eventfd
mutant "event fork: marks of the parent are valid" $event \
	'/^static inline int is_queued/,/^}/s/if (marks_of(st) == generation)/if (0)/' \
	fork "parent's threads post to during a fork" eventfd
mutant "fork: the kernel is not asked to wipe the page" iv_sys \
	'/(void)madvise(/d' \
	fork 'a child of _Fork()' epoll/eventfd
mutant "fork: madvise is trusted" iv_process \
	's/if (!wiped/if (0/' \
	fork 'madvise does nothing' epoll/eventfd
mutant "fork: the loop of an earlier atfork handler is lost" iv_process \
	'/^static void wipe_state/,/^}/{/if (/d;/forking_generation/d;}' \
	fork 'begin another loop in a handler' epoll/eventfd
mutant "fork: the parent's kernel objects are changed" iv_fd \
	's/^#include "iv_fd_private.h"/&\
#define iv_fd_is_inherited(st) ((void)(st), 0)/' \
	fork 'a child that changes handlers' epoll/eventfd
lost='closed all that it inherited'
mutant "fork: every label is found valid" iv_process \
	's/int has = label == 0 ||.*;/int has = 1;/' \
	fork "$lost" epoll/eventfd
mutant "fork: a child uses its parent's labels" iv_process \
	's/return FIRST_LABEL + .*;/return FIRST_LABEL;/' \
	fork "$lost" poll/eventfd
mutant "fork: a descriptor that a child has lost is watched" iv_fd \
	's/return fd->label != 0 && fd->label/return 0 \&\& fd->label/' \
	fork "$lost" epoll/eventfd
mutant "fork: a descriptor that a child has closed is fatal" iv_fd \
	's/fd->again |= .*;/;/' \
	fork 'a number that was closed' poll/eventfd
mutant "fd closed: the kernel goes on reporting it" iv_fd \
	's/return start_anew(st);/return 0;/' \
	fd 'though a duplicate is open' epoll/eventfd
mutant "fd closed: poll goes on reporting its number" iv_fd_poll \
	'/^static void report(/,/^}/s/pfd->fd = -1;/;/' \
	fd 'closed descriptor may be unregistered' poll/eventfd
mutant "fd closed: poll does not watch its number again" iv_fd_poll \
	'/^static int poll_tell(/,/^}/s/^	p->pfds\[fd->index\].fd = fd->fd;/if (!fd->told) &/' \
	fd 'handlers of a closed descriptor' poll/eventfd
mutant "fd closed: the first object of its number is watched" iv_fd \
	's/ilh = st->fd.all.prev; ilh != &st->fd.all; ilh = ilh->prev/ilh = st->fd.all.next; ilh != \&st->fd.all; ilh = ilh->next/' \
	fd 'given to the kernel again' epoll/eventfd
mutant "fd closed: that its number is used again is not found" iv_fd_epoll \
	's/int known = (\*word & bit) != 0;/int known = 0;/' \
	fd 'a duplicate of a closed descriptor' epoll/eventfd
mutant "fd closed: that its number is used again is ignored" iv_fd \
	's/return ret > 0 ? start_anew(st) : 0;/return 0;/' \
	fd 'disturb another with its number' epoll/eventfd
mutant "fd closed: register_try ignores that its number is used again" iv_fd \
	'/^	if (ret > 0)$/{N;d;}' \
	fd 'disturb another with its number' epoll/eventfd
mutant "fd: the loop's descriptor is standard input" iv_process \
	'/^int iv_process_move_fd/,/^}/s/fd > STDERR_FILENO/1/' \
	fd 'number of a closed standard input' epoll-timerfd/eventfd
mutant "fd: poll accepts an O_PATH descriptor" iv_fd_poll \
	's/if (flags >= 0 && (flags & IV_SYS_O_PATH))/if (0)/' \
	fd 'returns the same errno' ppoll/eventfd
mutant "pump: an input error is returned at once" iv_fd_pump \
	'/^static int input(/,/^}/s/if (!bytes_left(p))/if (1)/' \
	fd_pump 'before an input error is returned' ''
mutant "pump: an input error is forgotten" iv_fd_pump \
	's/if (p->state == SAW_ERROR && !bytes_left(p))/if (0)/' \
	fd_pump 'before an input error is returned' ''
mutant "pump: a thread is cancelled in it" iv_fd_pump \
	's/iv_cancel_disable();/0;/' \
	fd_pump 'pending cancellation' ''
anywhere="at each instruction of the owner"
behind="another thread's event is queued"
mutant "event fork: a post by a forking handler marks as the parent" iv_event \
	'/^static void post_from_own(/,/^}/s/if (marks_of(st) != marks)/if (0)/' \
	event "$anywhere" ''
mutant "event post: to a queue that is being changed" iv_event \
	'/^static int append/,/^}/s/if (st->event.is_changing)/if (0)/' \
	event "$anywhere" ''
mutant "event post: append() is interrupted by posts" iv_event \
	'/^static int append/,/^}/s/begin_change(st);/;/' \
	event "$anywhere" ''
mutant "event post: ahead of events that others have posted" iv_event \
	'/^static int append/,/^}/s/if (can)/if (st->event.tail < st->event.room)/' \
	event "$behind" ''
mutant "main: any number of rounds without a wait" iv_main \
	's/return st->rounds < ROUNDS &&/return/' \
	task 'after at most 64 rounds' poll/eventfd
mutant "main: rounds that do not read the clock" iv_main \
	's/iv_time_compare(now, &st->rounds_end) < 0/1/' \
	task 'after at most two slow rounds' poll/eventfd
mutant "main: rounds that keep the time of the first" iv_main \
	'/^static int skip_wait/,/^}/s/iv_clock_invalidate(st);/;/' \
	time 'read anew in each round' poll/eventfd

timer=iv_timer
intime='neither early nor late'
without='if memory for them is refused'
mutant "timer order: equal timers in reverse order of registration" $timer \
	's/iv_list_add_tail(&t->link, &list->timers)/iv_list_add(\&t->link, \&list->timers)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer key: tv_nsec is not normalised" $timer \
	's/iv_time_normalised(expires)/*expires/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer key: a negative time is in the distant future" $timer \
	's/ts.tv_sec < 0 ? 0 : UINT64_MAX/UINT64_MAX/' \
	timer 'any negative time' poll/eventfd $memory
mutant "timer list: the level depends on the distance" $timer \
	's/__builtin_clzll((base ^ key) | 1)/__builtin_clzll((key - base) | 1)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer list: min is that of the first timer added" $timer \
	's/if (key < list->min || iv_list_empty/if (iv_list_empty/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer list: min is that of the last timer added" $timer \
	's/if (key < list->min || iv_list_empty(.*/if (1)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer list: min is kept when the list is empty" $timer \
	's/if (key < list->min || iv_list_empty(.*/if (key < list->min)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer first: an empty list is used" $timer \
	's/if (!iv_list_empty(&list->timers))/if (1)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer first: a timer that is not due is called" $timer \
	's/ && first->min <= now//' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer first: any list is taken to be in order" $timer \
	's/if (first < &heap->lists\[DIGITS\])/if (1)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer advance: beyond the first timer" $timer \
	's/heap->base = first->min;/heap->base = ts->now;/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer step: timers that handlers register run in it" $timer \
	's/^\tif (key > ts->now)/\tif (1)/' \
	timer 'runs after the tasks and a wait' poll/eventfd $memory
mutant "timer step: the time of the last step decides what is late" $timer \
	's/^\t\tts->now = now;/\t\t;/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer step: late timers in the order of registration" $timer \
	's/sort(chain_of(&ts->late))/chain_of(\&ts->late)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer step: late timers after those of an outer step" $timer \
	's/merge(chain_of(&ts->batch), \(sort(.*)\)),/\1,/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer step: late timers before those in the heap" $timer \
	'/^static struct iv_timer_ \*first_due/,/^}/s/(t != NULL && .*/0)/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer step: late timers before equal ones in the heap" $timer \
	's/is_before(&t->link, ts->batch.next)/iv_time_compare(\&t->expires, \
	\&timer_of(ts->batch.next)->expires) < 0/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer sort: parts are not in order" $timer \
	's/last->next != NULL && !is_before(last->next, last)/last->next != NULL/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer merge: the result is not in order" $timer \
	's/is_before(b, a) ? &b : &a/\&a/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer order: among equal timers the later comes first" $timer \
	's/(long)(a->number - b->number) < 0/(long)(b->number - a->number) < 0/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: open in a step" $timer \
	'/^void iv_timer_run/,/^}/s/close_gap(ts);/;/' \
	timer_fuzz "$without" ppoll/eventfd $steps
mutant "timer gap: open after a handler has returned" $timer \
	'/^static struct iv_timer_ \*first_due/,/^}/s/close_gap(ts);/;/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: open before a wait" $timer \
	'/^struct timespec iv_timer_next/,/^}/s/close_gap(ts);/;/' \
	timer 'unregistered last' '' $memory
mutant "timer gap: open when another timer is unregistered" $timer \
	'/^void iv_timer_unregister/,/^}/s/close_gap(ts);/;/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: open when another timer is registered" $timer \
	'/^static inline void insert/,/^}/s/close_gap(ts);/;/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: filled for an earlier time" $timer \
	's/gap->timer != t || key < gap->list->min/gap->timer != t/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: filled by another timer" $timer \
	's/gap->timer != t ||/gap->timer == NULL ||/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: filled in a list whose timers are equal" $timer \
	's/t->list = num < DIGITS ? NULL : list;/t->list = list;/' \
	timer_fuzz "$intime" ppoll/eventfd $steps
mutant "timer gap: a timer put back runs out of order" $timer \
	's/heap->disordered |= .*/;/' \
	timer 'is moved runs after' poll/eventfd $memory
mutant "timer next: late timers are not due" $timer \
	'/^struct timespec iv_timer_next/,/^}/s/!iv_list_empty(&ts->late) ||//' \
	timer 'may be registered in its handler' poll/eventfd $memory
mutant "timer next: the rest of a step is not due" $timer \
	'/^struct timespec iv_timer_next/,/^}/s/ || !iv_list_empty(&ts->batch)//' \
	timer 'leaves a nested loop' poll/eventfd $memory
mutant "timer next: the loop sleeps too long" $timer \
	's/time_of(first->min)/time_of(first->min + 1000000000)/' \
	timer 'delays no other' '' $memory
mutant "timer memory: if refused, min is not updated" $timer \
	's/^\tlist->min = min;/\t;/' \
	timer_fuzz "$without" ppoll/eventfd $steps
mutant "timer memory: if refused, min includes timers that are due" $timer \
	's/} else if (key < min) {/}\
	if (key < min) {/' \
	timer_fuzz "$without" ppoll/eventfd $steps
mutant "timer memory: if refused, a timer due now waits" $timer \
	'/^static void make_late/,/^}/s/if (key <= now)/if (key < now)/' \
	timer_fuzz "$without" ppoll/eventfd $steps
mutant "timer memory: leaked by the loop" $timer \
	's/^\tfree(st->timer.heap);/\t;/' \
	timer 'freed however' '' $memory
mutant "timer memory: requested only once" $timer \
	'/^static void insert_rarely/,/^}/s/if (ts->heap == NULL)/static int asked;\
	if (!asked++)/' \
	timer 'requested by the next first' poll/eventfd $memory
mutant "timer memory: a refusal changes errno" $timer \
	'/new_heap(void)/,/^}/s/errno = saved_errno;/(void)saved_errno;/' \
	timer 'requested by the next first' poll/eventfd $memory

mutant "wait: an end without a status is not reported" iv_wait \
	'/^static void lost_locked/,/^}/s/report_locked(.*/;/' \
	wait 'the end of a child that other code reaped' poll/eventfd
mutant "wait: without a pidfd only SIGCHLD is noticed" iv_wait \
	'/^static void begin/,/^}/s/check_later(.*/;/' \
	wait 'reaping by other code is reported' poll/eventfd
mutant "wait: another process is taken for a child" iv_wait \
	's/(has_ended || watch->is_child)/1/' \
	wait 'the end of a child that other code reaped' poll/eventfd
mutant "wait: a process that was never a child is not checked" iv_wait \
	'/^static void look_locked/,/^}/s/errno == ESRCH/0/' \
	wait 'the end of a child that other code reaped' poll/eventfd
mutant "wait: with the last report nothing keeps the loop running" iv_wait \
	's/^\tw->handler(w->cookie, r.status, .*/\tiv_event_unregister(\&watch->event);\
	drop_pidfd(watch);\
	leave_thread(watch->thread);\
	&/' \
	wait 'keeps the loop running' poll/eventfd
mutant "popen: children outlive their loop" iv_popen \
	's/child->owner = NULL;/;/' \
	popen 'a loop may end before' poll/eventfd
mutant "popen: a refused signal ends the watch" iv_popen \
	'/^static void send_signal/,/^}/s/ret == -ESRCH/ret < 0/' \
	popen 'cannot be sent a signal' poll/eventfd

# As test/Makefile.am has it.
for name in aligned_alloc calloc free malloc realloc reallocarray close read \
	write splice poll ppoll epoll_wait epoll_pwait2 nanosleep sigtimedwait \
	wait4 waitid pthread_join; do
	echo "-Wl,--wrap=$name"
done >"$tmp/wraps"
case $defs in *HAVE_URING*)
	echo "-Wl,--wrap=pthread_setcanceltype,--wrap=pthread_testcancel" \
		>>"$tmp/wraps"
esac
wraps=@$tmp/wraps
whole='no call is a cancellation point'
mutant "cancel: inotify is read at a cancellation point" iv_inotify \
	's/int state = iv_cancel_disable();/int state = 0;/' \
	cancel "$whole" poll/eventfd "$wraps"
mutant "cancel: the end of a pipe is closed by close(2)" iv_popen \
	's/iv_close(p.end)/close(p.end)/' \
	cancel "$whole" poll/eventfd "$wraps"

rest='are served after longjmp out of a handler'
mutant "leave: the rest of what inotify has read is lost" iv_inotify \
	'/^static void deliver_all/,/^}/s/iv_task_register(&q->rest);/;/' \
	leave "$rest" poll/eventfd
mutant "leave: the rest of a pool's batch is lost" iv_work \
	'/^static void complete_batch/,/^}/s/iv_task_register(&p->rest);/;/' \
	leave "$rest" poll/eventfd
mutant "leave: the rest of a batch without a pool is lost" iv_work \
	'/^static void work_own_batch/,/^}/s/iv_task_register(&ws->rest);/;/' \
	leave "$rest" poll/eventfd
mutant "leave: the rest of the owner's work is lost" iv_work \
	'/^static void do_own_work/,/^}/s/iv_task_register(&p->own_work);/;/' \
	leave "$rest" poll/eventfd
mutant "leave: it is not noticed that a handler ended the loop" iv_main \
	's/if (st->life != life)/if (0)/' \
	leave 'returning from a handler that ended the loop' poll/eventfd

mutant "once: a signal ends the wait" iv_main \
	's/if (is_due(st) || is_over(st, limit))/if (1)/' \
	once 'signals do not end the wait' poll/eventfd
mutant "once: an iteration waits although a handler was called" iv_main \
	's/if (calls_before_wait(st) != calls)/if (0)/' \
	once 'if a handler ran before the wait' epoll/eventfd
mutant "once: an iteration forgets an iv_quit before it" iv_main \
	'/^int iv_main_once/,/^}/s/ret = st->quits/st->old_quits = st->quits;&/' \
	once 'keeps an earlier iv_quit' epoll/eventfd
mutant "once: the clock stands still between iterations" iv_main \
	'/^int iv_main_once/,/^}/s/iv_clock_invalidate(st);/;/' \
	once 'the time between two iterations' epoll/eventfd

embedded="posts of two threads"
mutant "once: a post that ends busy polling leaves the kernel out" iv_main \
	's/if (st->stats.waits == waits)/if (0)/' \
	once 'ends busy polling' epoll/eventfd
mutant "loop_fd: no last check before the loop falls asleep" iv_main \
	'/^iv_main_sleep/,/^}/s/if (!fall_asleep(st))/if (fall_asleep(st), 0)/' \
	loop_fd "$embedded" epoll/eventfd
mutant "loop_fd: the last check comes before the loop says that it sleeps" \
	iv_main '/^iv_main_sleep/,/^}/s/if (!fall_asleep(st))/int has = \
		iv_main_has_work(st); (void)fall_asleep(st); if (has)/' \
	loop_fd "$embedded" epoll/eventfd
mutant "loop_fd: the loop is awake between iterations" iv_main \
	'/^iv_main_sleep/,/^}/s/if (!fall_asleep(st))/if (iv_main_has_work(st))/' \
	loop_fd 'posted between iterations' epoll/eventfd
mutant "loop_fd: an iteration that was left has no effect" iv_main \
	's/iv_loop_fd_begin_turn(st);/;/' \
	loop_fd 'after a cancelled iteration' epoll/eventfd "-fexceptions"
mutant "loop_fd: a timer between iterations is not noticed" iv_timer \
	's/iv_loop_fd_registered(st);/;/' \
	loop_fd 'posted between iterations' epoll/eventfd
mutant "loop_fd: an adopted object is not noticed" iv_event_raw \
	'/^int iv_event_raw_adopt/,/^}/s/iv_loop_fd_registered(st);/;/' \
	loop_fd 'posted between iterations' epoll/eventfd
mutant "loop_fd: another epoll set is not put into the loop's" iv_fd \
	's/iv_loop_fd_forget(st);/;/' \
	loop_fd 'when the poll method needs another' epoll/eventfd
mutant "loop_fd: unregistering closes the doorbell of other posts" iv_event_raw \
	'/^void iv_event_raw_unregister(/,/^}/s/iv_loop_fd_registered(iv_self);/;/' \
	loop_fd 'loses no post to another' epoll/eventfd
mutant "loop_fd: iv_main is idle after an iteration in a handler" iv_main \
	'/^static void ask_kernel/,/^}/s/leave_other_loop(st);/;/' \
	loop_fd 'iv_main goes on as usual' epoll/eventfd
mutant "loop_fd: a replaced descriptor causes no iteration" iv_loop_fd \
	's/arm(l, &at_once);/;/' \
	loop_fd 'may need another one between iterations' epoll/eventfd
mutant "loop_fd: a child uses its parent's descriptor" iv_loop_fd \
	's/return l->generation == iv_process_generation();/return l->generation;/' \
	loop_fd 'a forked child has another descriptor' epoll/eventfd

mutant "board: a handler's post is served in the same iteration" $board \
	's/r->due\[w\] & posted_in(r, w)/posted_in(r, w)/
	s/if (r->due\[w\] == 0)/if (0)/' \
	event_raw 'tasks run before' poll/eventfd
mutant "board: an object is served twice in an iteration" $raw \
	's/^\t\tiv_board_served(iv_self, at);/\t\t;/' \
	event_raw 'tasks run before' poll/eventfd

mutant "thread: the name is cut within a character" iv_sys \
	's/while (len > sizeof(buf) - 4/while (0/' \
	thread 'as much of the name' ''
mutant "thread: the name is too long for the kernel" iv_sys \
	's/char buf\[16\]/char buf[17]/' \
	thread 'as much of the name' ''
mutant "work: put posts to the owner although a thread does" iv_work \
	's/if (p->refs == 2)/if (1)/' \
	work 'put keeps the order' poll/eventfd

kq=iv_fd_kqueue
mutant "kqueue: EV_EOF is an error" $kq \
	's/return poll(&pfd, 1, 0) > 0 .*/return 1;/' \
	fd 'a shutdown for writing' kqueue/eventfd $kqueue
mutant "kqueue: EV_EOF is no error" $kq \
	'/^static int is_in_trouble/,/^}/s/return poll.*/return 0;/' \
	fd 'an error or a hang-up calls' kqueue/eventfd $kqueue
mutant "kqueue: a refused change is not an error" $kq \
	'/^static int wait_once/,/^}/s/report_trouble(st, fd);/;/' \
	fd 'an error or a hang-up calls' kqueue/eventfd $kqueue
mutant "kqueue: the error of a rejected change is reported once" $kq \
	'/^static void report_trouble/,/^}/{/if (iv_list/,/add_tail/d;}' \
	fd 'all are reported again' kqueue/eventfd $kqueue
mutant "kqueue: register_try fails for a pipe that nobody reads" $kq \
	's/if (errno != EPIPE)/if (1)/' \
	fd 'all are reported again' kqueue/eventfd $kqueue
mutant "kqueue: an error outside of a wait is forgotten" $kq \
	's/^\tst->fd.u.kqueue.again = 1;/\t;/' \
	fd 'all are reported again' kqueue/eventfd $kqueue
mutant "kqueue: a filter that has already gone is an error" $kq \
	's/if (err == ENOENT || err == EBADF)/if (0)/' \
	fd 'may be used again at once' kqueue/eventfd $kqueue
mutant "kqueue: register_try overtakes earlier changes" $kq \
	'/^static int add_now/,/^}/s/^\tapply(st);/\t;/' \
	fd 'may be used again at once' kqueue/eventfd $kqueue
mutant "kqueue: events end with the changes that failed" $kq \
	's/} while (wait_once(st, until));/} while (wait_once(st, until) \&\& 0);/' \
	fd 'may be used again at once' kqueue/eventfd $kqueue
mutant "kqueue: the second object of a number replaces the first" $kq \
	's/^\tif (other == NULL)/\tif (1)/' \
	fd 'register_try of a watched one' kqueue/eventfd $kqueue
mutant "kqueue: a closed descriptor keeps its number" $kq \
	's/if (!is_there(st, other))/if (0)/' \
	fd 'disturb another with its number' kqueue/eventfd $kqueue
mutant "kqueue: another object's descriptor is taken for closed" $kq \
	'/^static int is_there/,/^}/s/ == 0 ||/ == 4711 ||/' \
	fd 'register_try of a watched one' kqueue/eventfd $kqueue
mutant "kqueue: new objects of one number are taken for closed" $kq \
	's/return (fd->told & PENDING) ||/return/' \
	fd 'a descriptor that the kernel rejects' kqueue/eventfd $kqueue
mutant "kqueue: a pipe that nobody reads is taken for closed" $kq \
	'/^static int is_there/,/^}/s/is_in_trouble(fd)/0/' \
	fd 'watched pipe without a reader' kqueue/eventfd $kqueue
mutant "kqueue: collected changes keep a closed descriptor's number" $kq \
	'/^static int admit/,/^}/s/if (!is_there/apply(st);&/' \
	fd "a closed descriptor's new handler" kqueue/eventfd $kqueue
mutant "kqueue: a filter that is set is not set again" $kq \
	'/^static void change_filters/,/^}/s/if (flags != 0)/if (flags != 0 \&\& flags != flags_for(fd, fd->told, filters[i]))/' \
	fd 'handlers of a closed descriptor' kqueue/eventfd $kqueue
mutant "kqueue: regular files are accepted" $kq \
	's/if (S_ISREG(sb->st_mode) .*/if (0 ||/' \
	fd 'register_try of a regular file' kqueue/eventfd $kqueue
mutant "kqueue: the errno for a rejected descriptor is the system's" $kq \
	'/^static int refusal/,/^}/s/return EPERM;/return err;/' \
	fd 'returns the same errno' kqueue/eventfd $kqueue
mutant "kqueue: devices are not registered before the wait" $kq \
	's/if (S_ISCHR(sb.st_mode))/if (0)/' \
	fd 'returns the same errno' kqueue/eventfd $kqueue
mutant "kqueue: its own descriptor is watched" $kq \
	's/if (fd->fd == k->kq)/if (0)/' \
	fork 'loop may open a number' kqueue/eventfd $kqueue
mutant "kqueue: a sole error handler makes the loop spin on data" $kq \
	's/EV_ADD | EV_CLEAR : 0/EV_ADD : 0/' \
	fd 'runs for errors and hang-ups' kqueue/eventfd $kqueue
mutant "kqueue: a sole error handler runs once" $kq \
	'/^static void report(/,/^}/{/^\tif (quiet)/,/^\telse/d;}' \
	fd 'runs for errors and hang-ups' kqueue/eventfd $kqueue
mutant "kqueue: a child closes any descriptor with the number" $kq \
	'/^static void kqueue_deinit/,/^}/s/if (!is_inherited(k))/if (1)/' \
	fork 'closed all that it inherited' kqueue/eventfd $kqueue
mutant "kqueue: not close-on-exec" $kq \
	's/fcntl(fd, F_SETFD, FD_CLOEXEC)/fcntl(fd, F_SETFD, 0)/' \
	process 'of the library survives exec' kqueue/eventfd $kqueue
mutant "kqueue: waits are as long as the timer is distant" $kq \
	's/if (left->tv_sec >= LONGEST_WAIT)/if (0)/' \
	timer 'largest times' kqueue/eventfd $kqueue.memory
mutant "kqueue: waits end before the nanosecond" $kq \
	's/^\tiv_time_left(left, until);/&\
	left->tv_nsec = left->tv_nsec \/ 1000000 * 1000000;/' \
	timer_fuzz "$intime" kqueue/eventfd $kqueue.steps
mutant "kqueue: waits end after the nanosecond" $kq \
	's/^\tiv_time_left(left, until);/&\
	if (left->tv_nsec < 999000000)\
		left->tv_nsec = (left->tv_nsec + 999999) \/ 1000000 * 1000000;/' \
	timer_fuzz "$intime" kqueue/eventfd $kqueue.steps

# The differential test compares with the libivykis that the system has
# installed.
differs "events in reverse order" $event \
	's/slot = st->event.tail + num;/slot = st->event.tail;/
	s/enqueue(st, --slot, ev)/enqueue(st, slot++, ev)/'
differs "a post from the loop has no place among the tasks" $event \
	's/st->event.position = iv_task_position(st);/st->event.position = 0;/'
differs "an event may be called after it was unregistered" $event \
	's/st->event.queue\[ev->slot\] = NULL;/;/'
differs "a task runs twice a round" iv_task \
	's/t->round = st->task.round;/;/'
differs "tasks in reverse order" iv_task \
	's/iv_list_add_tail(&t->list, &st->task.next)/iv_list_add(\&t->list, \&st->task.next)/'
differs "a task that is initialised in a round runs in it" iv_task \
	's/t->round = iv_self != NULL .*/t->round = 0;/'
differs "timers without order" iv_timer \
	's/is_before(b, a) ? &b : &a/\&a/'
differs "tasks before timers" iv_main \
	'/^begin_pass(/,/^}/{/iv_timer_any/d;/iv_timer_run(st);/d;
	s/run_round(st);/&\
		if (iv_timer_any(st))\
			iv_timer_run(st);/;}'
differs "a quit leaves out the round of tasks" iv_main \
	's/^\trun_round(st);/\tif (st->quits != *old_quits) return 0;\
&/'
differs "a quit from before iv_main() counts" iv_main \
	'/^static void run(/,/^}/s/st->old_quits = st->quits;/;/'
differs "output before input" iv_fd \
	'/^static void serve/,/^}/{s/BAND_IN/BAND_X/;s/BAND_OUT/BAND_IN/;
	s/BAND_X/BAND_OUT/;s/handler_in/handler_x/g;s/handler_out/handler_in/g;
	s/handler_x/handler_out/g;}'
differs "what is ready is called after it was unregistered" iv_fd \
	'/^static void delist/,/^}/s/st->fd.handled = NULL;/;/'
differs "an exclusive signal is one of many" iv_signal \
	's/^\t\tif (is_exclusive(s))/\t\tif (0)/'
differs "work of a pool in reverse order" iv_work \
	's/iv_list_add_tail(&item->list, &p->queue)/iv_list_add(\&item->list, \&p->queue)/'
differs "the process is dead, and may be killed" iv_wait \
	's/int ret = -ESRCH;/int ret = 0;/'

# The library with steps, at which test/steps.c interrupts it.
echo "-DIV_STEPS -Wl,--wrap=realloc" >"$tmp/steps"
at_steps=@$tmp/steps
mutant "steps: RUNG is set before the write" $raw \
	'/^static void ring(/,/^}/{
	s/if (!write_ring(fd))/if (0)/
	s/^\t*memory_order_relaxed);/&\
	iv_step();\
	(void)write_ring(fd);/;}' \
	steps 'a poster is killed at each step' eventfd $at_steps
mutant "steps: the last check for work comes before ASLEEP is set" iv_main \
	'/^static int fall_asleep/,/^}/{
	s/^\tiv_board_sleep(st);/\tint work = iv_main_has_work(st);\
	iv_step();\
&/
	s/!iv_main_has_work(st);/!work;/;}' \
	steps 'pauses at steps' eventfd $at_steps
mutant "steps: an event's wakeup comes before the push" $event \
	'/^static int queue_and_wake/,/^}/{
	s/^\tint first = .* push(st, ev);/\tint first = 0;\
	iv_event_raw_wake(bell);/
	s/^\t\tiv_event_raw_wake(bell);/\t\tfirst = (own \&\& append(st, ev)) || push(st, ev);/;}' \
	steps 'pauses at steps' eventfd $at_steps
mutant "steps: a child takes the parent's marks for its own" $event \
	'/^static inline int is_queued/,/^}/s/if (marks_of(st) == generation)/if (0)/' \
	steps "the loop's thread forks at each step" eventfd $at_steps
mutant "steps: posters that jumped out are waited for without end" $page \
	's/i < WAITS/1/' \
	steps 'siglongjmp out of a post' eventfd $at_steps
mutant "steps: a post is cancelled asynchronously" $raw \
	'/pthread_setcanceltype(/d' \
	steps 'arrives at a later step' eventfd $at_steps
mutant "steps: a forked loop is not foreign" iv_board \
	's/atomic_fetch_or(&b->state, IV_BOARD_FOREIGN);/;/' \
	steps 'goes on with the loop is killed' eventfd $at_steps
mutant "steps: a child forked in iv_board_abandon() gives up more" iv_board \
	'/^void iv_board_abandon/,/^}/{
	s/r->generation != generation/!is_own(r)/
	s/r->generation == generation/is_own(r)/;}' \
	steps 'a fork at each step' eventfd $at_steps
mutant "steps: a child sets its parent's board to AWAKE" iv_board \
	'/^static void set_mode_if_own/,/^}/s/ && is_own(r);/;/' \
	steps 'a fork at each step' eventfd $at_steps
for method in epoll-timerfd epoll ppoll poll; do
	mutant "steps: a child forked right before the wait waits ($method)" \
		iv_fd \
		's/if (st->fd.waiting && st->fd.method->forked != NULL)/if (0)/' \
		steps 'with each poll method' $method/eventfd $at_steps
done
half='with another thread in mid-post'
mutant "steps: a fork during a change of the queue is not noticed" $event \
	's/st->event.has_missed_fork = st->event.is_changing;/;/' \
	steps "$half" eventfd $at_steps
mutant "steps: marks are corrected during a change of the queue" $event \
	'/^static void fork_marks/,/^}/s/if (st->event.is_changing)/if (0)/' \
	steps "$half" eventfd $at_steps
mutant "steps: a mark that may be wrong is taken for the child's" $event \
	's/keep_mark(ev, generation, mark);/;/' \
	steps "$half" eventfd $at_steps
mutant "steps: the stack keeps the parent's marks" $event \
	'/^static void fork_marks/,/^}/s/for (; ev != NULL; ev = ev->next)/for (; 0; )/' \
	steps "$half" eventfd $at_steps
mutant "steps: a doorbell that a child drained is not rung again" $event \
	's/iv_event_raw_post(&st->event.wake);/;/' \
	steps 'a fork at each step' eventfd $at_steps

for change in make_room first_of_batch; do
	mutant "steps: $change() is interrupted by posts" $event \
		"/[ *]$change(/,/^}/s/begin_change(st);/;/" \
		steps 'a signal whose handler posts' eventfd $at_steps
done
mutant "steps: iv_event_unregister() is interrupted by posts" $event \
	'/^void iv_event_unregister(/,/^}/s/begin_change(st);/;/' \
	steps 'while another thread is in mid-post' eventfd $at_steps

if [ -n "$uring" ]; then
ring=iv_fd_uring
kinds=-Wl,--wrap=io_uring_setup
mutant "uring: a late completion is the next request's" $ring \
	's/if (slot->generation != cqe->user_data >> 32)/if (slot->fd == NULL)/' \
	uring 'a late completion' '' $kinds
mutant "uring: a request is not cancelled" $ring \
	'/^static int uring_tell/,/^}/s/cancel(st, fd);/;/' \
	uring 'after the descriptor was unregistered' '' $kinds
mutant "uring: a cancellation is left to the next wait" $ring \
	'/^static void uring_settle/,/^}/s/await_all(.*/;/' \
	uring 'after the descriptor was unregistered' '' $kinds
mutant "uring: a loop that ends leaves its requests" $ring \
	'/^static void uring_deinit/,/^}/s/cancel_all(st);/;/' \
	uring 'after the loop has ended' '' $kinds
mutant "uring: a request that has completed is not made again" $ring \
	'/^static void uring_wait/,/^}/s/change_completed(st);/;/' \
	fd 'an input handler runs in each' uring/eventfd
mutant "uring: a descriptor that was read before the wait is reported" $ring \
	's/return u->had_some && .*/return 0;/' \
	uring 'read before the wait' '' $kinds
mutant "uring: a half-close wakes the loop for ever" $ring \
	's/stays = fd->told ==/stays = 0 \&\& fd->told ==/' \
	fd 'runs for errors and hang-ups' uring/eventfd
mutant "uring: completions without room are lost" $ring \
	'/^static int has_more/,/^}/s/unsigned int hints = .*/unsigned int hints = 0;/' \
	uring 'cannot grow' '' $kinds
mutant "uring: a larger ring begins without requests" $ring \
	'/^static void grow/,/^}/s/again(u, fd);/;/' \
	uring 'a ring that grows' '' $kinds
mutant "uring: a child uses its parent's ring" $ring \
	'/^static int is_inherited/,/^}/s/return .*/return 0;/' \
	uring 'a child has its own ring' '' $kinds
mutant "uring: a ring that fails leaves its memory" $ring \
	'/^static int setup_private/,/^}/s/(void)munmap(.*/;/' \
	uring 'system calls fail' '' $kinds
mutant "uring: a ring that must not be used is used" $ring \
	's/if (!is_usable(r) ||/if (/' \
	uring 'system calls fail' '' $kinds
mutant "uring: a ring that must not be used stays" $ring \
	'/^static int ring_init/,/^}/s/ring_free(r);/;/' \
	uring 'system calls fail' '' $kinds
mutant "uring: the first of two mappings stays" $ring \
	'/^static int map_shared/,/^}/s/(void)munmap(r->rings.*/;/' \
	uring 'no memory for a ring' '' $kinds
mutant "uring: a ring without memory stays open" $ring \
	'/^static int create/,/^}/s/iv_close(fd);/;/' \
	uring 'no memory for a ring' '' $kinds
mutant "uring: a ring that begins to fail ends the process" $ring \
	's/if (iv_fd_not_here(-ret) || ret == -EACCES)/if (0)/' \
	uring 'its ring begins to fail' '' $kinds
mutant "uring: a ring that begins to fail is asked for ever" $ring \
	'/^static void await_all/,/^}/s/is_given_up/is_inherited/' \
	uring 'its ring begins to fail' '' $kinds
mutant "uring: a loop keeps a ring that begins to fail" iv_fd \
	'/^void iv_fd_give_up_method/,/^}/s/st->fd.generation = 0;/;/' \
	uring 'its ring begins to fail' '' $kinds
mutant "uring: a ring that could not grow never does" $ring \
	's/completions > u->asked_for/u->asked_for == 0/' \
	uring 'may grow later' '' $kinds
mutant "uring: it is fatal if a child cannot have a ring" iv_fd \
	'/^static int choose_method/,/^}/s/begin = NULL;/;/' \
	uring 'loop works without a ring' '' $kinds
mutant "uring: used without being named" iv_fd \
	's/#define NUM_USUAL	(NUM_METHODS - 1)/#define NUM_USUAL NUM_METHODS/' \
	process 'excluding every method but uring' ''
fi
mutant "methods: the preferred one cannot be excluded" iv_fd \
	's/if ((excluded & (1 << i)) && begin == NULL)/if (n > 0 \&\& (excluded \& (1 << i)) \&\& begin == NULL)/' \
	process 'IV_SELECT_POLL_METHOD comes first' ''
mutant "methods: privileged programs read a preference" iv_main \
	's/iv_process_getenv("IV_SELECT_POLL_METHOD")/getenv("IV_SELECT_POLL_METHOD")/' \
	process 'set-user-ID' ''

echo "# $number of $seen mutants"
echo "1..$number"
exit $failed
