/*
 * libivykis: one thread's loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An iteration of the loop runs the timers that are due and a round of tasks,
 * waits, and calls the handlers of the events and the descriptors that the wait
 * has reported.  Each kind is served once per iteration, so that none starves
 * another.
 *
 * While tasks or events queue themselves, the loop would wait for no time at
 * all, so it skips some of these waits.
 *
 * A handler need not return: it may throw, end its thread or the process, jump
 * out of iv_main(), or run another iv_main().  So what a module has yet to do
 * is kept in its lists and not in the frames below the handler, and the next
 * iteration finds it there, in whichever iv_main() that is.
 *
 * For the same reason the library does not know whether an iv_main() that was
 * called will go on, so iv_deinit() is permitted inside of one.  The memory of
 * the loop is then kept, as an empty loop, for the frames of that iv_main(),
 * and `life' shows them, should they ever go on, that the loop is another one.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "iv_cancel.h"
#include "iv_private.h"
#include "iv_probe.h"
#include "iv_time.h"

static pthread_key_t thread_end;

static void end_loop(struct iv_state *st)
{
	iv_tls_deinit_thread(st);
	iv_loop_fd_deinit(st);
	iv_event_deinit(st);
	iv_board_deinit(st);
	iv_timer_deinit(st);
	iv_fd_deinit(st);
	iv_stats_tell(st);

	(void)iv_sys_set_self(NULL);
}

/* The destructor of thread_end: the thread has no frame of iv_main() left. */
static void end_thread(void *st)
{
	if (iv_self != NULL)
		end_loop(st);
	free(st);
}

/* Runs in the child, which has one thread yet, or in a signal handler of it. */
static void forked(void)
{
	if (iv_self == NULL)
		return;
	iv_event_forked(iv_self);
	iv_fd_forked(iv_self);
}

static int tell_of_forks(void)
{
	static int done;

	if (!done && iv_process_at_fork(NULL, forked) < 0)
		return -1;
	done = 1;

	return 0;
}

static int init_process(void)
{
	int err;

	if (iv_process_init() < 0 || tell_of_forks() < 0)
		return -1;
	iv_fd_exclude_methods(iv_process_getenv("IV_EXCLUDE_POLL_METHOD"));
	iv_fd_select_method(iv_process_getenv("IV_SELECT_POLL_METHOD"));
	iv_stats_ask(iv_process_getenv("IV_STATS"));
	iv_busy_poll_ask(iv_process_getenv("IV_BUSY_POLL"));

	/* Last, so that a retry does not create a second key. */
	err = pthread_key_create(&thread_end, end_thread);
	if (err)
		errno = err;

	return err ? -1 : 0;
}

/* The process has no generation yet, so its number holds the lock. */
int iv_main_init_process(void)
{
	static struct iv_lock lock;
	static atomic_int begun;
	int ret = 0;
	int state;

	/* Acquire: pairs with the release below. */
	if (atomic_load_explicit(&begun, memory_order_acquire))
		return 0;

	state = iv_lock_take_as(&lock, getpid());
	/* Relaxed: the lock gives the order. */
	if (!atomic_load_explicit(&begun, memory_order_relaxed))
		ret = init_process();
	if (ret == 0)
		atomic_store_explicit(&begun, 1, memory_order_release);
	iv_lock_release(&lock, state);

	return ret;
}

/*
 * Make a loop without objects, in memory that may have been another loop's.  An
 * iv_main() of that one finds nothing to do, and quits.
 */
static void make_empty(struct iv_state *st, int running, unsigned long life,
		       unsigned long quits)
{
	memset(st, 0, sizeof(*st));
	st->running = running;
	st->life = life;
	st->quits = quits;
	iv_fd_init(st);
	iv_task_init(st);
	iv_timer_init(st);
}

static struct iv_state *new_state(void)
{
	struct iv_state *st = iv_tls_alloc();

	if (st == NULL)
		return NULL;
	if (pthread_setspecific(thread_end, st) != 0) {
		free(st);
		errno = ENOMEM;
		return NULL;
	}
	make_empty(st, 0, 1, 0);

	return st;
}

/* A loop that is left by all that were inside it. */
static void free_state(struct iv_state *st)
{
	(void)pthread_setspecific(thread_end, NULL);
	free(st);
}

/* From here on it is the calling thread's. */
static int start(struct iv_state *st)
{
	if (iv_fd_start(st) < 0)
		return -1;
	if (iv_sys_set_self(st) < 0) {
		iv_fd_deinit(st);
		return -1;
	}

	return 0;
}

static int begin_loop(void)
{
	struct iv_state *st;

	if (iv_main_init_process() < 0)
		return -1;

	/* The memory of a loop that ended inside iv_main() is used again. */
	st = pthread_getspecific(thread_end);
	if (st == NULL)
		st = new_state();
	if (st == NULL)
		return -1;

	if (start(st) < 0) {
		if (st->running == 0)
			free_state(st);
		return -1;
	}
	iv_busy_poll_init(st);
	iv_tls_init_thread(st);

	return 0;
}

int iv_init_try(void)
{
	int saved_errno = errno;
	int state;
	int ret;

	if (iv_self != NULL)
		return 0;

	state = iv_cancel_disable();
	ret = begin_loop();
	iv_cancel_restore(state);
	if (ret == 0)
		errno = saved_errno;

	return ret;
}

void iv_init(void)
{
	if (iv_init_try() == 0)
		return;

	if (errno == ENOSYS)
		iv_fatal("iv_init: no suitable event dispatcher: is "
			 "IV_EXCLUDE_POLL_METHOD set in the environment?");
	if (errno == EAGAIN)
		iv_fatal("iv_init: cannot create a thread key: the process "
			 "has used all of them up");
	iv_fatal("iv_init: cannot make a loop: %s (errno %d): iv_init_try() "
		 "reports it instead", strerror(errno), errno);
}

int iv_inited(void)
{
	return iv_self != NULL;
}

static void run_round(struct iv_state *st)
{
	iv_task_begin_round(st);
	while ((iv_event_in_round(st) && iv_event_run_in_round(st)) ||
	       iv_task_run_one(st))
		;
	iv_task_end_round(st);
}

/* How many rounds may follow each other without a wait, and for how long. */
#define ROUNDS		64
#define ROUNDS_NSEC	50000

int iv_main_has_work(const struct iv_state *st)
{
	return iv_task_queued(st) || iv_event_queued(st) ||
	       (iv_board_any(st) && iv_board_posted(st));
}

/* As far as the boards are known from when they were last read. */
static int is_something_due(const struct iv_state *st)
{
	return iv_task_queued(st) || iv_event_queued(st) ||
	       (iv_board_any(st) && st->board.due != 0);
}

/*
 * Reading the clock takes as long as a short round, so it is done after one,
 * two, four, ... of them.
 */
static int skip_wait(struct iv_state *st)
{
	const struct timespec *now;

	if (iv_board_any(st))
		iv_board_look(st, 0);
	if (!is_something_due(st))
		return 0;

	iv_clock_invalidate(st);
	st->rounds++;
	if (st->rounds & (st->rounds - 1))
		return 1;

	now = iv_clock_now(st);
	if (st->rounds == 1) {
		st->rounds_end = *now;
		st->rounds_end.tv_nsec += ROUNDS_NSEC;
	}

	return st->rounds < ROUNDS &&
	       iv_time_compare(now, &st->rounds_end) < 0;
}

/*
 * Announce that the loop will sleep; 0 if there is work, or if a signal handler
 * has forked and this is the child: it must not.
 */
static int fall_asleep(struct iv_state *st)
{
	iv_board_sleep(st);
	iv_step();

	return iv_event_raw_is_noticed(st) && !iv_main_has_work(st);
}

/* 1 if that has brought something, and the kernel need not be asked again. */
static int poll_instead(struct iv_state *st, const struct timespec *until)
{
	if (!iv_busy_poll(st, until))
		return 0;
	if (!iv_fd_ready(st))
		return skip_wait(st);
	iv_clock_invalidate(st);
	st->rounds = 0;

	return 1;
}

/*
 * A signal handler may have forked since the iteration began.  The child must
 * not sleep, as it may have missed what that handler posted.
 */
static int must_notice_fork(const struct iv_state *st)
{
	return iv_board_any(st) && !iv_event_raw_is_noticed(st);
}

/* The loop is not in the wait of another one any more. */
static void leave_other_loop(struct iv_state *st)
{
	st->idle = 0;
	iv_loop_fd_begin_turn(st);
	iv_board_wake_up(st);
}

static void ask_kernel(struct iv_state *st, const struct timespec *until)
{
	int sleeps = until == NULL || !iv_time_is_zero(until);

	st->stats.waits++;
	st->stats.sleeps += sleeps;
	st->has_slept = sleeps;
	IV_PROBE_LOOP_SLEEP(st, until);
	iv_step();
	if (!must_notice_fork(st))
		iv_fd_wait(st, until);
	iv_step();
	IV_PROBE_LOOP_WAKE(st);
	if (iv_board_any(st))
		iv_board_wake_up(st);
	/* A handler has called iv_loop_fd(), or run a turn of its own. */
	if (st->idle)
		leave_other_loop(st);
	if (sleeps)
		iv_busy_poll_slept(st);
	iv_clock_invalidate(st);
	st->rounds = 0;
}

/* When the first timer is due, which is stored in *next; NULL: never. */
static const struct timespec *
next_timer(struct iv_state *st, struct timespec *next)
{
	if (!iv_timer_any(st))
		return NULL;
	*next = iv_timer_next(st);

	return next;
}

/* Until the limit at the latest; NULL: there is none, {0, 0}: do not wait. */
static void
wait_for_events(struct iv_state *st, const struct timespec *limit)
{
	static const struct timespec past;
	struct timespec next;
	const struct timespec *until = next_timer(st, &next);

	if (limit != NULL &&
	    (until == NULL || iv_time_compare(limit, until) < 0))
		until = limit;
	if (is_something_due(st)) {
		until = &past;
	} else if (iv_board_any(st) &&
		   (limit == NULL || !iv_time_is_zero(limit))) {
		if (poll_instead(st, until))
			return;
		if (!fall_asleep(st))
			until = &past;
	}
	ask_kernel(st, until);
}

/* The boards first: one of them is that of the events' wakeup. */
static void notice_fork(struct iv_state *st)
{
	iv_event_raw_notice_fork(st);
	if (iv_event_any(st))
		iv_event_notice_fork(st);
}

/*
 * What comes before the wait; 0: there is none, the loop is to return.  Only
 * calls of iv_quit() after the first old_quits of them count.
 */
static inline int
begin_pass(struct iv_state *st, const unsigned long *old_quits)
{
	st->stats.passes++;
	st->has_slept = 0;
	if (iv_timer_any(st))
		iv_timer_run(st);
	run_round(st);
	if (st->quits != *old_quits || !st->numobjs)
		return 0;

	if (iv_board_any(st))
		notice_fork(st);

	return 1;
}

static inline void look_at_boards(struct iv_state *st)
{
	iv_step();
	if (iv_board_any(st))
		iv_board_look(st, 1);
}

static inline void note_posts(struct iv_state *st)
{
	st->busy_poll.posted_awake |= !st->has_slept;
}

/* What the wait brought, or what was posted while it was skipped. */
static inline void end_pass(struct iv_state *st)
{
	if (iv_event_queued(st) && !iv_event_own(st)) {
		note_posts(st);
		iv_event_run(st);
	}
	if (iv_fd_ready(st))
		iv_fd_run(st);
	iv_step();
	if (st->board.due) {
		note_posts(st);
		iv_event_raw_run(st);
	}
}

const struct timespec *
iv_main_sleep(struct iv_state *st, struct timespec *next)
{
	static const struct timespec past;
	const struct timespec *until = next_timer(st, next);

	if (iv_task_queued(st) || iv_fd_ready(st))
		until = &past;
	if (iv_board_any(st)) {
		notice_fork(st);
		if (!fall_asleep(st))
			until = &past;
	}

	return until;
}

static void run(struct iv_state *st)
{
	st->old_quits = st->quits;
	while (begin_pass(st, &st->old_quits)) {
		if (!skip_wait(st)) {
			wait_for_events(st, NULL);
			look_at_boards(st);
		}
		end_pass(st);
	}
}

/* Counts too many once a handler has left the call. */
static unsigned long enter(struct iv_state *st)
{
	st->running++;
	if (st->idle)
		leave_other_loop(st);

	return st->life;
}

static void leave(struct iv_state *st, unsigned long life)
{
	if (st->life != life)
		iv_fatal("iv_deinit: called inside iv_main, by a handler that "
			 "returned: call iv_quit() there, and iv_deinit() "
			 "after iv_main()");
	st->running--;
	if (st->loop_fd.generation != 0)
		iv_loop_fd_settle(st);
}

void iv_main(void)
{
	struct iv_state *st = iv_state_for("iv_main");
	unsigned long life = enter(st);

	run(st);
	leave(st, life);
}

static int is_due(struct iv_state *st)
{
	const struct timespec *until;
	struct timespec next;

	if (iv_fd_ready(st) || iv_main_has_work(st))
		return 1;
	until = next_timer(st, &next);

	return until != NULL && iv_time_compare(until, iv_clock_now(st)) <= 0;
}

static int is_over(struct iv_state *st, const struct timespec *limit)
{
	return limit != NULL && (iv_time_is_zero(limit) ||
				 iv_time_compare(limit, iv_clock_now(st)) <= 0);
}

static struct timespec end_of(const struct timespec *timeout)
{
	struct timespec span = iv_time_normalised(timeout);

	if (span.tv_sec < 0 || iv_time_is_zero(&span))
		return (struct timespec){ 0 };

	return iv_time_in(&span);
}

/* A wait may end for nothing, as it does for a signal: then it goes on. */
static void wait_for(struct iv_state *st, const struct timespec *timeout)
{
	static const struct timespec at_once;
	const struct timespec *limit = NULL;
	unsigned long waits = st->stats.waits;
	struct timespec end;

	if (timeout != NULL) {
		end = end_of(timeout);
		limit = &end;
	}
	for (;;) {
		look_at_boards(st);
		wait_for_events(st, limit);
		if (is_due(st) || is_over(st, limit))
			break;
		if (iv_board_any(st))
			notice_fork(st);
	}
	/* A post has ended the polling before the kernel was asked. */
	if (st->stats.waits == waits)
		ask_kernel(st, &at_once);
}

static unsigned long calls_before_wait(const struct iv_state *st)
{
	return st->stats.timers + st->stats.tasks + st->stats.events;
}

int iv_main_once(const struct timespec *timeout)
{
	static const struct timespec at_once;
	struct iv_state *st = iv_state_for("iv_main_once");
	unsigned long calls = calls_before_wait(st);
	unsigned long life = enter(st);
	const unsigned long old_quits = st->quits;
	int ret;

	iv_clock_invalidate(st);
	if (begin_pass(st, &old_quits)) {
		/* What a handler has done may be what the caller waits for. */
		if (calls_before_wait(st) != calls)
			timeout = &at_once;
		wait_for(st, timeout);
		look_at_boards(st);
		end_pass(st);
	}
	leave(st, life);

	ret = st->quits == old_quits && st->numobjs != 0;
	iv_clock_invalidate(st);

	return ret;
}

void iv_quit(void)
{
	iv_state_for("iv_quit")->quits++;
}

void iv_deinit(void)
{
	struct iv_state *st = iv_state_for("iv_deinit");
	int state;

	if (st->ending)
		iv_fatal("iv_deinit: called in a deinit_thread() of iv_tls, "
			 "which itself is called by iv_deinit()");
	st->ending = 1;

	state = iv_cancel_disable();
	end_loop(st);
	if (st->running > 0) {
		make_empty(st, st->running, st->life + 1, st->quits + 1);
	} else {
		free_state(st);
	}
	iv_cancel_restore(state);
}
