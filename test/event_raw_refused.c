/*
 * libivykis: iv_event_raw, when the kernel refuses.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A filter cannot be lifted, but it concerns one thread: what is refused to a
 * thread with a loop of its own must change nothing for the others.
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

static void prepare(struct counted *c)
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

static void works(struct counted *c)
{
	prepare(c);
	check_int(iv_event_raw_register(&c->ev), 0);
	expect_call(c);
	expect_call(c);
	iv_event_raw_unregister(&c->ev);
}

static int is_pipe(const struct iv_event_raw *ev)
{
	return ev->event_rfd.fd != ev->event_wfd;
}

static int num_own_mappings(void)
{
	skip_under(MEMCHECK, "maps memory of its own");

	return num_mappings();
}

/* Standard output and error lead here while something is to be silent. */
struct silence {
	int	mem;
	int	out;
	int	err;
};

static void silence_begin(struct silence *s)
{
	fflush(NULL);
	s->mem = memfd_create("output", 0);
	s->out = dup(1);
	s->err = dup(2);
	check(s->mem >= 0 && s->out >= 0 && s->err >= 0);
	check(dup2(s->mem, 1) == 1 && dup2(s->mem, 2) == 2);
}

static void silence_end(struct silence *s)
{
	fflush(NULL);
	check(dup2(s->out, 1) == 1 && dup2(s->err, 2) == 2);
	check_int(lseek(s->mem, 0, SEEK_CUR), 0);
	close(s->mem);
	close(s->out);
	close(s->err);
}

/* How often registering fails with that errno, of so many times. */
static int num_failures(struct counted *c, int err, int times)
{
	int failures = 0;

	while (times-- > 0) {
		errno = 0;
		if (iv_event_raw_register(&c->ev) == -1 && errno == err)
			failures++;
		/* Does nothing, as it is not registered. */
		iv_event_raw_post(&c->ev);
	}

	return failures;
}

/* It fails, prints and keeps nothing, and does not count as registered. */
static void fails(int err)
{
	struct counted c;
	struct silence s;
	int mappings, descriptors, failures;

	prepare(&c);
	failures = num_failures(&c, err, 1);
	mappings = num_own_mappings();
	descriptors = num_descriptors();

	silence_begin(&s);
	failures += num_failures(&c, err, TIMES);
	silence_end(&s);

	check_int(failures, TIMES + 1);
	check_int(num_descriptors(), descriptors);
	check_int(num_own_mappings(), mappings);
	iv_main();
	check_int(c.calls, 0);
}

/* What a thread is refused, and what it does then. */
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

static void refused(struct refusal r)
{
	struct counted c;

	refused_in_thread(r);
	works(&c);
}

static void eventfd_shortage(void)
{
	if (!HAS_EVENTFD)
		skip("the library was built without eventfd(2)");
	iv_init();
	refused((struct refusal){ "eventfd2", EMFILE, NULL, 0, fails });
	refused((struct refusal){ "eventfd2", ENFILE, NULL, 0, fails });
	refused((struct refusal){ "eventfd2", ENOMEM, NULL, 0, fails });
	iv_deinit();
}

/* The object of a thread that has eventfd(2), to be posted to by others. */
static struct counted *elder;

static void makes_do_with_pipe(int unused)
{
	struct counted c;

	(void)unused;
	works(&c);
	prepare(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	check(is_pipe(&c.ev));
	iv_event_raw_post(&elder->ev);
	iv_event_raw_unregister(&c.ev);
}

static void no_eventfd_here(int err)
{
	struct counted c;

	prepare(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	if (is_pipe(&c.ev))
		skip("eventfd(2) is refused from outside");
	elder = &c;
	refused_in_thread((struct refusal){ "eventfd2", err, "eventfd", err,
					    makes_do_with_pipe });

	/* Posted by the other thread, in this object's own way. */
	iv_main();
	check_int(c.calls, 1);
	expect_call(&c);
	iv_event_raw_unregister(&c.ev);

	/* What one thread was refused is not remembered for the others. */
	check_int(iv_event_raw_register(&c.ev), 0);
	check(!is_pipe(&c.ev));
	iv_event_raw_unregister(&c.ev);
}

static void no_eventfd(void)
{
	static const int errs[] = {
		EPERM, ENOSYS, EINVAL, EACCES, ENODEV, EOPNOTSUPP,
	};
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		no_eventfd_here(errs[i]);
	iv_deinit();
}

static void no_pipe_either(void)
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
		refused((struct refusal){ "eventfd2", EPERM, "pipe2", errs[i],
					  fails });
	iv_deinit();
}

static void refused_while_registered(int err)
{
	struct counted a, b;

	iv_init();
	prepare(&a);
	check_int(iv_event_raw_register(&a.ev), 0);
	if (is_pipe(&a.ev))
		skip("eventfd(2) is refused from outside");
	refuse("eventfd2", err);
	refuse("eventfd", err);
	prepare(&b);
	check_int(iv_event_raw_register(&b.ev), 0);
	check(is_pipe(&b.ev));

	expect_call(&a);
	expect_call(&b);
	iv_event_raw_unregister(&a.ev);
	expect_call(&b);
	iv_event_raw_unregister(&b.ev);
	iv_deinit();
}

static void forbidden_while_registered(void)
{
	refused_while_registered(EPERM);
}

static void gone_while_registered(void)
{
	refused_while_registered(ENOSYS);
}

/* What stands before the libc's call. */
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

/* With pipe(2) the flags would come a moment later. */
static void flags_from_birth(void)
{
	struct counted c;

	need_pipe2();
	pipe_is_refused = 1;
	refuse("eventfd2", ENOSYS);
	refuse("eventfd", ENOSYS);
	iv_init();
	prepare(&c);
	check_int(iv_event_raw_register(&c.ev), 0);
	check(is_pipe(&c.ev));
	expect_call(&c);
	iv_event_raw_unregister(&c.ev);
	iv_deinit();
}

static void succeeds(int unused)
{
	struct counted c;

	(void)unused;
	works(&c);
}

static void no_epoll_ctl(void)
{
	static const int errs[] = { ENOSPC, ENOMEM, EPERM };
	size_t i;

	iv_init();
	for (i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		refused((struct refusal){ "epoll_ctl", errs[i], NULL, 0,
				variant_is_poll() || variant_is_uring() ?
				succeeds : fails });
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
	struct silence s;
	int descriptors, mappings, failures;

	iv_init();
	works(&c);
	descriptors = num_descriptors();
	mappings = num_own_mappings();

	silence_begin(&s);
	failures = failures_at_limit(&c, lowest_descriptor());
	if (variant_is_pipe())
		failures += failures_at_limit(&c, lowest_descriptor() + 1);
	silence_end(&s);

	check_int(failures, TIMES * (1 + variant_is_pipe()));
	check_int(num_descriptors(), descriptors);
	check_int(num_own_mappings(), mappings);
	works(&c);
	iv_deinit();
}


/* What posts left in the descriptor since it was drained last. */
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

		/* Had something been left, it would end this one too early. */
		expect_call(c);
	}
}

static void works_without_word(struct counted *c)
{
	prepare(c);
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
	prepare(&c);
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
	/* The form that machines of 32 bits have. */
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

	skip_under(ASAN | TSAN | MEMCHECK, "knows no lack of memory");
	iv_init();
	refuse_mmap(PROT_ARG, PROT_WRITE);
	works_without_word(&c);
	works(&c);
	iv_deinit();
}

static void no_shared_memory(void)
{
	struct counted c;
	int mappings, i;

	iv_init();
	/* The second of the two mappings that stand side by side. */
	refuse_mmap(FLAGS_ARG, MAP_SHARED);
	works_without_word(&c);
	mappings = num_own_mappings();
	for (i = 0; i < TIMES; i++) {
		prepare(&c);
		check_int(iv_event_raw_register(&c.ev), 0);
		iv_event_raw_unregister(&c.ev);
	}
	check_int(num_own_mappings(), mappings);
	iv_deinit();
}


#define OBJECTS		40

static int register_most(struct counted *c)
{
	int num = 0;

	while (num < OBJECTS) {
		prepare(&c[num]);
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
	num = register_most(c);
	*err = errno;
	give_back_memory();

	return num;
}

static void no_memory(void)
{
	static struct counted c[OBJECTS];
	int num, err, i;

	skip_under(ASAN | TSAN | MEMCHECK, "knows no lack of memory");
	iv_init();
	num = register_without_memory(c, &err);
	if (num < OBJECTS)
		check_int(err, ENOMEM);
	for (i = 0; i < num; i++)
		iv_event_raw_unregister(&c[i].ev);
	iv_main();

	check_int(register_most(c), OBJECTS);
	for (i = 0; i < OBJECTS; i++)
		iv_event_raw_unregister(&c[i].ev);
	works(c);
	iv_deinit();
}

static const struct check_case cases[] = {
	{ "a shortage in eventfd(2) makes the registration fail",
	  eventfd_shortage, EACH_METHOD, 0 },
	{ "any other failure of eventfd(2) makes that object use a pipe",
	  no_eventfd, EACH_METHOD, 0 },
	{ "an object keeps its eventfd when eventfd(2) is forbidden later",
	  forbidden_while_registered, EACH_METHOD, 0 },
	{ "... and when eventfd(2) has become unavailable",
	  gone_while_registered, EACH_METHOD, 0 },
	{ "a pipe is created with its flags: pipe(2) is not needed",
	  flags_from_birth, EACH_METHOD, 0 },
	{ "a failure of pipe2(2), too, makes the registration fail",
	  no_pipe_either, EACH_METHOD, 0 },
	{ "a failure of epoll_ctl(2) makes the registration fail at once",
	  no_epoll_ctl, EACH, 0 },
	{ "registering fails for as long as the descriptor table is full",
	  at_descriptor_limit, EACH, 0 },
	{ "a loop that is awake is posted to without a write",
	  no_write_while_awake, EACH, 0 },
	{ "without memory to map, each post writes and nothing is lost",
	  no_mmap, EACH, 0 },
	{ "without shared memory, each post writes and nothing is left behind",
	  no_shared_memory, EACH, 0 },
	{ "without memory registering fails, and works again afterwards",
	  no_memory, EACH, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
