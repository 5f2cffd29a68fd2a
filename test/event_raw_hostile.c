/*
 * libivykis: a hostile child writes to the memory that it shares with a loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The child finds the shared pages of the library in /proc/self/maps and fills
 * them with whatever may mislead its parent.  The parent must still be woken by
 * its descriptors and timers, call no handler of an object that is not
 * registered, and release all that it has.
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

/*
 * Writable memory that is shared with other processes: what this program has
 * before it uses the library, and what the library has made.
 */
#define MOST_RANGES	64

struct ranges {
	int		num;
	uintptr_t	begin[MOST_RANGES];
	uintptr_t	end[MOST_RANGES];
};

static struct ranges own, target;

static int is_in(const struct ranges *r, uintptr_t begin)
{
	int i;

	for (i = 0; i < r->num; i++) {
		if (r->begin[i] == begin)
			return 1;
	}

	return 0;
}

static void find_shared(struct ranges *r, const struct ranges *except)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long begin, end;
	char perms[8];
	char line[4096 + 256];

	check(f != NULL);
	r->num = 0;
	while (fgets(line, sizeof(line), f) != NULL) {
		check_int(sscanf(line, "%lx-%lx %7s", &begin, &end, perms), 3);
		if (perms[1] != 'w' || perms[3] != 's' || is_in(except, begin))
			continue;
		check(r->num < MOST_RANGES);
		r->begin[r->num] = begin;
		r->end[r->num++] = end;
	}
	fclose(f);
}

static void begin_case(void)
{
	static const struct ranges none;

	find_shared(&own, &none);
}


/* What the child writes.  A board begins with the state of its loop. */
#define BOARD_SIZE	128
#define BOARD_WORDS	(BOARD_SIZE / sizeof(long))

static uint64_t seed = 1;

static unsigned long random_word(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;

	return seed;
}

static unsigned long zeroes(unsigned int i)
{
	(void)i;

	return 0;
}

static unsigned long ones(unsigned int i)
{
	(void)i;

	return ~0UL;
}

static unsigned long ones_and_awake(unsigned int i)
{
	return i % BOARD_WORDS != 0 ? ~0UL : 0;
}

static unsigned long anything(unsigned int i)
{
	(void)i;

	return random_word();
}

static unsigned long some_bit(unsigned int i)
{
	(void)i;

	return 1UL << random_word() % (8 * sizeof(long));
}

/* A state that is never repeated. */
static unsigned long ones_and_any_state(unsigned int i)
{
	return i % BOARD_WORDS != 0 ? ~0UL : random_word();
}

/* A mode, foreign or not, and an epoch that may be the right one. */
static unsigned long some_state(unsigned int i)
{
	return i % BOARD_WORDS != 0 ? ~0UL : random_word() % 64;
}

static unsigned long (*const values[])(unsigned int i) = {
	zeroes, ones, ones_and_awake, anything, some_bit, some_state,
	ones_and_any_state,
};

#define NUM_VALUES	(sizeof(values) / sizeof(values[0]))

static void fill_range(int r, unsigned long (*value)(unsigned int i))
{
	atomic_ulong *words = (atomic_ulong *)target.begin[r];
	unsigned int num = (target.end[r] - target.begin[r]) / sizeof(*words);
	unsigned int i;

	for (i = 0; i < num; i++)
		atomic_store_explicit(&words[i], value(i),
				      memory_order_relaxed);
}

static void fill(unsigned long (*value)(unsigned int i))
{
	int r;

	for (r = 0; r < target.num; r++)
		fill_range(r, value);
}

/* To all of the pages, or to one: states, some bits, or it becomes zeroes. */
static void write_something(void)
{
	int r = random_word() % target.num;
	atomic_ulong *words = (atomic_ulong *)target.begin[r];
	unsigned int num = (target.end[r] - target.begin[r]) / sizeof(*words);
	unsigned int i;

	switch (random_word() % 4) {
	case 0:
		fill(values[random_word() % NUM_VALUES]);
		break;
	case 1:
		for (i = 0; i < num; i += BOARD_WORDS)
			words[i] = some_state(0);
		break;
	case 2:
		for (i = 0; i < num; i += 1 + random_word() % BOARD_WORDS)
			words[i] ^= some_bit(0);
		break;
	default:
		(void)madvise(words, target.end[r] - target.begin[r],
			      MADV_REMOVE);
		break;
	}
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

/* One that writes until it is killed. */
static pid_t begin_attack(unsigned int number)
{
	int begun[2];
	char byte;
	pid_t pid;

	check_int(pipe(begun), 0);
	pid = fork_checked();
	if (pid == 0) {
		seed += number;
		find_shared(&target, &own);
		check(target.num > 0);
		fill(values[number % NUM_VALUES]);
		check_int(write(begun[1], "", 1), 1);
		for (;;)
			write_something();
	}
	close(begun[1]);
	check_int(read(begun[0], &byte, 1), 1);
	close(begun[0]);

	return pid;
}

static void end_attack(pid_t pid)
{
	int status;

	check_int(kill(pid, SIGKILL), 0);
	check_int(waitpid(pid, &status, 0), pid);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}


/* Objects of the parent.  Those that are not registered have no memory. */
struct thing {
	struct iv_event_raw	ev;
	int			number;
};

#define THINGS	40

static struct thing *things[THINGS];

static void change_something(void);

static void thing_called(void *_t)
{
	struct thing *t = _t;

	check(things[t->number] == t);
	change_something();
}

static void begin_thing(int i)
{
	struct thing *t = malloc(sizeof(*t));

	check(t != NULL);
	IV_EVENT_RAW_INIT(&t->ev);
	t->ev.handler = thing_called;
	t->ev.cookie = t;
	t->number = i;
	things[i] = t;
	check_int(iv_event_raw_register(&t->ev), 0);
}

static void end_thing(int i)
{
	struct thing *t = things[i];

	iv_event_raw_unregister(&t->ev);
	memset(t, 0xa5, sizeof(*t));
	free(t);
	things[i] = NULL;
}

/* Change or post to one of them.  A handler may do the same to itself. */
static void change_something(void)
{
	int i = random_word() % THINGS;

	if (things[i] == NULL)
		begin_thing(i);
	else if (random_word() % 4 == 0)
		end_thing(i);
	else
		iv_event_raw_post(&things[i]->ev);
}

static void use_boards(int num)
{
	struct iv_event_raw ev;

	while (num-- > 0) {
		IV_EVENT_RAW_INIT(&ev);
		check_int(iv_event_raw_prepare(&ev), 0);
		iv_event_raw_unregister(&ev);
	}
}


/* What is registered while the child writes. */
#define ADOPTED		8

static struct iv_event_raw steady, adopted[ADOPTED];
static struct iv_event event;

static void nothing(void *unused)
{
	(void)unused;
}

static void prepare(struct iv_event_raw *ev, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(ev);
	ev->handler = handler;
	check_int(iv_event_raw_prepare(ev), 0);
}

static void start(struct iv_event_raw *ev, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(ev);
	ev->handler = handler;
	check_int(iv_event_raw_register(ev), 0);
}

static void start_event(void (*handler)(void *))
{
	IV_EVENT_INIT(&event);
	event.handler = handler;
	check_int(iv_event_register(&event), 0);
}

static void begin_objects(void)
{
	int i;

	start(&steady, nothing);
	start_event(nothing);
	for (i = 0; i < ADOPTED; i++)
		prepare(&adopted[i], nothing);
	for (i = 0; i < THINGS / 2; i++)
		begin_thing(i);
}

static void adopt_objects(void)
{
	int i;

	for (i = 0; i < ADOPTED; i++) {
		check_int(iv_event_raw_adopt(&adopted[i]), 0);
		iv_event_raw_post(&adopted[i]);
	}
}

static void end_objects(void)
{
	int i;

	for (i = 0; i < ADOPTED; i++)
		iv_event_raw_unregister(&adopted[i]);
	for (i = 0; i < THINGS; i++) {
		if (things[i] != NULL)
			end_thing(i);
	}
	iv_event_raw_unregister(&steady);
	iv_event_unregister(&event);
}


/* One thread posts, and another one answers what is written to a socket. */
static struct {
	struct iv_fd	fd;
	int		peer;
	int		answers;
	pthread_t	thread;
} echo;

static pthread_t poster;
static atomic_int stop;

static void *post_now_and_then(void *unused)
{
	(void)unused;
	while (!stop) {
		iv_event_post(&event);
		iv_event_raw_post(&steady);
		usleep(50);
	}

	return NULL;
}

static void *answer(void *unused)
{
	char byte;

	(void)unused;
	while (read(echo.peer, &byte, 1) == 1) {
		usleep(100);
		check_int(write(echo.peer, &byte, 1), 1);
	}

	return NULL;
}

static void answered(void *unused)
{
	char byte;

	(void)unused;
	check_int(read(echo.fd.fd, &byte, 1), 1);
	echo.answers++;
	iv_quit();
}

static void begin_threads(void)
{
	int fd[2];

	check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	echo.peer = fd[1];
	IV_FD_INIT(&echo.fd);
	echo.fd.fd = fd[0];
	echo.fd.handler_in = answered;
	iv_fd_register(&echo.fd);
	check_int(pthread_create(&echo.thread, NULL, answer, NULL), 0);
	stop = 0;
	check_int(pthread_create(&poster, NULL, post_now_and_then, NULL), 0);
}

static void end_threads(void)
{
	stop = 1;
	check_int(pthread_join(poster, NULL), 0);
	check_int(shutdown(echo.fd.fd, SHUT_WR), 0);
	check_int(pthread_join(echo.thread, NULL), 0);
	iv_fd_unregister(&echo.fd);
	close(echo.fd.fd);
	close(echo.peer);
}


static void wait_for_descriptor(void)
{
	int before = echo.answers;

	check_int(write(echo.fd.fd, "", 1), 1);
	iv_main();
	check_int(echo.answers, before + 1);
}

static void fired(void *_times)
{
	int *times = _times;

	++*times;
	iv_quit();
}

static void wait_for_timer(unsigned int ms)
{
	struct iv_timer timer;
	int times = 0;

	IV_TIMER_INIT(&timer);
	timer.cookie = &times;
	timer.handler = fired;
	iv_timer_register_in_ms(&timer, ms);
	iv_main();
	check_int(times, 1);
}

static void wait_once(void)
{
	static const struct timespec limit = { .tv_nsec = 100000 };

	check_int(iv_main_once(&limit), 1);
}

static void live_on(void)
{
	int i, j;

	for (i = 0; i < 12; i++) {
		for (j = 0; j < 8; j++)
			change_something();
		wait_for_descriptor();
		wait_for_timer(1);
		wait_for_timer(0);
		wait_once();
	}
}

/* The child begins when the pages are in use, and outlives the loop. */
static void be_attacked(unsigned int number)
{
	pid_t pid;

	iv_init();
	begin_objects();
	pid = begin_attack(number);
	begin_threads();
	/* With adopted objects, the loop reads no hints. */
	if (number % 2 == 1)
		adopt_objects();
	live_on();
	end_threads();
	end_objects();
	iv_deinit();
	end_attack(pid);
}

static void attacked(void)
{
	int i;

	begin_case();
	for (i = 0; i < (int)NUM_VALUES; i++)
		be_attacked(i);
}

/* Each page is used up, and used again, unless a board was not given back. */
static void attacked_boards(void)
{
	int before = 0;
	int i;

	skip_under(ASAN | TSAN | MEMCHECK, "maps memory at any time");
	begin_case();
	for (i = 0; i < 4; i++) {
		/* It says that all that is adopted has an owner. */
		be_attacked(1);
		use_boards(2 * sysconf(_SC_PAGESIZE) / BOARD_SIZE);
		if (i == 0)
			before = num_mappings();
	}
	check(num_mappings() <= before + 4);
}


/*
 * The child has written, and is gone.  Posts of this process wake the loop, and
 * so do those of other children to objects that are registered afterwards.
 */
static int is_awaited;

static void called(void *_calls)
{
	int *calls = _calls;

	if (calls != NULL)
		++*calls;
	if (is_awaited)
		iv_quit();
}

static void run_until_called(void)
{
	is_awaited = 1;
	iv_main();
	is_awaited = 0;
}

static void write_and_leave(unsigned long (*value)(unsigned int i))
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		find_shared(&target, &own);
		check(target.num > 0);
		fill(value);
		_exit(0);
	}
	check_child(pid);
}

static void await_sleep(int tid)
{
	while (process_state(tid) != 'S')
		usleep(100);
}

static void *post_raw_to_sleeper(void *ev)
{
	await_sleep(getpid());
	iv_event_raw_post(ev);

	return NULL;
}

static void *post_event_to_sleeper(void *unused)
{
	await_sleep(getpid());
	iv_event_post(&event);

	return unused;
}

static void be_woken_by_thread(void *(*post)(void *), void *arg)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, post, arg), 0);
	run_until_called();
	check_int(pthread_join(t, NULL), 0);
}

static void be_woken_by_child(struct iv_event_raw *ev)
{
	pid_t pid = fork_checked();

	if (pid == 0) {
		await_sleep(getppid());
		iv_event_raw_post(ev);
		_exit(0);
	}
	run_until_called();
	check_child(pid);
}

static void new_objects_work(void)
{
	struct iv_event_raw ev;
	int calls = 0;

	ev.cookie = &calls;
	start(&ev, called);
	run_iterations(2);
	check_int(calls, 0);
	be_woken_by_child(&ev);
	be_woken_by_thread(post_raw_to_sleeper, &ev);
	iv_event_raw_unregister(&ev);

	prepare(&ev, called);
	check_int(iv_event_raw_adopt(&ev), 0);
	calls = 0;
	run_iterations(2);
	check_int(calls, 0);
	be_woken_by_child(&ev);
	iv_event_raw_unregister(&ev);
}

struct sleeper {
	struct iv_event_raw	ev;
	atomic_int		tid;
};

static void quit(void *unused)
{
	(void)unused;
	iv_quit();
}

static void *sleep_in_new_loop(void *_s)
{
	struct sleeper *s = _s;

	iv_init();
	start(&s->ev, quit);
	s->tid = iv_get_thread_id();
	iv_main();
	iv_event_raw_unregister(&s->ev);
	iv_deinit();

	return NULL;
}

static void new_loops_work(void)
{
	struct sleeper s = { .tid = 0 };
	pthread_t t;

	check_int(pthread_create(&t, NULL, sleep_in_new_loop, &s), 0);
	while (s.tid == 0)
		sched_yield();
	await_sleep(s.tid);
	iv_event_raw_post(&s.ev);
	check_int(pthread_join(t, NULL), 0);
}

static void after_attack(void)
{
	unsigned int i;

	begin_case();
	for (i = 0; i < NUM_VALUES; i++) {
		iv_init();
		start(&steady, called);
		start_event(called);
		write_and_leave(values[i]);
		run_iterations(2);
		be_woken_by_thread(post_raw_to_sleeper, &steady);
		be_woken_by_thread(post_event_to_sleeper, NULL);
		new_objects_work();
		new_loops_work();
		iv_event_unregister(&event);
		iv_event_raw_unregister(&steady);
		iv_deinit();
	}
}


/*
 * The child leads its parent by steps, and writes after each of them: what the
 * parent has read is never what it finds later.
 */
#define MOST_STEPS	500000

static struct {
	atomic_int	begun, ended;
} *led;

static int lead_parent(void)
{
	pid_t parent = getppid();
	int num = 0;
	int status;

	if (trace_running(parent) < 0) {
		led->begun = 1;
		skip("no running process can be traced");
	}
	check_int(ptrace(PTRACE_INTERRUPT, parent, NULL, NULL), 0);
	check_int(waitpid(parent, &status, __WALL), parent);
	led->begun = 1;
	while (!led->ended && num++ < MOST_STEPS) {
		check_int(ptrace(PTRACE_SINGLESTEP, parent, NULL, NULL), 0);
		check_int(waitpid(parent, &status, __WALL), parent);
		fill(num / 64 % 2 ? anything : ones_and_any_state);
	}
	check_int(ptrace(PTRACE_DETACH, parent, NULL, NULL), 0);

	return num >= MOST_STEPS;
}

static void led_by_steps(void)
{
	pid_t pid;
	int i;

	skip_under(TSAN | MEMCHECK, "is what would be led by steps");
	led = mmap(NULL, sizeof(*led), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(led != MAP_FAILED);
	begin_case();
	iv_init();
	begin_objects();
	allow_tracers();
	pid = fork_checked();
	if (pid == 0) {
		find_shared(&target, &own);
		check(target.num > 0);
		_exit(lead_parent());
	}
	while (!led->begun)
		sched_yield();
	adopt_objects();
	for (i = 0; i < 8; i++)
		change_something();
	run_iterations(2);
	led->ended = 1;
	check_child(pid);
	end_objects();
	iv_deinit();
	check_int(munmap(led, sizeof(*led)), 0);
}

static const struct check_case cases[] = {
	{ "a loop works while a child writes to the memory that they share",
	  attacked, EACH, 0 },
	{ "boards to which a child wrote are used again", attacked_boards,
	  EACH_BACKEND, 0 },
	{ "posts wake a loop after a child has written to the memory",
	  after_attack, EACH, 0 },
	{ "a loop works while a child writes after each of its steps",
	  led_by_steps, EACH_BACKEND, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
