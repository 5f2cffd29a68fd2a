/*
 * libivykis: iv_event_raw: system calls that fail.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A system call filter cannot be removed, but it applies to one thread.  Calls
 * that fail in a thread with its own loop must not affect other threads.
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event_raw.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_LINUX
#include <sys/syscall.h>
#endif
#include "check.h"

#define SOME_ERRNO	12345
#define TIMES		1000

struct counted {
	struct iv_event_raw	ev;
	int			calls;
};

static void call_and_quit(void *_c)
{
	struct counted *c = _c;

	c->calls++;
	iv_quit();
}

static void init_counted(struct counted *c)
{
	IV_EVENT_RAW_INIT(&c->ev);
	c->ev.handler = call_and_quit;
	c->ev.cookie = c;
	c->calls = 0;
}

static void expect_call(struct counted *c)
{
	int calls = c->calls;

	iv_event_raw_post(&c->ev);
	iv_main();
	check_int(c->calls, calls + 1);
}

static void register_and_use(struct counted *c)
{
	init_counted(c);
	check_int(iv_event_raw_register(&c->ev), 0);
	expect_call(c);
	expect_call(c);
	iv_event_raw_unregister(&c->ev);
}

static int is_pipe(const struct iv_event_raw *ev)
{
	return ev->event_rfd.fd != ev->event_wfd;
}

static int checked_num_mappings(void)
{
	skip_under(MEMCHECK, "maps memory itself");

	return num_mappings();
}

/* Captures standard output and error, which have to stay empty. */
struct capture {
	int	mem;
	int	out;
	int	err;
};

static void capture_begin(struct capture *s)
{
	fflush(NULL);
	s->mem = memfd_create("output", 0);
	s->out = dup(1);
	s->err = dup(2);
	check(s->mem >= 0 && s->out >= 0 && s->err >= 0);
	check(dup2(s->mem, 1) == 1 && dup2(s->mem, 2) == 2);
}

static void capture_end(struct capture *s)
{
	fflush(NULL);
	check(dup2(s->out, 1) == 1 && dup2(s->err, 2) == 2);
	check_int(lseek(s->mem, 0, SEEK_CUR), 0);
	close(s->mem);
	close(s->out);
	close(s->err);
}

/* Returns how often registering fails with that errno. */
static int num_failures(struct counted *c, int err, int times)
{
	int failures = 0;

	while (times-- > 0) {
		errno = 0;
		if (iv_event_raw_register(&c->ev) == -1 && errno == err)
			failures++;
		/* This does nothing, as the object is not registered. */
		iv_event_raw_post(&c->ev);
	}

	return failures;
}

/* Registering fails, prints nothing, and leaves nothing behind. */
static void expect_failures(int err)
{
	struct counted c;
	struct capture s;
	int mappings, descriptors, failures;

	init_counted(&c);
	failures = num_failures(&c, err, 1);
	mappings = checked_num_mappings();
	descriptors = num_descriptors();

	capture_begin(&s);
	failures += num_failures(&c, err, TIMES);
	capture_end(&s);

	check_int(failures, TIMES + 1);
	check_int(num_descriptors(), descriptors);
	check_int(checked_num_mappings(), mappings);
	iv_main();
	check_int(c.calls, 0);
}

/* System calls that fail in a thread, and what it then does. */
struct refusal {
	const char	*call;
	int		err;
	const char	*call2;
	int		err2;
	void		(*fn)(int err);
};

static void *refused_thread(void *_r)
{
	struct refusal *r = _r;

	iv_init();
	refuse(r->call, r->err);
	if (r->call2 != NULL)
		refuse(r->call2, r->err2);
	r->fn(r->call2 != NULL ? r->err2 : r->err);
	iv_deinit();

	return NULL;
}

static void refused_in_thread(struct refusal r)
{
	pthread_t t;

	check_int(pthread_create(&t, NULL, refused_thread, &r), 0);
	check_int(pthread_join(t, NULL), 0);
}

static void refused_to_thread_only(struct refusal r)
{
	struct counted c;

	refused_in_thread(r);
	register_and_use(&c);
}

static void eventfd_shortage(void)
{
	if (!HAS_EVENTFD)
		skip("the library was built without eventfd(2)");
	iv_init();
	refused_to_thread_only((struct refusal){ "eventfd2", EMFILE, NULL, 0, expect_failures });
	refused_to_thread_only((struct refusal){ "eventfd2", ENFILE, NULL, 0, expect_failures });
	refused_to_thread_only((struct refusal){ "eventfd2", ENOMEM, NULL, 0, expect_failures });
	iv_deinit();
}

/* An object with an eventfd, to which a thread without eventfd(2) posts. */
static struct counted *registered_before;

static void use_pipe(int unused)
{
	struct counted c;

	(void)unused;
	register_and_use(&c);
	init_counted(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	check(is_pipe(&c.ev));
	iv_event_raw_post(&registered_before->ev);
	iv_event_raw_unregister(&c.ev);
}

static void eventfd_fails_with(int err)
{
	struct counted c;

	init_counted(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	if (is_pipe(&c.ev))
		skip("eventfd(2) fails outside of the tests");
	registered_before = &c;
	refused_in_thread((struct refusal){ "eventfd2", err, "eventfd", err,
					    use_pipe });

	/* The other thread has posted by the eventfd. */
	iv_main();
	check_int(c.calls, 1);
	expect_call(&c);
	iv_event_raw_unregister(&c.ev);

	/* A failure in one thread is not remembered for others. */
	check_int(iv_event_raw_register(&c.ev), 0);
	check(!is_pipe(&c.ev));
	iv_event_raw_unregister(&c.ev);
}

static void eventfd_fails(void)
{
	static const int errs[] = {
		EPERM, ENOSYS, EINVAL, EACCES, ENODEV, EOPNOTSUPP,
	};
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		eventfd_fails_with(errs[i]);
	iv_deinit();
}

static void pipe2_fails(void)
{
	static const int errs[] = {
		EMFILE, ENFILE, ENOMEM, EPERM,
#ifdef __GLIBC__
		/* Another libc's pipe2() then calls pipe(2). */
		ENOSYS,
#endif
	};
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		refused_to_thread_only((struct refusal){ "eventfd2", EPERM, "pipe2", errs[i],
					  expect_failures });
	iv_deinit();
}

static void eventfd_refused_later(int err)
{
	struct counted a, b;

	iv_init();
	init_counted(&a);
	check_int(iv_event_raw_register(&a.ev), 0);
	if (is_pipe(&a.ev))
		skip("eventfd(2) fails outside of the tests");
	refuse("eventfd2", err);
	refuse("eventfd", err);
	init_counted(&b);
	check_int(iv_event_raw_register(&b.ev), 0);
	check(is_pipe(&b.ev));

	expect_call(&a);
	expect_call(&b);
	iv_event_raw_unregister(&a.ev);
	expect_call(&b);
	iv_event_raw_unregister(&b.ev);
	iv_deinit();
}

static void eventfd_forbidden_later(void)
{
	eventfd_refused_later(EPERM);
}

static void eventfd_removed_later(void)
{
	eventfd_refused_later(ENOSYS);
}

/* This replaces the libc's function. */
static int pipe_is_refused;

int pipe(int fd[2])
{
	if (!pipe_is_refused)
		return pipe2(fd, 0);

	errno = ENOSYS;
	return -1;
}

static void need_pipe2(void)
{
#ifndef HAVE_PIPE2
	skip("the library was built without pipe2(2)");
#endif
}

/* With pipe(2), the flags would be set a moment later. */
static void pipe_flags(void)
{
	struct counted c;

	need_pipe2();
	pipe_is_refused = 1;
	refuse("eventfd2", ENOSYS);
	refuse("eventfd", ENOSYS);
	iv_init();
	init_counted(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	check(is_pipe(&c.ev));
	expect_call(&c);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void register_despite_refusal(int unused)
{
	struct counted c;

	(void)unused;
	register_and_use(&c);
}

static void epoll_ctl_fails(void)
{
	static const int errs[] = { ENOSPC, ENOMEM, EPERM };
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		refused_to_thread_only((struct refusal){ "epoll_ctl", errs[i], NULL, 0,
				variant_is_poll() || variant_is_uring() ?
				register_despite_refusal : expect_failures });
	iv_deinit();
}

static int failures_at_limit(struct counted *c, int limit)
{
	int former = limit_descriptors(limit);
	int failures = num_failures(c, EMFILE, TIMES);

	limit_descriptors(former);

	return failures;
}

static void at_descriptor_limit(void)
{
	struct counted c;
	struct capture s;
	int descriptors, mappings, failures;

	iv_init();
	register_and_use(&c);
	descriptors = num_descriptors();
	mappings = checked_num_mappings();

	capture_begin(&s);
	failures = failures_at_limit(&c, lowest_descriptor());
	if (variant_is_pipe())
		failures += failures_at_limit(&c, lowest_descriptor() + 1);
	capture_end(&s);

	check_int(failures, TIMES * (1 + variant_is_pipe()));
	check_int(num_descriptors(), descriptors);
	check_int(checked_num_mappings(), mappings);
	register_and_use(&c);
	iv_deinit();
}


/* The number of writes by posts since the descriptor was last drained. */
static int num_written(const struct iv_event_raw *ev)
{
	uint64_t buf[64];
	ssize_t len = read(ev->event_rfd.fd, buf, sizeof(buf));

	if (len < 0) {
		check_int(errno, EAGAIN);
		return 0;
	}
	check(len >= 8);

	return is_pipe(ev) ? len / 8 : (long)buf[0];
}

static void post_times(const struct iv_event_raw *ev, int times)
{
	while (times-- > 0) {
		errno = SOME_ERRNO;
		iv_event_raw_post(ev);
		check_int(errno, SOME_ERRNO);
	}
}

static void post_in_child(const struct iv_event_raw *ev, int times)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0) {
		post_times(ev, times);
		_exit(0);
	}
	check_child(pid);
}

static void bursts(struct counted *c)
{
	static const int sizes[] = { 1, 2, 8192, 8193, 100000 };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		c->calls = 0;
		post_times(&c->ev, sizes[i]);
		iv_main();
		check_int(c->calls, 1);

		/* A post that was left over would result in another call. */
		expect_call(c);
	}
}

static void register_and_post_without_bit(struct counted *c)
{
	init_counted(c);
	errno = SOME_ERRNO;
	check_int(iv_event_raw_register(&c->ev), 0);
	check_int(errno, SOME_ERRNO);

	post_times(&c->ev, 3);
	check_int(num_written(&c->ev), 3);
	bursts(c);
	post_in_child(&c->ev, 3);
	check_int(num_written(&c->ev), 3);
	post_in_child(&c->ev, 100000);
	iv_main();
	check_int(c->calls, 3);
	iv_event_raw_unregister(&c->ev);
}

static void no_write_while_awake(void)
{
	struct counted c;

	iv_init();
	init_counted(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	post_times(&c.ev, 1000);
	post_in_child(&c.ev, 1000);
	check_int(num_written(&c.ev), 0);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

/* mmap(2) with an argument that has these bits. */
static void refuse_mmap(int arg, unsigned int bits)
{
	/* 32-bit machines have this one. */
#ifdef SYS_mmap2
	refuse_with("mmap2", ENOMEM, arg, bits);
#else
	refuse_with("mmap", ENOMEM, arg, bits);
#endif
}

#define PROT_ARG	2
#define FLAGS_ARG	3

static void no_mmap(void)
{
	struct counted c;

	skip_under(ASAN | TSAN | MEMCHECK, "does not run out of memory");
	iv_init();
	refuse_mmap(PROT_ARG, PROT_WRITE);
	register_and_post_without_bit(&c);
	register_and_use(&c);
	iv_deinit();
}

static void no_shared_memory(void)
{
	struct counted c;
	int mappings, i;

	iv_init();
	/* This is the second of two mappings. */
	refuse_mmap(FLAGS_ARG, MAP_SHARED);
	register_and_post_without_bit(&c);
	mappings = checked_num_mappings();
	for (i = 0; i < TIMES; i++) {
		init_counted(&c);
		check_int(iv_event_raw_register(&c.ev), 0);
		iv_event_raw_unregister(&c.ev);
	}
	check_int(checked_num_mappings(), mappings);
	iv_deinit();
}


#define OBJECTS		40

static int register_until_failure(struct counted *c)
{
	int num = 0;

	while (num < OBJECTS) {
		init_counted(&c[num]);
		errno = 0;
		if (iv_event_raw_register(&c[num].ev) < 0)
			break;
		num++;
	}

	return num;
}

static int register_without_memory(struct counted *c, int *err)
{
	int num;

	eat_memory(16);
	num = register_until_failure(c);
	*err = errno;
	give_back_memory();

	return num;
}

static void no_memory(void)
{
	static struct counted c[OBJECTS];
	int num, err, i;

	skip_under(ASAN | TSAN | MEMCHECK, "does not run out of memory");
	iv_init();
	num = register_without_memory(c, &err);
	if (num < OBJECTS)
		check_int(err, ENOMEM);
	for (i = 0; i < num; i++)
		iv_event_raw_unregister(&c[i].ev);
	iv_main();

	check_int(register_until_failure(c), OBJECTS);
	for (i = 0; i < OBJECTS; i++)
		iv_event_raw_unregister(&c[i].ev);
	register_and_use(c);
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "registering fails if eventfd(2) lacks a resource",
	  eventfd_shortage, EACH_METHOD, 0 },
	{ "after any other failure of eventfd(2) the object uses a pipe",
	  eventfd_fails, EACH_METHOD, 0 },
	{ "an object keeps its eventfd when eventfd(2) is forbidden later",
	  eventfd_forbidden_later, EACH_METHOD, 0 },
	{ "an object keeps its eventfd when eventfd(2) is missing later",
	  eventfd_removed_later, EACH_METHOD, 0 },
	{ "a pipe is created with its flags, without pipe(2)",
	  pipe_flags, EACH_METHOD, 0 },
	{ "registering fails if pipe2(2) fails as well",
	  pipe2_fails, EACH_METHOD, 0 },
	{ "registering fails at once if epoll_ctl(2) fails",
	  epoll_ctl_fails, EACH, 0 },
	{ "registering fails for as long as the descriptor table is full",
	  at_descriptor_limit, EACH, 0 },
	{ "a post to a loop that is awake writes nothing",
	  no_write_while_awake, EACH, 0 },
	{ "without memory to map, each post writes and nothing is lost",
	  no_mmap, EACH, 0 },
	{ "without shared memory, each post writes and no memory leaks",
	  no_shared_memory, EACH, 0 },
	{ "registering fails without memory, and works again afterwards",
	  no_memory, EACH, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
