/*
 * libivykis: polling for a bounded time before a loop sleeps.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop that is about to sleep first keeps checking its boards and its stack
 * of events for a while.  It thus serves a post that comes soon in a fraction
 * of the time that a wakeup takes.  It asks the kernel every few microseconds,
 * without waiting, so that descriptors are not delayed.
 *
 * How long it polls, the window, adapts within the user's limit: the window is
 * halved after several of them brought nothing, and doubled after a sleep that
 * a window as long as the limit would have avoided.
 *
 * A loop for which the user has set no limit spins instead, once and briefly,
 * if it was posted to while it was awake, because another post may follow.
 * Sleeping and being woken would take both sides several times longer.  It does
 * not read its boards until the end: a loop that served each post at once would
 * keep taking the cache lines from the posters, and would find little to do.
 */

#include "iv_cpu.h"
#include "iv_private.h"
#include "iv_probe.h"
#include "iv_time.h"

#define ASK_NSEC	5000	/* from one query of the kernel to the next */
#define CHECKS		32	/* from one reading of the clock to the next */
#define IN_VAIN		4	/* windows in a row, before it is halved */
#define PARTS		16	/* the limit is so many shortest windows */
#define MAX_USEC	1000000

#define SPIN_NSEC	1500
#define SPIN_READS	64	/* readings of the clock, at most */
#define SPIN_PAUSES	8	/* from one of these to the next */
#define MAX_SKIPS	63	/* spins left out, after several in vain */

static int64_t ns_since(const struct timespec *from, const struct timespec *to)
{
	return (int64_t)(to->tv_sec - from->tv_sec) * IV_NSEC_PER_SEC +
	       (to->tv_nsec - from->tv_nsec);
}

static struct timespec read_clock(struct iv_state *st)
{
	iv_clock_invalidate(st);

	return *iv_clock_now(st);
}

/* Returns 1 once something is posted or ready, 0 if the time is over. */
static int poll_until(struct iv_state *st, const struct timespec *end)
{
	static const struct timespec past;
	struct timespec asked = st->busy_poll.began;
	struct timespec now;
	int i;

	for (;;) {
		for (i = 0; i < CHECKS; i++) {
			if (iv_main_has_work(st))
				return 1;
			iv_pause();
		}
		now = read_clock(st);
		if (iv_time_compare(&now, end) >= 0)
			return 0;
		if (ns_since(&asked, &now) < ASK_NSEC)
			continue;
		asked = now;
		st->stats.waits++;
		iv_fd_wait(st, &past);
		if (iv_fd_ready(st))
			return 1;
	}
}

static void note_vain(struct iv_busy_poll_state *b)
{
	if (++b->in_vain < IN_VAIN)
		return;
	b->in_vain = 0;
	b->window /= 2;
	if (b->window < b->limit / PARTS)
		b->window = 0;
}

/*
 * With one processor, polling keeps the poster from running.  The affinity that
 * the process began with is used: a thread that polls may be bound to one
 * processor of its own later.
 */
static int has_one_processor;

static void wait_briefly(struct iv_state *st)
{
	const struct timespec began = read_clock(st);
	struct timespec now = began;
	int i, j;

	for (i = 0; i < SPIN_READS && ns_since(&began, &now) < SPIN_NSEC; i++) {
		for (j = 0; j < SPIN_PAUSES; j++)
			iv_pause();
		now = read_clock(st);
	}
}

/* After each spin in vain, twice as many of the next ones are left out. */
static int spin(struct iv_state *st)
{
	struct iv_busy_poll_state *b = &st->busy_poll;

	if (!b->posted_awake || has_one_processor)
		return 0;
	b->posted_awake = 0;
	if (b->skips > 0) {
		b->skips--;
		return 0;
	}

	wait_briefly(st);
	st->stats.spins++;
	if (iv_main_has_work(st)) {
		st->stats.spin_hits++;
		b->in_vain = 0;
		return 1;
	}
	b->in_vain = b->in_vain < MAX_SKIPS ? 2 * b->in_vain + 1 : MAX_SKIPS;
	b->skips = b->in_vain;

	return 0;
}

int iv_busy_poll(struct iv_state *st, const struct timespec *until)
{
	struct iv_busy_poll_state *b = &st->busy_poll;
	struct timespec end;
	int is_short, hit;

	if (b->limit == 0)
		return spin(st);
	b->began = read_clock(st);
	if (b->window == 0)
		return 0;

	end = b->began;
	end.tv_sec += b->window / IV_NSEC_PER_SEC;
	end.tv_nsec += b->window % IV_NSEC_PER_SEC;
	end = iv_time_normalised(&end);
	is_short = until != NULL && iv_time_compare(until, &end) < 0;
	if (is_short)
		end = *until;

	hit = poll_until(st, &end);
	IV_PROBE_LOOP_POLLED(st, hit);
	st->stats.polls++;
	st->stats.poll_hits += hit;
	st->stats.poll_ns += ns_since(&b->began, iv_clock_latest(st));
	if (hit)
		b->in_vain = 0;
	else if (!is_short)
		note_vain(b);

	return hit;
}

void iv_busy_poll_slept(struct iv_state *st)
{
	struct iv_busy_poll_state *b = &st->busy_poll;
	struct timespec now;

	if (b->limit == 0)
		return;
	/* It was ended by a timer, and polling would not have avoided it. */
	if (!iv_fd_ready(st) && !iv_main_has_work(st))
		return;
	now = read_clock(st);
	if (ns_since(&b->began, &now) > b->limit)
		return;
	b->window = b->window != 0 ? 2 * b->window : b->limit / PARTS + 1;
	if (b->window > b->limit)
		b->window = b->limit;
}

/* Constant since iv_init(). */
static unsigned int of_all_loops;

__attribute__((constructor))
static void count_processors(void)
{
	has_one_processor = iv_sys_num_processors() == 1;
}

static void set_limit(struct iv_state *st, unsigned int usec)
{
	if (usec > MAX_USEC)
		usec = MAX_USEC;
	if (has_one_processor)
		usec = 0;
	st->busy_poll = (struct iv_busy_poll_state){
		.limit = (int64_t)usec * 1000,
		.window = (int64_t)usec * 1000,
	};
}

void iv_set_busy_poll(unsigned int usec)
{
	set_limit(iv_state_for("iv_set_busy_poll"), usec);
}

void iv_busy_poll_ask(const char *word)
{
	unsigned int usec = 0;

	for (; *word >= '0' && *word <= '9' && usec <= MAX_USEC; word++)
		usec = 10 * usec + (*word - '0');
	if (*word == '\0' && usec <= MAX_USEC)
		of_all_loops = usec;
}

void iv_busy_poll_init(struct iv_state *st)
{
	set_limit(st, of_all_loops);
}
