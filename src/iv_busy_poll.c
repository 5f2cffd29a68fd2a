/*
 * libivykis: polling for a bounded time before a loop sleeps.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A loop that would sleep goes on to look at its boards and at the stack of its
 * events for a while, and so answers a post that comes soon in a fraction of
 * the time that it takes to be woken.  The kernel is asked every few
 * microseconds, without waiting, so that descriptors are not late.
 *
 * The window, how long it polls, adapts within the user's limit: it is halved
 * after several that were in vain, and doubled after a sleep that a window as
 * long as the limit would have spared.
 */

#include "iv_cpu.h"
#include "iv_private.h"
#include "iv_probe.h"
#include "iv_time.h"

#define ASK_NSEC	5000	/* between two questions to the kernel */
#define LOOKS		32	/* between two looks at the clock */
#define IN_VAIN		4	/* windows, before it is halved */
#define PARTS		16	/* the shortest window, of the limit */
#define MAX_USEC	1000000

static int64_t ns_since(const struct timespec *from, const struct timespec *to)
{
	return (int64_t)(to->tv_sec - from->tv_sec) * IV_NSEC_PER_SEC +
	       (to->tv_nsec - from->tv_nsec);
}

static struct timespec look_at_clock(struct iv_state *st)
{
	iv_clock_invalidate(st);

	return *iv_clock_now(st);
}

/* Until something is posted or ready, or the time is over: 1 or 0. */
static int poll_until(struct iv_state *st, const struct timespec *end)
{
	static const struct timespec past;
	struct timespec asked = st->busy_poll.began;
	struct timespec now;
	int i;

	for (;;) {
		for (i = 0; i < LOOKS; i++) {
			if (iv_main_has_work(st))
				return 1;
			iv_pause();
		}
		now = look_at_clock(st);
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

int iv_busy_poll(struct iv_state *st, const struct timespec *until)
{
	struct iv_busy_poll_state *b = &st->busy_poll;
	struct timespec end;
	int is_short, hit;

	if (b->limit == 0)
		return 0;
	b->began = look_at_clock(st);
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
	/* A timer ended it, which polling would not have brought nearer. */
	if (!iv_fd_ready(st) && !iv_main_has_work(st))
		return;
	now = look_at_clock(st);
	if (ns_since(&b->began, &now) > b->limit)
		return;
	b->window = b->window != 0 ? 2 * b->window : b->limit / PARTS + 1;
	if (b->window > b->limit)
		b->window = b->limit;
}

/* Constant since iv_init(). */
static unsigned int of_all_loops;

/*
 * A poster needs a processor, too.  What counts is what the process began with:
 * a thread that polls may be bound to a processor of its own later.
 */
static int has_one_processor;

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
