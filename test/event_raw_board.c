/*
 * libivykis: iv_event_raw, many objects, and boards without memory.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

struct counted {
	struct iv_event_raw	ev;
	int			calls;
};

static struct counted *many;
static int num_many;
static int num_called;

static void called(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	if (++num_called == num_many)
		iv_quit();
}

static void start(struct counted *c, void (*handler)(void *))
{
	IV_EVENT_RAW_INIT(&c->ev);
	c->ev.handler = handler;
	c->ev.cookie = c;
	c->calls = 0;
	check_int(iv_event_raw_register(&c->ev), 0);
}

static void start_many(int num, void (*handler)(void *))
{
	int i;

	many = calloc(num, sizeof(*many));
	check(many != NULL);
	num_many = num;
	num_called = 0;
	for (i = 0; i < num; i++)
		start(&many[i], handler);
}

static void post_many(int from)
{
	int i;

	for (i = from; i < num_many; i++)
		iv_event_raw_post(&many[i].ev);
}

static void each_was_called(int times)
{
	int i;

	run_iterations(2);
	for (i = 0; i < num_many; i++)
		check_int(many[i].calls, times);
}

static void end_many(void)
{
	int i;

	for (i = 0; i < num_many; i++)
		iv_event_raw_unregister(&many[i].ev);
	free(many);
}

static pid_t fork_checked(void)
{
	pid_t pid = fork();

	check(pid >= 0);

	return pid;
}

static void await_state(pid_t pid, char state)
{
	while (process_state(pid) != state)
		usleep(1000);
}

static int num_possible(int wanted)
{
	struct rlimit lim;
	int each = variant_is_pipe() ? 2 : 1;

	check_int(getrlimit(RLIMIT_NOFILE, &lim), 0);
	if (lim.rlim_cur < (rlim_t)each * wanted + 100)
		wanted = (lim.rlim_cur - 100) / each;
	/* Several boards, at any rate. */
	if (wanted < 500)
		skip("the limit of descriptors is too low");

	return wanted;
}

/* The first post rings, and the others see that. */
static void post_rest(void *unused)
{
	(void)unused;
	post_many(1);
}

/* It stops the loop while that sleeps, and continues it when all are posted. */
static pid_t poster_of_burst(void)
{
	pid_t loop = getpid();
	pid_t pid = fork_checked();

	if (pid != 0)
		return pid;
	await_state(loop, 'S');
	check_int(kill(loop, SIGSTOP), 0);
	await_state(loop, 'T');
	iv_event_raw_post(&many[0].ev);
	without_system_calls(post_rest, NULL);
	check_int(kill(loop, SIGCONT), 0);
	_exit(0);
}

static void one_doorbell(void)
{
	pid_t pid;

	iv_init();
	start_many(num_possible(10000), called);
	pid = poster_of_burst();
	iv_main();
	check_child(pid);
	each_was_called(1);
	end_many();
	iv_deinit();
}

static void several_boards(void)
{
	int round, i;

	iv_init();
	start_many(num_possible(1000), called);
	for (round = 1; round <= 20; round++) {
		num_called = 0;
		post_many(0);
		iv_main();
		each_was_called(round);
	}
	/* One at a time: a hint leads to its board. */
	num_many = 1000;
	for (i = 0; i < 1000; i++) {
		num_called = num_many - 1;
		iv_event_raw_post(&many[i].ev);
		iv_main();
		check_int(many[i].calls, round);
	}
	each_was_called(round);
	end_many();
	iv_deinit();
}


/* More than there are bits on a page. */
#define A_PAGE	(32 * 448)

static void come_and_go(int num)
{
	struct counted c;

	while (num-- > 0) {
		start(&c, called);
		iv_event_raw_unregister(&c.ev);
	}
}

#define STAY	1000
#define COME_AND_GO	383

static void churn(void)
{
	int before;
	int i, j;

	skip_under(ASAN | MEMCHECK, "keeps for a while what was freed");
	iv_init();
	many = calloc(STAY, sizeof(*many));
	check(many != NULL);
	before = num_mappings();
	come_and_go(16 * A_PAGE);
	check(num_mappings() <= before + 8);
	num_many = num_possible(STAY);
	for (i = 0; i < num_many; i++) {
		start(&many[i], called);
		for (j = 0; j < COME_AND_GO; j++) {
			struct counted c;

			start(&c, called);
			iv_event_raw_post(&c.ev);
			iv_event_raw_unregister(&c.ev);
		}
	}
	/* The heap may have grown by some. */
	check(num_mappings() <= before + 16 + num_many / 64);
	num_called = 0;
	post_many(0);
	iv_main();
	each_was_called(1);
	end_many();
	iv_deinit();
}


/*
 * Linux before 6.12 may unmap and then refuse to map; another thread's mapping
 * gets the hole.
 */
#if __SIZEOF_LONG__ == 8 && defined(HAVE_LINUX)
typedef void *map_fn(void *, size_t, int, int, int, off_t);
static map_fn *real_mmap;
static int refuse_fixed;
static char *stranger;

__attribute__((constructor))
static void find_mmap(void)
{
	*(void **)&real_mmap = dlsym(RTLD_NEXT, "mmap");
}

/* By the name that the library calls, whatever the headers make of it here. */
map_fn library_mmap __asm__("mmap");
void *library_mmap(void *at, size_t len, int prot, int flags, int fd,
		   off_t offset)
{
	int fixed = flags & MAP_SHARED && flags & MAP_FIXED;

	if (real_mmap == NULL)
		find_mmap();
	if (!fixed || !refuse_fixed || --refuse_fixed > 0)
		return real_mmap(at, len, prot, flags, fd, offset);

	munmap(at, len);
	stranger = real_mmap(at, len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stranger == at)
		strcpy(stranger, "mine");
	errno = ENOMEM;

	return MAP_FAILED;
}

static void hole(void)
{
	struct counted c;
	int i;

	iv_init();
	refuse_fixed = 3;
	num_many = 1;
	/* So many that each page is used up and used again. */
	for (i = 0; i < 100000; i++) {
		start(&c, called);
		if (i % 100 == 0) {
			num_called = 0;
			iv_event_raw_post(&c.ev);
			iv_main();
			check_int(c.calls, 1);
		}
		iv_event_raw_unregister(&c.ev);
		check(stranger == NULL || !strcmp(stranger, "mine"));
	}
	check(stranger != NULL && stranger != MAP_FAILED);
	check_int(refuse_fixed, 0);
	iv_deinit();
}
#else
/* off_t has two sizes there, and mmap two names. */
static void hole(void)
{
	skip("mmap has one name only on 64-bit machines");
}
#endif

static void no_board_for_events(void)
{
	struct iv_event ev;
	pid_t pid = fork_checked();

	if (pid == 0) {
		iv_init();
		IV_EVENT_INIT(&ev);
		refuse_with("mmap", ENOMEM, 3, MAP_SHARED | MAP_ANONYMOUS);
		check_errno(iv_event_register(&ev), ENOMEM);
		iv_event_post(&ev);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
}


/* Runs the loop for those that are posted beside it. */
static void run_nested(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	if (++num_called < num_many)
		iv_main();
	iv_quit();
}

static void nested(void)
{
	iv_init();
	start_many(500, run_nested);
	post_many(0);
	iv_main();
	check_int(num_called, num_many);
	each_was_called(1);
	end_many();
	iv_deinit();
}

static jmp_buf out;

static void leave(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	num_called++;
	longjmp(out, 1);
}

static void left(void)
{
	iv_init();
	start_many(500, leave);
	post_many(0);
	(void)setjmp(out);
	if (num_called < num_many)
		iv_main();
	check_int(num_called, num_many);
	each_was_called(1);
	end_many();
	iv_deinit();
}


static void stale_copy(void)
{
	struct counted a, b;
	pid_t self = getpid();
	pid_t pid;
	int ready[2];
	char byte;

	check_int(pipe(ready), 0);
	iv_init();
	start(&a, called);
	start(&b, called);
	num_many = 1;
	num_called = 0;
	pid = fork_checked();
	if (pid == 0) {
		check_int(read(ready[0], &byte, 1), 1);
		await_state(self, 'S');
		iv_event_raw_post(&a.ev);
		iv_event_raw_post(&b.ev);
		_exit(0);
	}
	iv_event_raw_unregister(&a.ev);
	check_int(write(ready[1], "", 1), 1);
	iv_main();
	check_int(b.calls, 1);
	check_child(pid);
	iv_event_raw_unregister(&b.ev);
	iv_deinit();
	close(ready[0]);
	close(ready[1]);
}

/* The bit that it had is another object's, in memory that the child lacks. */
static void stale_page(void)
{
	struct counted a;
	int ready[2];
	pid_t pid;
	char byte;

	check_int(pipe(ready), 0);
	iv_init();
	come_and_go(A_PAGE);
	start(&a, called);
	pid = fork_checked();
	if (pid == 0) {
		check_int(read(ready[0], &byte, 1), 1);
		iv_event_raw_post(&a.ev);
		_exit(0);
	}
	iv_event_raw_unregister(&a.ev);
	come_and_go(3 * A_PAGE / 2);
	start_many(num_possible(A_PAGE), called);
	check_int(write(ready[1], "", 1), 1);
	check_child(pid);
	each_was_called(0);
	end_many();
	iv_deinit();
	close(ready[0]);
	close(ready[1]);
}

/* The child posts to its own, and the parent looks, then the child does. */
static void registered_after_fork(void)
{
	struct counted first;
	int to[2], from[2];
	char byte;
	pid_t pid;

	check_int(pipe(to), 0);
	check_int(pipe(from), 0);
	iv_init();
	start(&first, called);
	pid = fork_checked();
	start_many(num_possible(1000), called);
	if (pid == 0) {
		post_many(0);
		check_int(write(from[1], "", 1), 1);
		check_int(read(to[0], &byte, 1), 1);
		iv_main();
		each_was_called(1);
		_exit(0);
	}
	check_int(read(from[0], &byte, 1), 1);
	each_was_called(0);
	check_int(write(to[1], "", 1), 1);
	check_child(pid);
	end_many();
	iv_event_raw_unregister(&first.ev);
	iv_deinit();
	close(to[0]);
	close(to[1]);
	close(from[0]);
	close(from[1]);
}

/*
 * Where boards are: the last private word of an object's descriptor points into
 * its board.  A prepared object has a board to itself.
 */
#define BOARD_SIZE	128

static uintptr_t board_of(const struct iv_event_raw *ev)
{
	return (uintptr_t)ev->event_rfd.pad[10] & -BOARD_SIZE;
}

static uintptr_t page_of(uintptr_t board)
{
	return board & -sysconf(_SC_PAGESIZE);
}

static int boards_of_pages(int num)
{
	return num * sysconf(_SC_PAGESIZE) / BOARD_SIZE;
}

static uintptr_t use_a_board(void)
{
	struct iv_event_raw ev;
	uintptr_t board;

	IV_EVENT_RAW_INIT(&ev);
	check_int(iv_event_raw_prepare(&ev), 0);
	board = board_of(&ev);
	iv_event_raw_unregister(&ev);

	return board;
}

/* From here on, boards are allocated on another page. */
static void use_up_page(uintptr_t page)
{
	while (page_of(use_a_board()) == page)
		;
}

/* An object that is not on this page, on which its loop's bell is. */
static void start_elsewhere(struct counted *c, uintptr_t page)
{
	start(c, called);
	while (page_of(board_of(&c->ev)) == page) {
		iv_event_raw_unregister(&c->ev);
		start(c, called);
	}
}

/*
 * An object that is left registered goes on using the bell of the loop that has
 * ended.  If another loop got that bell, a post to the object would keep posts
 * to that loop from ringing.
 */
static void left_registered(void)
{
	struct counted bell, forgotten, c;
	pid_t self = getpid();
	pid_t pid;
	int i;

	iv_init();
	start(&bell, called);
	use_up_page(page_of(board_of(&bell.ev)));
	start_elsewhere(&forgotten, page_of(board_of(&bell.ev)));
	iv_event_raw_unregister(&bell.ev);
	iv_deinit();

	num_many = 1;
	for (i = 0; i < boards_of_pages(3); i++) {
		iv_init();
		start(&c, called);
		num_called = 0;
		pid = fork_checked();
		if (pid == 0) {
			await_state(self, 'S');
			iv_event_raw_post(&forgotten.ev);
			iv_event_raw_post(&c.ev);
			_exit(0);
		}
		iv_main();
		check_child(pid);
		iv_event_raw_unregister(&c.ev);
		iv_deinit();
	}
	close(forgotten.ev.event_rfd.fd);
	if (variant_is_pipe())
		close(forgotten.ev.event_wfd);
}

#define TWO_OWNERS	200

/* A child adopts them first. */
static void two_owners(void)
{
	struct iv_event_raw ev[TWO_OWNERS];
	pid_t pid;
	int i;

	for (i = 0; i < TWO_OWNERS; i++) {
		IV_EVENT_RAW_INIT(&ev[i]);
		check_int(iv_event_raw_prepare(&ev[i]), 0);
	}
	pid = fork_checked();
	iv_init();
	for (i = 0; i < TWO_OWNERS && pid == 0; i++)
		check_int(iv_event_raw_adopt(&ev[i]), 0);
	if (pid == 0)
		_exit(0);
	check_child(pid);
	for (i = 0; i < TWO_OWNERS; i++) {
		check_int(iv_event_raw_adopt(&ev[i]), 0);
		iv_event_raw_unregister(&ev[i]);
	}
	iv_deinit();
}

static void boards_of_two_owners(void)
{
	int before, i;

	skip_under(ASAN | MEMCHECK, "keeps for a while what was freed");
	two_owners();
	before = num_mappings();
	for (i = 0; i < 4; i++)
		two_owners();
	check(num_mappings() <= before + 4);
}


/* The child has no loop that it inherited, and posts all the same. */
static void child_begins_anew(void)
{
	struct counted c;
	pid_t pid;
	int i;

	iv_init();
	start(&c, called);
	num_many = 1;
	for (i = 1; i <= 20; i++) {
		num_called = 0;
		pid = fork_checked();
		if (pid == 0) {
			iv_deinit();
			iv_init();
			iv_event_raw_post(&c.ev);
			_exit(0);
		}
		iv_main();
		check_child(pid);
		check_int(c.calls, i);
	}
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}


#define SELF_POSTS	100000

static void post_itself(void *_c)
{
	struct counted *c = _c;

	if (++c->calls < SELF_POSTS)
		iv_event_raw_post(&c->ev);
	else
		iv_quit();
}

static void post_itself_traced(void)
{
	struct counted c;

	iv_init();
	/* On the second board. */
	start_many(num_possible(500), called);
	start(&c, post_itself);
	tracee_begins();
	iv_event_raw_post(&c.ev);
	iv_main();
	check_int(c.calls, SELF_POSTS);
	_exit(0);
}

static void self_posts(void)
{
	pid_t pid = fork_checked();
	int stops = 0;

	if (pid == 0)
		post_itself_traced();
	tracee_trace(pid);
	while (tracee_runs_to_call(pid))
		stops++;
	/* Each stops it twice. */
	check(stops / 2 < SELF_POSTS / 10);
}


/*
 * A poster that is led by steps, as the loop, in another thread, runs the
 * handler, which unregisters the object and takes its number.  What is posted
 * is an iv_event_raw, or a loop's only iv_event, whose wakeup has the number.
 */
static struct {
	struct counted	c;
	struct iv_event	event;
	int		is_event;
	int		number;		/* that is written to */
	struct iv_fd	control;
	struct iv_task	next_pass;
	int		fd[2];		/* of what took the number */
	atomic_int	entered, done, looked, calls, posted;
} *race;

static void take_number(void *unused)
{
	(void)unused;
	race->entered = 1;
	check_int(pipe2(race->fd, O_NONBLOCK), 0);
	if (race->is_event)
		iv_event_unregister(&race->event);
	else
		iv_event_raw_unregister(&race->c.ev);
	/* Otherwise it is kept for the poster. */
	if (fcntl(race->number, F_GETFD) < 0)
		check_int(dup2(race->fd[1], race->number), race->number);
	race->done = 1;
}

/* The number that the second descriptor gets which is opened from now on. */
static int second_lowest_descriptor(void)
{
	int fd = dup(0);
	int second = lowest_descriptor();

	close(fd);

	return second;
}

static void race_register(void)
{
	if (race->is_event) {
		race->number = variant_is_pipe() ? second_lowest_descriptor() :
						   lowest_descriptor();
		race->event.handler = take_number;
		check_int(iv_event_register(&race->event), 0);
	} else {
		race->c.ev.handler = take_number;
		check_int(iv_event_raw_register(&race->c.ev), 0);
		race->number = race->c.ev.event_wfd;
	}
}

static void race_post(struct iv_event *event, struct iv_event_raw *raw)
{
	if (race->is_event)
		iv_event_post(event);
	else
		iv_event_raw_post(raw);
}

static void has_looked(void *unused)
{
	(void)unused;
	race->looked = 1;
}

static void look(void *unused)
{
	char byte;

	(void)unused;
	check_int(read(race->control.fd, &byte, 1), 1);
	if (byte == 'q')
		iv_quit();
	else
		iv_task_register(&race->next_pass);
}

static void *race_loop(void *ready)
{
	iv_init();
	race_register();
	race->control.handler_in = look;
	iv_fd_register(&race->control);
	race->next_pass.handler = has_looked;
	check_int(write(*(int *)ready, "", 1), 1);
	iv_main();
	iv_fd_unregister(&race->control);
	iv_deinit();

	return NULL;
}

static void race_child(int control[2])
{
	static struct iv_event_raw no_raw;
	static struct iv_event no_event;
	char bytes[16];
	pthread_t t;
	int ready[2];

	check_int(pipe(ready), 0);
	IV_EVENT_RAW_INIT(&race->c.ev);
	IV_EVENT_INIT(&race->event);
	IV_FD_INIT(&race->control);
	IV_TASK_INIT(&race->next_pass);
	race->control.fd = control[0];
	check_int(pthread_create(&t, NULL, race_loop, &ready[1]), 0);
	check_int(read(ready[0], bytes, 1), 1);
	/* One that does nothing: the linker has looked the name up. */
	race_post(&no_event, &no_raw);
	/* It sleeps, or will before it is asked to look. */
	usleep(1000);
	tracee_begins();
	race->calls = 1;
	race_post(&race->event, &race->c.ev);
	race->posted = 1;

	while (!race->done)
		sched_yield();
	check(read(race->fd[0], bytes, sizeof(bytes)) < 0);
	check_int(write(control[1], "q", 1), 1);
	check_int(pthread_join(t, NULL), 0);
	_exit(0);
}

/*
 * Lead the poster by so many steps from the call of the post on; returns 1 if
 * the post was over before.  The first call finds out how many steps come
 * before the post.
 */
static int race_after(int num, int is_event)
{
	static int before;
	int control[2];
	int was_posted, i;
	pid_t pid;

	memset(race, 0, sizeof(*race));
	race->is_event = is_event;
	check_int(pipe(control), 0);
	pid = fork_checked();
	if (pid == 0)
		race_child(control);
	tracee_trace(pid);
	while (num == 0 && !race->calls) {
		tracee_steps(pid, 1);
		before++;
	}
	tracee_steps(pid, num == 0 ? 0 : before + num);
	was_posted = race->posted;
	check_int(write(control[1], "", 1), 1);
	while (!race->looked && !race->entered)
		usleep(100);
	/* If it waits for the poster, that is to go on. */
	for (i = 0; i < 5 && race->entered && !race->done; i++)
		usleep(1000);
	tracee_leave(pid, 0);
	check_child(pid);
	close(control[0]);
	close(control[1]);

	return was_posted;
}

static void reused_number_of(int is_event)
{
	int num;

	skip_under(MEMCHECK, "is what would be led by steps");
	race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(race != MAP_FAILED);
	/* Half of the instants each. */
	(void)race_after(0, is_event);
	for (num = 1 + variant_is_pipe(); !race_after(num, is_event); num += 2)
		;
	check(num > 20);
	check_int(munmap(race, sizeof(*race)), 0);
}

static void reused_number(void)
{
	reused_number_of(0);
}

static void reused_number_of_event(void)
{
	reused_number_of(1);
}


/*
 * A poster is stopped right after it has set the bit.  The loop unregisters the
 * object, its number is taken, and the loop sleeps.  The poster is led on by
 * some steps, and then the object's board is used again.
 */
static struct {
	struct counted	bell, c;
	int		number;
	uintptr_t	board;
	struct iv_fd	control;
	int		fd[2];		/* of what took the number */
	int		tid;		/* of the loop */
	atomic_int	woken, calls, is_set, done, posted;
} *late;

static void late_woken(void *unused)
{
	(void)unused;
	late->woken = 1;
}

static void late_read_bit(void)
{
	const struct iv_fd *fd = &late->c.ev.event_rfd;
	unsigned int bit = (uintptr_t)fd->pad[9] % (8 * sizeof(long));

	late->is_set = *(atomic_ulong *)fd->pad[10] >> bit & 1;
}

static void late_unregister(void)
{
	check_int(pipe2(late->fd, O_NONBLOCK), 0);
	iv_event_raw_unregister(&late->c.ev);
	check_errno(fcntl(late->number, F_GETFD), EBADF);
	check_int(dup2(late->fd[1], late->number), late->number);
}

static void late_use_again(void)
{
	int i = 0;

	while (use_a_board() != late->board)
		check(++i < boards_of_pages(3));
}

static void late_command(void *unused)
{
	char byte;

	(void)unused;
	check_int(read(late->control.fd, &byte, 1), 1);
	if (byte == 'r')
		late_read_bit();
	else if (byte == 'u')
		late_unregister();
	else if (byte == 'a')
		late_use_again();
	else
		iv_quit();
	late->done++;
}

static uintptr_t board_of_next(void)
{
	struct counted c;
	uintptr_t board;

	start(&c, called);
	board = board_of(&c.ev);
	iv_event_raw_unregister(&c.ev);

	return board;
}

/* The object's page has no bell, and nothing of it is left to be allocated. */
static void late_start(void)
{
	start(&late->bell, late_woken);
	use_up_page(page_of(board_of(&late->bell.ev)));
	start_elsewhere(&late->c, page_of(board_of(&late->bell.ev)));
	/* Not the bit that a prepared object has on its board. */
	iv_event_raw_unregister(&late->c.ev);
	start(&late->c, called);
	late->number = late->c.ev.event_wfd;
	late->board = board_of(&late->c.ev);
	use_up_page(page_of(late->board));
	while (board_of_next() == late->board)
		;
}

static void *late_loop(void *ready)
{
	iv_init();
	late->tid = iv_get_thread_id();
	late_start();
	late->control.handler_in = late_command;
	iv_fd_register(&late->control);
	check_int(write(*(int *)ready, "", 1), 1);
	iv_main();
	iv_fd_unregister(&late->control);
	iv_event_raw_unregister(&late->bell.ev);
	iv_deinit();

	return NULL;
}

static void late_child(int control[2])
{
	pthread_t t;
	int ready[2];
	char bytes[16];

	check_int(pipe(ready), 0);
	IV_FD_INIT(&late->control);
	late->control.fd = control[0];
	check_int(pthread_create(&t, NULL, late_loop, &ready[1]), 0);
	check_int(read(ready[0], bytes, 1), 1);
	await_state(late->tid, 'S');
	/* The linker has looked up all the names that are called. */
	iv_event_raw_post(&late->bell.ev);
	while (!late->woken)
		usleep(100);
	await_state(late->tid, 'S');
	tracee_begins();
	late->calls = 1;
	iv_event_raw_post(&late->c.ev);
	late->posted = 1;
	check_errno(read(late->fd[0], bytes, sizeof(bytes)), EAGAIN);
	check_int(write(control[1], "q", 1), 1);
	check_int(pthread_join(t, NULL), 0);
	_exit(0);
}

static void late_do(int fd, const char *command)
{
	int done = late->done;

	check_int(write(fd, command, 1), 1);
	while (late->done == done)
		usleep(100);
	await_state(late->tid, 'S');
}

/* Lead it until its bit is set.  The first call counts the steps. */
static void late_lead(pid_t pid, int control)
{
	static int before;

	tracee_steps(pid, before);
	if (before > 0)
		return;
	while (!late->is_set) {
		tracee_steps(pid, 1);
		before++;
		if (late->calls)
			late_do(control, "r");
	}
}

/* Returns 1 if the post was over after so many steps. */
static int late_after(int num)
{
	int control[2];
	int was_posted;
	pid_t pid;

	memset(late, 0, sizeof(*late));
	check_int(pipe(control), 0);
	pid = fork_checked();
	if (pid == 0)
		late_child(control);
	tracee_trace(pid);
	late_lead(pid, control[1]);
	late_do(control[1], "u");
	tracee_steps(pid, num);
	was_posted = late->posted;
	late_do(control[1], "a");
	tracee_leave(pid, 0);
	check_child(pid);
	close(control[0]);
	close(control[1]);

	return was_posted;
}

static void late_poster(void)
{
	int num;

	skip_under(TSAN | MEMCHECK, "is what would be led by steps");
	late = mmap(NULL, sizeof(*late), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(late != MAP_FAILED);
	for (num = 0; !late_after(num); num++)
		;
	check(num > 20);
	check_int(munmap(late, sizeof(*late)), 0);
}


/* A poster that leaves in the middle of a post. */
static struct iv_event event;
static sigjmp_buf jump;
static atomic_int stop;
static atomic_int begun;

static void nothing(void *unused)
{
	(void)unused;
}

static void jump_out(int sig)
{
	(void)sig;
	siglongjmp(jump, 1);
}

static void *post_until_jump(void *unused)
{
	if (sigsetjmp(jump, 1) == 0)
		begun = 1;
	while (!stop)
		iv_event_post(&event);

	return unused;
}

static void *post_until_cancelled(void *unused)
{
	int old;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	begun = 1;
	for (;;)
		iv_event_post(&event);

	return unused;
}

static void poster_leaves(int cancel)
{
	pthread_t t;

	iv_init();
	IV_EVENT_INIT(&event);
	event.handler = nothing;
	check_int(iv_event_register(&event), 0);
	stop = begun = 0;
	check_int(pthread_create(&t, NULL, cancel ? post_until_cancelled :
				 post_until_jump, NULL), 0);
	while (!begun)
		sched_yield();
	run_iterations(3);
	if (cancel) {
		check_int(pthread_cancel(t), 0);
	} else {
		stop = 1;
		check_int(pthread_kill(t, SIGUSR1), 0);
	}
	check_int(pthread_join(t, NULL), 0);
	iv_event_unregister(&event);
	iv_deinit();
}

static void leaving_posters(void)
{
	int i;

	skip_under(TSAN, "stops when a thread is cancelled in its own code");
	signal(SIGUSR1, jump_out);
	for (i = 0; i < 200; i++)
		poster_leaves(i % 2);
	/* Descriptors stay open for posters that were about to write. */
	_exit(0);
}

static void posters_that_leave(void)
{
	pid_t pid = fork_checked();

	if (pid == 0)
		leaving_posters();
	check_child(pid);
}

static const struct check_case cases[] = {
	{ "a burst to thousands of objects rings once, and calls each once",
	  one_doorbell, EACH_BACKEND, 0 },
	{ "objects on several boards are called once for each post",
	  several_boards, EACH, 0 },
	{ "objects that come and go between some that stay leave little mapped",
	  churn, EACH_BACKEND, 60 },
	{ "memory that a failed mmap has unmapped is never mapped again",
	  hole, EACH_BACKEND, 0 },
	{ "without a board an iv_event is not registered",
	  no_board_for_events, EACH_BACKEND, 0 },
	{ "a handler runs the loop, and others are called once", nested, EACH,
	  0 },
	{ "a handler is left by longjmp, and others are called once", left,
	  EACH, 0 },
	{ "a post to a stale copy keeps no other post from being served",
	  stale_copy, EACH, 0 },
	{ "... even if its bit has been given to another object", stale_page,
	  EACH_BACKEND, 60 },
	{ "objects left registered keep no other loop from being woken",
	  left_registered, EACH_BACKEND, 0 },
	{ "an object that two processes have adopted gives its board back",
	  boards_of_two_owners, EACH_BACKEND, 0 },
	{ "what a child registers has nothing to do with its parent's",
	  registered_after_fork, EACH, 0 },
	{ "a child that has ended its loop and begun another can post",
	  child_begins_anew, EACH, 0 },
	{ "posts of a handler to itself make few system calls", self_posts,
	  EACH_BACKEND, 0 },
	{ "a descriptor number that is reused is never written to",
	  reused_number, EACH_BACKEND, 60 },
	{ "... nor is that of a loop's wakeup, by a post to an iv_event",
	  reused_number_of_event, EACH_BACKEND, 60 },
	{ "... nor if the board is used again before the post is over",
	  late_poster, EACH_BACKEND, 60 },
	{ "events can be unregistered after posters have left in mid-post",
	  posters_that_leave, EACH_BACKEND, 60 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
