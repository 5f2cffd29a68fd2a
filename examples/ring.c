/*
 * ring: exchange messages with worker processes, by rings in shared memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: ring [WORKERS [MESSAGES]]
 *
 * The program sends 1000000 messages to 2 workers and checks their answers.
 *
 * Each worker has a ring of messages, a ring of answers, and two doorbells: raw
 * events that are prepared before the fork, one for the worker to adopt and one
 * for the parent.  A process rings the other's doorbell after each message that
 * it has put, which makes no system call while the other is awake.  It also
 * rings after it has taken some, since the other may have found the ring full.
 * As a post is a hint to check, the handlers deal with all there is.
 *
 *	cc ring.c $(pkg-config --cflags --libs ivykis) -o ring
 *	./ring
 */

#include <iv.h>
#include <iv_event_raw.h>
#include <iv_wait.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "posts.h"
#include "ring.h"
#if __has_include(<sys/prctl.h>)
#include <sys/prctl.h>
#endif

#define BATCH		256	/* messages before other workers have a turn */
#define TICK_MS		100
#define MAX_WORKERS	1000

struct shared {
	struct ring	messages;
	struct ring	answers;
	atomic_int	end;		/* the worker is to end */
	struct posts	posts;		/* both: of an ended worker */
	unsigned long	runs;
};

struct worker {
	struct shared		*shared;
	struct iv_event_raw	bell;		/* owned by the worker */
	struct iv_event_raw	parent_bell;
	struct iv_wait_interest	wait;
	long			sent;
	long			answered;
};

static struct worker *workers;
static long num_workers = 2;
static long num_messages = 1000000;
static long num_sent;
static long num_answered;
static int ending;
static int failed;

static pid_t parent;
static double began, ended;
static struct iv_timer tick;
static long tick_writes;
static struct posts posts;		/* of this process */
static unsigned long runs;		/* of the bells' handlers */


/* The kernel kills the workers when the parent ends. */
static void fail(const char *what)
{
	fprintf(stderr, "ring: %s\n", what);
	_exit(1);
}

static void post(const struct iv_event_raw *bell)
{
	posts.made++;
	iv_event_raw_post(bell);
}


/* The worker. */
static void got_messages(void *_w)
{
	struct worker *w = _w;
	struct shared *s = w->shared;
	struct message m;

	runs++;
	while (!ring_is_full(&s->answers) && ring_take(&s->messages, &m)) {
		if (m.checksum != message_checksum(&m))
			fail("a message is damaged");
		message_answer(&m);
		ring_put(&s->answers, &m);
		/* This announces an answer, and room for a message. */
		post(&w->parent_bell);
	}
	if (atomic_load_explicit(&s->end, memory_order_acquire))
		iv_event_raw_unregister(&w->bell);
}

static void work(void *_w)
{
	struct worker *w = _w;

	/* The work is of no use once the parent is killed. */
#ifdef PR_SET_PDEATHSIG
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
	if (getppid() != parent)
		_exit(1);

	/* The worker has its own loop, not a copy of the parent's. */
	iv_deinit();
	iv_init();
	if (iv_event_raw_adopt(&w->bell) < 0)
		fail(strerror(errno));
	posts_begin(&posts);
	iv_main();
	posts_end(&posts, 0);
	w->shared->posts = posts;
	w->shared->runs = runs;
	iv_deinit();
	_exit(0);
}


/* The parent. */
static double now(void)
{
	iv_validate_now();

	return iv_now.tv_sec + iv_now.tv_nsec / 1e9;
}

static void stop_workers(void)
{
	long i;

	if (ending)
		return;
	ending = 1;
	ended = now();
	if (iv_timer_registered(&tick)) {
		iv_timer_unregister(&tick);
		dprintf(STDERR_FILENO, "\r\033[K");
		tick_writes++;
	}
	for (i = 0; i < num_workers; i++) {
		atomic_store_explicit(&workers[i].shared->end, 1,
				      memory_order_release);
		post(&workers[i].bell);
	}
	posts_end(&posts, tick_writes);
}

static void check_answer(struct worker *w, const struct message *m)
{
	struct message wanted;

	message_make(&wanted, w->answered++);
	message_answer(&wanted);
	if (memcmp(m, &wanted, sizeof(wanted)) != 0)
		fail("an answer is damaged");
	num_answered++;
}

static void got_answers(void *_w)
{
	struct worker *w = _w;
	struct shared *s = w->shared;
	struct message m;
	int taken = 0;
	int put = 0;

	runs++;
	for (; taken < BATCH && ring_take(&s->answers, &m); taken++)
		check_answer(w, &m);
	/* This announces room for answers. */
	if (taken > 0)
		post(&w->bell);

	for (; put < BATCH && num_sent < num_messages && !ending &&
	       !ring_is_full(&s->messages); put++) {
		num_sent++;
		message_make(&m, w->sent++);
		ring_put(&s->messages, &m);
		post(&w->bell);
	}
	/* There may be more to do, once the other workers have had a turn. */
	if (taken == BATCH || put == BATCH)
		post(&w->parent_bell);
	if (num_answered == num_messages)
		stop_workers();
}

static void worker_ended(void *_w, int status, const struct rusage *rusage)
{
	struct worker *w = _w;

	(void)rusage;
	if (!WIFEXITED(status) && !WIFSIGNALED(status))
		return;

	/* When all have ended, nothing is left to keep iv_main() running. */
	iv_wait_interest_unregister(&w->wait);
	iv_event_raw_unregister(&w->parent_bell);
	iv_event_raw_unregister(&w->bell);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;

	fprintf(stderr, "ring: worker %d: %s\n", (int)w->wait.pid,
		WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "failed");
	failed = 1;
	stop_workers();
}

static void show_progress(void *cookie)
{
	(void)cookie;
	dprintf(STDERR_FILENO, "\r%3.0f%% of %ld messages answered ",
		100.0 * num_answered / num_messages, num_messages);
	tick_writes++;
	tick.expires = iv_now;
	tick.expires.tv_nsec += TICK_MS * 1000000;
	iv_timer_register(&tick);
}

static void start(struct worker *w, struct shared *s)
{
	w->shared = s;
	w->bell.cookie = w->parent_bell.cookie = w->wait.cookie = w;
	w->bell.handler = got_messages;
	w->parent_bell.handler = got_answers;
	w->wait.handler = worker_ended;
	if (iv_event_raw_prepare(&w->bell) < 0 ||
	    iv_event_raw_prepare(&w->parent_bell) < 0 ||
	    iv_wait_interest_register_spawn(&w->wait, work, w) < 0 ||
	    iv_event_raw_adopt(&w->parent_bell) < 0)
		fail(strerror(errno));
}

static void exchange(struct shared *s)
{
	long i;

	for (i = 0; i < num_workers; i++)
		start(&workers[i], &s[i]);
	IV_TIMER_INIT(&tick);
	tick.handler = show_progress;
	tick.expires = iv_now;
	if (isatty(STDERR_FILENO))
		iv_timer_register(&tick);

	posts_begin(&posts);
	began = now();
	for (i = 0; i < num_workers; i++)
		post(&workers[i].parent_bell);
	iv_main();
}

static void report(void)
{
	long i;

	for (i = 0; i < num_workers; i++) {
		posts_add(&posts, &workers[i].shared->posts);
		runs += workers[i].shared->runs;
	}
	printf("%ld messages and their answers in %.3f s: %.0f per second\n",
	       num_messages, ended - began,
	       2.0 * num_messages / (ended - began));
	posts_print(stdout, &posts, runs);
}

int main(int argc, char **argv)
{
	struct shared *s;

	if (argc > 1)
		num_workers = atol(argv[1]);
	if (argc > 2)
		num_messages = atol(argv[2]);
	if (argc > 3 || num_workers < 1 || num_workers > MAX_WORKERS ||
	    num_messages < 1) {
		fprintf(stderr, "usage: ring [WORKERS [MESSAGES]]\n");
		return 1;
	}

	parent = getpid();
	workers = calloc(num_workers, sizeof(*workers));
	s = mmap(NULL, num_workers * sizeof(*s), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (workers == NULL || s == MAP_FAILED)
		fail(strerror(errno));

	iv_init();
	exchange(s);
	iv_deinit();
	if (!failed)
		report();

	return failed;
}
