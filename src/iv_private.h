/*
 * libivykis: what the library's own files share.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One struct iv_state is one loop.  Each module keeps what it needs for a
 * loop in its own member of it and touches no other's.  A private view of a
 * public structure (struct iv_fd_ of struct iv_fd) begins with the same
 * members and uses the room behind them; each file asserts that its view fits.
 */

#ifndef IV_PRIVATE_H
#define IV_PRIVATE_H

#include <iv.h>
#include <iv_event_raw.h>
#include <iv_list.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include "iv_process.h"
#include "iv_sys.h"

#pragma GCC visibility push(hidden)

struct iv_board;
struct iv_board_record;
struct iv_event_;
struct iv_fd_;
struct iv_timer_;
struct iv_timer_heap;
struct iv_fd_poll_method;
struct iv_fd_uring;
struct kevent;
struct pollfd;

/* iv_clock.c */
struct iv_clock_state {
	struct timespec		now;
	int			valid;
};

/* iv_task.c */
struct iv_task_state {
	struct iv_list_head	current;	/* of the running round */
	struct iv_list_head	next;		/* of the round after it */
	unsigned long		position;	/* registrations so far */
	unsigned int		round;
	int			in_round;
};

/* iv_timer.c */
struct iv_timer_list {
	struct iv_list_head	timers;
	uint64_t		min;		/* none of them is before this */
};

/* Left by the timer that was unregistered last, until the next call. */
struct iv_timer_gap {
	const struct iv_timer_	*timer;		/* NULL: there is none */
	struct iv_list_head	link;		/* as it was in the timer */
	struct iv_timer_list	*list;
};

struct iv_timer_state {
	unsigned int		num;
	unsigned long		registrations;	/* so far */
	struct iv_timer_gap	gap;
	uint64_t		now;		/* of the latest step */
	struct iv_timer_heap	*heap;
	struct iv_timer_list	unsorted;	/* all but late, without a heap */
	struct iv_list_head	late;
	struct iv_list_head	batch;
};

/* iv_fd_epoll.c */
struct iv_fd_epoll_state {
	int			epfd;
	int			timerfd;	/* -1 until first needed */
	unsigned int		label;		/* of both */
	unsigned long		*numbers;	/* a bit for each one told */
	unsigned int		room;		/* for so many */
	struct timespec		armed;		/* what it is set to, or 0 */
	struct timespec		seen;		/* the last wait's limit */
	int			seen_times;
};

/* iv_fd_kqueue.c */
struct iv_fd_kqueue_state {
	int			kq;
	unsigned int		generation;	/* of the process it is in */
	struct kevent		*changes;	/* for the next wait */
	int			num;
	int			again;		/* some have to be told again */
	struct iv_fd_		**told;		/* by number; NULL: none */
	unsigned int		room;
};

/* iv_fd_poll.c */
struct iv_fd_poll_state {
	struct pollfd		*pfds;
	struct iv_fd_		**fds;
	unsigned int		num;
	unsigned int		room;
};

/* iv_fd.c */
struct iv_fd_state {
	const struct iv_fd_poll_method	*method;
	unsigned int		generation;
	unsigned int		num;
	struct iv_list_head	all;
	struct iv_list_head	changed;	/* the kernel is to be told */
	struct iv_list_head	ready;		/* reported, not yet served */
	struct iv_fd_		*handled;
	int			waiting;	/* or about to, or left the wait */
	union {
		struct iv_fd_epoll_state	epoll;
		struct iv_fd_kqueue_state	kqueue;
		struct iv_fd_poll_state		poll;
		struct iv_fd_uring		*uring;
	} u;
};

/* iv_board.c */
struct iv_board_state {
	_Atomic(struct iv_board *)	bell;
	atomic_uint		generation;	/* of the process of the bell */
	unsigned int		noticed;	/* the same, of what is here */
	struct iv_board_record	**records;	/* with gaps */
	unsigned int		room;
	unsigned int		num;		/* boards */
	unsigned int		adopted;	/* of them */
	unsigned int		live;		/* objects that have a bit */
	unsigned long		due;		/* records, as hints are */
	struct iv_board_record	*first;		/* that of the bell */
	struct iv_board_record	*open;		/* has bits to give */
};

/* iv_busy_poll.c: nanoseconds */
struct iv_busy_poll_state {
	int64_t			limit;		/* 0: do not */
	int64_t			window;
	unsigned int		in_vain;
	unsigned int		skips;		/* of spins, still to come */
	int			posted_awake;	/* since the last spin */
	struct timespec		began;
};

/* iv_event.c */
struct iv_event_state {
	_Atomic(struct iv_event_ *)	posted;	/* a stack, latest on top */
	atomic_uint		marks;		/* are right for this process */
	struct iv_event_	**queue;	/* taken off the stack */
	unsigned int		room;
	unsigned int		head;		/* the next to be served */
	unsigned int		batch;		/* ends here */
	unsigned int		tail;
	int			is_changing;	/* the queue, right now */
	int			has_missed_fork;	/* meanwhile */
	int			own;		/* to be served in a round ... */
	unsigned long		position;	/* ... at this position */
	unsigned int		round;		/* the last that served */
	unsigned int		num;
	unsigned int		generation;
	struct iv_event_raw	wake;
};

/* iv_loop_fd.c */
struct iv_loop_fd_state {
	unsigned int		generation;	/* has the rest; 0: nobody */
	int			fd;
	int			timerfd;
	int			watched;	/* of the poll method, or -1 */
	unsigned int		label;		/* of the first two */
	struct timespec		armed;
};

/*
 * What a loop has done so far, counted in the loop's thread.  Posts are not
 * counted where they are made: they come from threads without a loop, from
 * signal handlers and from other processes, and a counter that all of these
 * share would cost more than a post does.
 */
struct iv_stats {
	unsigned long		passes;
	unsigned long		waits;		/* asked the kernel */
	unsigned long		sleeps;		/* ... ready to wait for it */
	unsigned long		fds;		/* served, iv_event_raw's too */
	unsigned long		raws;		/* handlers called, wakes too */
	unsigned long		quiet;		/* ... without a system call */
	unsigned long		doorbells;	/* drained */
	unsigned long		spurious;	/* nothing was left to be done */
	unsigned long		wakes;		/* by a post to an iv_event */
	unsigned long		events;
	unsigned long		tasks;
	unsigned long		timers;
	unsigned long		polls;		/* before a sleep */
	unsigned long		poll_hits;
	uint64_t		poll_ns;
	unsigned long		spins;		/* without a limit for polls */
	unsigned long		spin_hits;
};

struct iv_state {
	struct iv_stats		stats;
	unsigned long		quits;		/* calls of iv_quit() so far */
	unsigned long		old_quits;	/* that iv_main() ignores */
	int			ending;
	int			running;	/* iv_main() and the like, or more */
	unsigned long		life;		/* of those this memory has had */
	int			has_slept;	/* in this iteration */
	unsigned int		rounds;		/* since the last wait */
	struct timespec		rounds_end;
	unsigned int		numobjs;
	int			idle;		/* in another loop's wait */
	struct iv_clock_state	clock;
	struct iv_task_state	task;
	struct iv_timer_state	timer;
	struct iv_fd_state	fd;
	struct iv_board_state	board;
	struct iv_event_state	event;
	struct iv_busy_poll_state	busy_poll;
	struct iv_loop_fd_state	loop_fd;
};

/* The calling thread's loop, which the public function named call needs. */
static inline struct iv_state *iv_state_for(const char *call)
{
	if (iv_self == NULL)
		iv_fatal("%s: this thread has no loop: iv_init() was not "
			 "called in it, or iv_deinit() was since", call);

	return iv_self;
}

/*
 * For a function that has called a handler: is the loop that it works for still
 * there?  Not if the number is another one than before the call.
 */
static inline unsigned long iv_loop_life(void)
{
	return iv_self != NULL ? iv_self->life : 0;
}

/* iv_main.c */
/*
 * iv_process_init() and the like of all modules, before a loop or anything else
 * of the process is used.  0, or -1 with errno: then it can be called again.
 */
int iv_main_init_process(void);
/* Is there work for which the kernel need not be asked? */
int iv_main_has_work(const struct iv_state *st);
/*
 * Announce that the loop will sleep.  Returns until when: *next, or NULL for
 * ever; {0, 0} if it must not sleep.
 */
const struct timespec *
iv_main_sleep(struct iv_state *st, struct timespec *next);

/* iv_clock.c */
static inline void iv_clock_invalidate(struct iv_state *st)
{
	st->clock.valid = 0;
}

const struct timespec *iv_clock_read(struct iv_state *st);

static inline const struct timespec *iv_clock_now(struct iv_state *st)
{
	return st->clock.valid ? &st->clock.now : iv_clock_read(st);
}

/* What the clock was when it was last read, or {0, 0}. */
static inline const struct timespec *iv_clock_latest(const struct iv_state *st)
{
	return &st->clock.now;
}

/* iv_task.c: rounds. */
void iv_task_init(struct iv_state *st);
void iv_task_begin_round(struct iv_state *st);
int iv_task_run_one(struct iv_state *st);
void iv_task_end_round(struct iv_state *st);
/* Is no task of this round left that was registered before pos? */
int iv_task_reached(const struct iv_state *st, unsigned long pos);

static inline int iv_task_queued(const struct iv_state *st)
{
	return !iv_list_empty(&st->task.next) ||
	       !iv_list_empty(&st->task.current);
}

/* The position that the next task to be registered gets. */
static inline unsigned long iv_task_position(const struct iv_state *st)
{
	return st->task.position;
}

/* The number of the running, or else of the latest round. */
static inline unsigned int iv_task_round(const struct iv_state *st)
{
	return st->task.round;
}

/* iv_timer.c */
static inline int iv_timer_any(const struct iv_state *st)
{
	return st->timer.num != 0;
}

void iv_timer_init(struct iv_state *st);
void iv_timer_deinit(struct iv_state *st);
/* What follows is for loops with timers. */
void iv_timer_run(struct iv_state *st);
/* When the first is due; {0, 0}: already, surely. */
struct timespec iv_timer_next(struct iv_state *st);

/* iv_stats.c */
/* Let each loop tell its counts at its end, if the word is "1". */
void iv_stats_ask(const char *word);
void iv_stats_tell(const struct iv_state *st);

/* iv_fd.c */
/* Never use these poll methods, given by names with white space between. */
void iv_fd_exclude_methods(const char *names);
/* Try this one before the others, if it is there. */
void iv_fd_select_method(const char *name);
void iv_fd_init(struct iv_state *st);
int iv_fd_start(struct iv_state *st);
void iv_fd_deinit(struct iv_state *st);
/* In the child of a loop's thread. */
void iv_fd_forked(struct iv_state *st);
/* Wait for descriptors until the given time; NULL: no limit, {0, 0}: not. */
void iv_fd_wait(struct iv_state *st, const struct timespec *until);
void iv_fd_run(struct iv_state *st);
/* Tell the kernel now what the next wait would tell it. */
void iv_fd_flush(struct iv_state *st);
/* Is readable when a wait would report something; -1 with errno: ENOSYS ... */
int iv_fd_descriptor(struct iv_state *st);

/*
 * As iv_fd_register_try(), for a descriptor that the library has opened,
 * non-blocking and close-on-exec, which it gives a label.  To be unregistered by
 * iv_fd_close_own(), which also closes the descriptor if it is still ours.
 *
 * If a child has closed it, handler_err is called once in the child's loop, if
 * it is set.  iv_fd_is_lost() then says so, and nothing else is heard of it,
 * whatever the number stands for; iv_fd_renew() gives the object another
 * descriptor that the library has opened, or returns -1 if there is no memory.
 *
 * iv_fd_label() returns the label, for iv_process_close() of the other end of a
 * pipe, which got the same by iv_process_label_fd().
 */
int iv_fd_register_own(struct iv_fd *fd);
void iv_fd_close_own(struct iv_fd *fd);
int iv_fd_is_lost(const struct iv_fd *fd);
int iv_fd_renew(struct iv_fd *fd, int number);
unsigned int iv_fd_label(const struct iv_fd *fd);
void iv_fd_set_label(struct iv_fd *fd);		/* registered or not */

/* Is fd, of which no member is read, registered with this loop? */
int iv_fd_contains(const struct iv_state *st, const struct iv_fd *fd);

static inline int iv_fd_ready(const struct iv_state *st)
{
	return !iv_list_empty(&st->fd.ready);
}

/* iv_event.c */
/* In the child of a loop's thread. */
void iv_event_forked(struct iv_state *st);
void iv_event_deinit(struct iv_state *st);

static inline int iv_event_any(const struct iv_state *st)
{
	return st->event.num != 0;
}

static inline int iv_event_queued(const struct iv_state *st)
{
	/* Relaxed: what is on the stack is read by take_stack() only. */
	return atomic_load_explicit(&st->event.posted,
				    memory_order_relaxed) != NULL ||
	       st->event.head != st->event.tail;
}

/* Did the loop's own thread post first?  Then they are served in a round. */
static inline int iv_event_own(const struct iv_state *st)
{
	return st->event.own;
}

/* In this one, if none has served any yet? */
static inline int iv_event_in_round(const struct iv_state *st)
{
	return st->event.own && st->event.round != iv_task_round(st);
}

void iv_event_run(struct iv_state *st);
/* The same, once its place in the round has come; was that now? */
int iv_event_run_in_round(struct iv_state *st);
/* The loop goes on in a forked child. */
void iv_event_go_on(struct iv_state *st);

/* For loops with events, before each wait. */
static inline void iv_event_notice_fork(struct iv_state *st)
{
	if (st->event.generation != iv_process_generation())
		iv_event_go_on(st);
}

/* iv_board.c */
static inline int iv_board_any(const struct iv_state *st)
{
	return st->board.num != 0;
}

/* Is a bit set? */
int iv_board_posted(const struct iv_state *st);
/*
 * Make due what is posted now.  What a handler posts, to its own object or to
 * another one, waits for the next iteration, as tasks come first.
 *
 * Unless `all' is set, only boards that have a hint are read.  All are read
 * before each wait: a poster that was killed may have left a bit without one.
 */
void iv_board_look(struct iv_state *st, int all);
/* Announce that the loop will sleep, or has slept. */
void iv_board_sleep(const struct iv_state *st);
void iv_board_wake_up(const struct iv_state *st);
void iv_board_deinit(struct iv_state *st);

/* iv_event_raw.c: serve what is due. */
void iv_event_raw_run(struct iv_state *st);

/* The loop goes on in a forked child. */
void iv_event_raw_go_on(struct iv_state *st);

static inline int iv_event_raw_is_noticed(const struct iv_state *st)
{
	return st->board.noticed == iv_process_generation();
}

static inline void iv_event_raw_notice_fork(struct iv_state *st)
{
	if (!iv_event_raw_is_noticed(st))
		iv_event_raw_go_on(st);
}

/* The wakeup of a loop's iv_events; any thread that knows the bell rings it. */
int iv_event_raw_register_wake(struct iv_state *st, struct iv_event_raw *event);
void iv_event_raw_unregister_wake(struct iv_event_raw *event);
void iv_event_raw_wake(struct iv_board *bell);

/* iv_busy_poll.c: for all loops of the process, microseconds as digits. */
void iv_busy_poll_ask(const char *word);
void iv_busy_poll_init(struct iv_state *st);
/* Poll before a sleep.  Returns 1 if something was posted or is ready. */
int iv_busy_poll(struct iv_state *st, const struct timespec *until);
void iv_busy_poll_slept(struct iv_state *st);

/* iv_loop_fd.c */
void iv_loop_fd_deinit(struct iv_state *st);
/* The descriptor of the poll method will be closed. */
void iv_loop_fd_forget(struct iv_state *st);
/* A turn begins, which a handler may leave for good. */
void iv_loop_fd_begin_turn(struct iv_state *st);
/* The loop goes to sleep in another one's wait, if it is inside of one. */
void iv_loop_fd_settle(struct iv_state *st);

/*
 * Something was registered, or a doorbell was closed: if the loop sleeps like
 * that, it is to know.
 */
static inline void iv_loop_fd_registered(struct iv_state *st)
{
	if (__builtin_expect(st->idle, 0))
		iv_loop_fd_settle(st);
}

/* iv_tls.c: areas behind struct iv_state. */
struct iv_state *iv_tls_alloc(void);
/* Clears the areas, which may be those of a loop that has ended, first. */
void iv_tls_init_thread(struct iv_state *st);
void iv_tls_deinit_thread(struct iv_state *st);

#pragma GCC visibility pop

#endif
