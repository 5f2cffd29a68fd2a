/*
 * libivykis: iv_inotify.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Functions of the libc are replaced, to behave like a kernel without
 * IN_MASK_CREATE, and to record the flags of the descriptor.
 */

#include <dirent.h>
#include <fcntl.h>
#include <iv_inotify.h>
#include <iv_list.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "check.h"

#ifndef IN_MASK_CREATE
#define IN_MASK_CREATE	0x10000000
#endif

/* How the replaced functions treat IN_MASK_CREATE. */
static enum { SUPPORTED, REFUSED, IGNORED } mask_create;
static int init_flags = -1;

int inotify_add_watch(int fd, const char *pathname, uint32_t mask)
{
	if (mask_create == REFUSED && (mask & IN_MASK_CREATE)) {
		errno = EINVAL;
		return -1;
	}
	if (mask_create == IGNORED)
		mask &= ~IN_MASK_CREATE;

	return syscall(SYS_inotify_add_watch, fd, pathname, mask);
}

int inotify_init1(int flags)
{
	init_flags = flags;

	return syscall(SYS_inotify_init1, flags);
}

int inotify_init(void)
{
	return inotify_init1(0);
}


/* Each case runs in its own directory. */
static char dir[] = "/tmp/check-inotify.XXXXXX";

static void enter_dir(void)
{
	check(mkdtemp(dir) != NULL);
	check(chdir(dir) == 0);
}

static void leave_dir(void)
{
	DIR *d = opendir(".");
	struct dirent *e;

	check(d != NULL);
	while ((e = readdir(d)) != NULL) {
		if (unlink(e->d_name) < 0)
			(void)rmdir(e->d_name);
	}
	closedir(d);
	check(chdir("/") == 0);
	check(rmdir(dir) == 0);
}

static void make_file(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_EXCL, 0600);

	check(fd >= 0);
	close(fd);
}

static void make_dir(const char *name)
{
	check(mkdir(name, 0700) == 0);
}

static void write_to(const char *name)
{
	int fd = open(name, O_WRONLY | O_APPEND);

	check_int(write(fd, "x", 1), 1);
	close(fd);
}


/* A watch that counts its calls and records the last event. */
struct watcher {
	struct iv_inotify_watch	w;
	int			calls;
	uint32_t		mask;
	int			wd;
	char			name[256];
	void			(*then)(struct watcher *);
};

static struct iv_inotify in;

static void record(void *_w, struct inotify_event *event)
{
	struct watcher *w = _w;

	check_int((uintptr_t)event % _Alignof(struct inotify_event), 0);
	w->calls++;
	w->mask = event->mask;
	w->wd = event->wd;
	strcpy(w->name, event->len ? event->name : "");
	/* The handler may overwrite the event. */
	event->wd = 12345;
	event->mask = IN_IGNORED;
	if (w->then != NULL)
		w->then(w);
}

/* The private members stay uninitialised. */
static void prepare(struct watcher *w, const char *pathname, uint32_t mask)
{
	memset(w, 0xa5, sizeof(*w));
	w->w.inotify = &in;
	w->w.pathname = pathname;
	w->w.mask = mask;
	w->w.cookie = w;
	w->w.handler = record;
	w->calls = 0;
	w->then = NULL;
}

static void watch(struct watcher *w, const char *pathname, uint32_t mask)
{
	prepare(w, pathname, mask);
	check_int(iv_inotify_watch_register(&w->w), 0);
}

static void start(void)
{
	enter_dir();
	iv_init();
	memset(&in, 0xa5, sizeof(in));
	check_int(iv_inotify_register(&in), 0);
}

static void end(void)
{
	iv_deinit();
	leave_dir();
}

static void stop(void)
{
	iv_inotify_unregister(&in);
	end();
}

/* Let the loop read all that the kernel has queued. */
static void settle(void)
{
	int queued;

	do {
		run_iterations(2);
		if (!iv_fd_registered(&in.fd))
			return;
		check_int(ioctl(in.fd.fd, FIONREAD, &queued), 0);
	} while (queued > 0);
}

static void expect(struct watcher *w, int calls, uint32_t mask,
		   const char *name)
{
	settle();
	check_int(w->calls, calls);
	check_int(w->mask, mask);
	check(!strcmp(w->name, name));
}

static void check_works(struct watcher *w, const char *name)
{
	int calls = w->calls;

	make_file(name);
	expect(w, calls + 1, IN_CREATE, name);
	check(unlink(name) == 0);
}


static void event_is_the_kernels(void)
{
	struct watcher d, f;

	start();
	make_file("f");
	watch(&d, ".", IN_CREATE | IN_DELETE);
	watch(&f, "f", IN_MODIFY);

	make_file("new");
	expect(&d, 1, IN_CREATE, "new");
	make_dir("sub");
	expect(&d, 2, IN_CREATE | IN_ISDIR, "sub");
	check(unlink("new") == 0);
	expect(&d, 3, IN_DELETE, "new");
	check_int(f.calls, 0);

	write_to("f");
	expect(&f, 1, IN_MODIFY, "");
	check_int(d.calls, 3);
	check(d.wd != f.wd && d.wd > 0 && f.wd > 0);
	stop();
}

/* Not even the length is read again after the call. */
static void write_to_event(void *calls, struct inotify_event *event)
{
	++*(int *)calls;
	event->len = 12345;
	event->mask = IN_IGNORED;
	event->wd = -1;
}

static void handler_may_write_to_it(void)
{
	struct watcher w;
	int calls = 0;

	start();
	prepare(&w, ".", IN_CREATE);
	w.w.handler = write_to_event;
	w.w.cookie = &calls;
	check_int(iv_inotify_watch_register(&w.w), 0);
	make_file("x");
	make_file("y");
	settle();
	check_int(calls, 2);
	make_file("z");
	settle();
	check_int(calls, 3);
	stop();
}

static char order[64];

static void record_order(void *letter, struct inotify_event *event)
{
	(void)event;
	strcat(order, letter);
}

static void kernels_order(void)
{
	struct watcher a, b;

	start();
	make_dir("a");
	make_dir("b");
	prepare(&a, "a", IN_CREATE);
	prepare(&b, "b", IN_CREATE);
	a.w.handler = b.w.handler = record_order;
	a.w.cookie = "a";
	b.w.cookie = "b";
	check_int(iv_inotify_watch_register(&b.w), 0);
	check_int(iv_inotify_watch_register(&a.w), 0);

	make_file("a/1");
	make_file("b/1");
	make_file("b/2");
	make_file("a/2");
	make_file("b/3");
	settle();
	check(!strcmp(order, "abbab"));
	check(system("rm -r a b") == 0);
	stop();
}

static void many_events(void)
{
	struct watcher w;
	char name[16];
	int i;

	start();
	watch(&w, ".", IN_CREATE);
	for (i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "%d", i);
		make_file(name);
	}
	expect(&w, 500, IN_CREATE, "499");
	stop();
}

static void long_names(void)
{
	char name[256];
	struct watcher w;
	int i;

	start();
	watch(&w, ".", IN_CREATE);
	memset(name, 'x', 255);
	name[255] = '\0';
	for (i = 0; i < 30; i++) {
		name[0] = 'a' + i;
		make_file(name);
	}
	expect(&w, 30, IN_CREATE, name);
	stop();
}

/* All objects are also unregistered before any event is read. */
static void uninitialised_members(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_ALL_EVENTS);
	iv_inotify_watch_unregister(&w.w);
	iv_inotify_unregister(&in);
	iv_main();

	memset(&in, 0xa5, sizeof(in));
	check_int(iv_inotify_register(&in), 0);
	watch(&w, ".", IN_ALL_EVENTS);
	iv_inotify_unregister(&in);
	iv_main();
	end();
}

static void public_members_are_left_alone(void)
{
	struct watcher w, old;

	start();
	prepare(&w, ".", IN_CREATE);
	old = w;
	IV_INOTIFY_WATCH_INIT(&w.w);
	check_int(iv_inotify_watch_register(&w.w), 0);
	check_works(&w, "x");
	iv_inotify_watch_unregister(&w.w);
	check(!memcmp(&w.w, &old.w, offsetof(struct iv_inotify_watch, wd)));
	stop();
}

/* memset(3), called so that the compiler does not remove the call. */
static void *(*volatile spoil)(void *, int, size_t) = memset;

static void spoil_and_free(void *p, size_t size)
{
	spoil(p, 0x5a, size);
	free(p);
}

static void unregister_all(struct watcher *w)
{
	(void)w;
	iv_inotify_unregister(&in);
	spoil(&in, 0x5a, sizeof(in));
}

static void instance_keeps_loop_running(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_CREATE);
	w.then = unregister_all;
	make_file("x");
	/* This returns when the handler has unregistered the instance. */
	iv_main();
	check_int(w.calls, 1);
	end();
}

__attribute__((noinline))
static void spoil_stack(void)
{
	char below[32768];

	spoil(below, 0x5a, sizeof(below));
}

static void stack_is_left_alone(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_CREATE);
	check_works(&w, "x");
	spoil_stack();
	iv_inotify_unregister(&in);
	check_int(iv_inotify_register(&in), 0);
	watch(&w, ".", IN_CREATE);
	check_works(&w, "x");
	spoil_stack();
	stop();
}

static void descriptor_flags(void)
{
	start();
	check_int(init_flags, IN_CLOEXEC | IN_NONBLOCK);
	check_int(fcntl(in.fd.fd, F_GETFD), FD_CLOEXEC);
	stop();
}

static void two_instances(void)
{
	struct iv_inotify other;
	struct watcher a, b;

	start();
	check_int(iv_inotify_register(&other), 0);
	watch(&a, ".", IN_CREATE);
	prepare(&b, ".", IN_CREATE);
	b.w.inotify = &other;
	check_int(iv_inotify_watch_register(&b.w), 0);

	make_file("x");
	expect(&a, 1, IN_CREATE, "x");
	expect(&b, 1, IN_CREATE, "x");
	iv_inotify_unregister(&other);
	check_works(&a, "y");
	check_int(b.calls, 1);
	stop();
}


/*
 * Watches that the kernel ends.
 */
static void free_if_ignored(struct watcher *w)
{
	if (w->mask & IN_IGNORED)
		spoil_and_free(w, sizeof(*w));
}

static void ignored_is_the_last(void)
{
	struct watcher *gone = malloc(sizeof(*gone));
	struct watcher w, again;

	start();
	make_dir("d");
	watch(&w, "d", IN_DELETE_SELF);
	watch(&again, ".", IN_DELETE);
	check(rmdir("d") == 0);
	expect(&w, 2, IN_IGNORED, "");
	check_int(again.calls, 1);

	/* Its handler may free it in the last call, or register it again. */
	make_dir("d");
	watch(gone, "d", IN_ATTRIB);
	gone->then = free_if_ignored;
	check(rmdir("d") == 0);
	expect(&again, 2, IN_DELETE | IN_ISDIR, "d");
	make_dir("d");
	check_int(iv_inotify_watch_register(&w.w), 0);
	check(rmdir("d") == 0);
	expect(&w, 4, IN_IGNORED, "");
	stop();
}

static void unregister_watch(struct watcher *w)
{
	iv_inotify_watch_unregister(&w->w);
}

static void register_watch(struct watcher *w)
{
	check_int(iv_inotify_watch_register(&w->w), 0);
}

/* Unregistering a watch that has ended damages no other in the set. */
static void check_others(struct watcher *w, void (*end_it)(void))
{
	struct watcher others[3];
	int i;

	make_dir("a");
	make_dir("b");
	make_dir("c");
	watch(&others[0], "a", IN_CREATE);
	watch(&others[1], "b", IN_CREATE);
	check_int(iv_inotify_watch_register(&w->w), 0);
	watch(&others[2], "c", IN_CREATE);

	end_it();
	settle();
	iv_inotify_watch_unregister(&w->w);
	iv_inotify_watch_unregister(&w->w);

	make_file("a/x");
	make_file("b/x");
	make_file("c/x");
	settle();
	for (i = 0; i < 3; i++) {
		check_int(others[i].calls, 1);
		iv_inotify_watch_unregister(&others[i].w);
	}
	check(system("rm -r a b c") == 0);
}

static void remove_d(void)
{
	check(rmdir("d") == 0);
}

static void make_x(void)
{
	make_file("x");
}

static void unregistering_after_ignored(void)
{
	struct watcher w;

	start();
	make_dir("d");
	prepare(&w, "d", IN_DELETE_SELF);
	check_others(&w, remove_d);
	check_int(w.calls, 2);
	stop();
}

static void unregistering_in_the_last_call(void)
{
	struct watcher w;

	start();
	make_dir("d");
	prepare(&w, "d", IN_ATTRIB);
	w.then = unregister_watch;
	check_others(&w, remove_d);
	stop();
}

static void unregistering_after_oneshot(void)
{
	struct watcher w;

	start();
	prepare(&w, ".", IN_CREATE | IN_ONESHOT);
	w.then = unregister_watch;
	check_others(&w, make_x);
	check_int(w.calls, 1);
	stop();
}

static void oneshot_calls_once(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_CREATE | IN_ONESHOT);
	make_file("x");
	make_file("y");
	expect(&w, 1, IN_CREATE, "x");

	w.then = register_watch;
	register_watch(&w);
	make_file("z");
	expect(&w, 2, IN_CREATE, "z");
	make_file("1");
	expect(&w, 3, IN_CREATE, "1");
	make_file("2");
	expect(&w, 4, IN_CREATE, "2");
	stop();
}

static void free_at_once(struct watcher *w)
{
	spoil_and_free(w, sizeof(*w));
}

static void oneshot_may_be_freed(void)
{
	struct watcher *w = malloc(sizeof(*w));

	start();
	watch(w, ".", IN_ALL_EVENTS | IN_ONESHOT);
	w->then = free_at_once;
	make_file("x");
	make_file("y");
	settle();
	stop();
}


/*
 * There can be only one watch per file.
 */
static void second_is_refused(uint32_t first_mask, uint32_t second_mask)
{
	struct watcher first, second, other;

	start();
	make_dir("d");
	check(symlink("d", "link") == 0);
	watch(&first, "d", first_mask);
	prepare(&second, "link", second_mask);
	check_errno(iv_inotify_watch_register(&second.w), EEXIST);
	iv_inotify_watch_unregister(&second.w);

	/* The first watch gets the events that it wants and no others. */
	make_file("d/x");
	check(unlink("d/x") == 0);
	expect(&first, 1, IN_CREATE, "x");
	check_int(second.calls, 0);

	watch(&other, ".", IN_CREATE);
	iv_inotify_watch_unregister(&first.w);
	check_int(iv_inotify_watch_register(&second.w), 0);
	check_works(&other, "y");
	stop();
}

static void second_watch(void)
{
	second_is_refused(IN_CREATE, IN_DELETE);
}

static void second_watch_adding(void)
{
	second_is_refused(IN_CREATE, IN_DELETE | IN_MASK_ADD);
}

static void first_watch_adding(void)
{
	second_is_refused(IN_CREATE | IN_MASK_ADD, IN_DELETE | IN_ONLYDIR);
}

static void second_watch_creating(void)
{
	second_is_refused(IN_CREATE, IN_DELETE | IN_MASK_CREATE);
}

static void kernel_refuses_mask_create(void)
{
	mask_create = REFUSED;
	second_is_refused(IN_CREATE, IN_DELETE);
}

static void kernel_ignores_mask_create(void)
{
	mask_create = IGNORED;
	second_is_refused(IN_CREATE, IN_DELETE);
}

/* The first watch's lookup flags must not apply to the second one's name. */
static void kernel_refuses_and_lookup_differs(void)
{
	mask_create = REFUSED;
	second_is_refused(IN_CREATE | IN_ONLYDIR | IN_DONT_FOLLOW, IN_DELETE);
}

static void register_anew(struct watcher *w)
{
	struct watcher twin;

	prepare(&twin, ".", IN_ALL_EVENTS);
	check_errno(iv_inotify_watch_register(&twin.w), EEXIST);
	iv_inotify_watch_unregister(&w->w);
	check_int(iv_inotify_watch_register(&w->w), 0);
}

/* The old watch's events must not call the new one. */
static void replaced_in_a_handler(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_CREATE);
	w.then = register_anew;
	make_file("x");
	make_file("y");
	make_file("z");
	expect(&w, 1, IN_CREATE, "x");
	check_works(&w, "1");
	stop();
}

static void failures(void)
{
	struct watcher w, ok;

	start();
	make_file("f");
	prepare(&w, "none", IN_CREATE);
	check_errno(iv_inotify_watch_register(&w.w), ENOENT);
	iv_inotify_watch_unregister(&w.w);
	prepare(&w, "f", IN_MODIFY | IN_ONLYDIR);
	check_errno(iv_inotify_watch_register(&w.w), ENOTDIR);
	iv_inotify_watch_unregister(&w.w);
	prepare(&w, "f", 0);
	check_errno(iv_inotify_watch_register(&w.w), EINVAL);
	prepare(&w, "f", IN_MODIFY | IN_MASK_ADD | IN_MASK_CREATE);
	check_errno(iv_inotify_watch_register(&w.w), EINVAL);

	watch(&ok, ".", IN_CREATE);
	w.w.mask = IN_MODIFY;
	check_int(iv_inotify_watch_register(&w.w), 0);
	write_to("f");
	expect(&w, 1, IN_MODIFY, "");
	check_works(&ok, "x");
	stop();
}


/*
 * What handlers may do.
 */
static struct watcher *victim;

static void unregister_victim(struct watcher *w)
{
	(void)w;
	if (victim == NULL)
		return;
	iv_inotify_watch_unregister(&victim->w);
	free_at_once(victim);
	victim = NULL;
}

/* The handler runs when both events have been read. */
static void other_that_has_an_event(void)
{
	struct watcher w;

	start();
	make_dir("d");
	victim = malloc(sizeof(*victim));
	watch(victim, "d", IN_CREATE);
	watch(&w, ".", IN_CREATE);
	w.then = unregister_victim;
	make_file("x");
	make_file("d/x");
	make_file("y");
	expect(&w, 2, IN_CREATE, "y");
	check(victim == NULL);
	check(unlink("d/x") == 0);
	stop();
}

static void unregister_and_free(struct watcher *w)
{
	iv_inotify_watch_unregister(&w->w);
	free_at_once(w);
}

static void own_watch(void)
{
	struct watcher *w = malloc(sizeof(*w));

	start();
	watch(w, ".", IN_CREATE);
	w->then = unregister_and_free;
	make_file("x");
	make_file("y");
	settle();
	stop();
}

static void unregistered_before_read(void)
{
	struct watcher w, other;

	start();
	make_dir("d");
	watch(&w, ".", IN_CREATE);
	watch(&other, "d", IN_CREATE);
	make_file("x");
	iv_inotify_watch_unregister(&w.w);
	make_file("d/x");
	settle();
	check_int(w.calls, 0);
	check_int(other.calls, 1);
	check(unlink("d/x") == 0);
	stop();
}

static struct watcher added;

static void watch_new_dir(struct watcher *w)
{
	watch(&added, w->name, IN_CREATE);
	w->then = NULL;
}

static void new_watch_in_a_handler(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_CREATE);
	w.then = watch_new_dir;
	make_dir("d");
	settle();
	make_file("d/x");
	expect(&added, 1, IN_CREATE, "x");
	check(unlink("d/x") == 0);
	stop();
}

static struct iv_inotify *heap;

/* Unregister and free all objects, while events that were read are pending. */
static void free_everything(struct watcher *w)
{
	iv_inotify_unregister(heap);
	spoil_and_free(heap, sizeof(*heap));
	heap = NULL;
	free_at_once(victim);
	free_at_once(w);
}

static void instance_in_a_handler(void)
{
	struct watcher *w = malloc(sizeof(*w));

	start();
	iv_inotify_unregister(&in);
	heap = malloc(sizeof(*heap));
	memset(heap, 0xa5, sizeof(*heap));
	check_int(iv_inotify_register(heap), 0);
	make_dir("d");
	victim = malloc(sizeof(*victim));
	prepare(w, ".", IN_CREATE);
	prepare(victim, "d", IN_CREATE);
	w->w.inotify = victim->w.inotify = heap;
	check_int(iv_inotify_watch_register(&w->w), 0);
	check_int(iv_inotify_watch_register(&victim->w), 0);
	w->then = free_everything;

	make_file("x");
	make_file("d/x");
	make_file("y");
	iv_main();
	check(heap == NULL);
	check(unlink("d/x") == 0);
	end();
}

static void run_inside(struct watcher *w)
{
	if (w->calls != 1)
		return;
	w->then = unregister_all;
	make_file("late");
	make_file("later");
	iv_main();
	check_int(w->calls, 2);
}

/* The inner iv_main() delivers the second event, and ends the instance. */
static void instance_in_a_handler_in_a_handler(void)
{
	struct watcher w;

	start();
	watch(&w, ".", IN_CREATE);
	w.then = run_inside;
	make_file("x");
	make_file("y");
	iv_main();
	check_int(w.calls, 2);
	check(!strcmp(w.name, "y"));
	end();
}

/* A program may free the watches before it unregisters the instance. */
static void watches_freed_first(void)
{
	size_t size = sysconf(_SC_PAGESIZE);
	struct watcher *w = mmap(NULL, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(w != MAP_FAILED);
	start();
	watch(w, ".", IN_CREATE);
	check(munmap(w, size) == 0);
	stop();
}

/* The new instance and its watch have the same numbers as the old ones. */
static void after_the_instance(void)
{
	struct watcher w, other;
	struct iv_inotify old;

	start();
	iv_inotify_unregister(&in);
	check_int(iv_inotify_register(&old), 0);
	prepare(&w, ".", IN_CREATE);
	w.w.inotify = &old;
	check_int(iv_inotify_watch_register(&w.w), 0);
	iv_inotify_unregister(&old);
	check_int(iv_inotify_register(&in), 0);
	watch(&other, ".", IN_CREATE);
	iv_inotify_watch_unregister(&w.w);
	check_works(&other, "x");
	iv_inotify_watch_unregister(&w.w);
	stop();
}


/*
 * Overflows of the kernel's queue.
 */
static int max_queued(void)
{
	FILE *fp = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
	int num;

	if (fp == NULL || fscanf(fp, "%d", &num) != 1)
		skip("max_queued_events cannot be read");
	fclose(fp);
	if (num > 100000)
		skip("max_queued_events is very large");

	return num;
}

/* Write to two files in turn, so that no events merge, until one is lost. */
static void overflow(void)
{
	int num = max_queued();
	int a = open("a", O_CREAT | O_WRONLY, 0600);
	int b = open("b", O_CREAT | O_WRONLY, 0600);
	int i;

	check(a >= 0 && b >= 0);
	for (i = 0; i <= num; i++)
		check_int(write(i % 2 ? a : b, "x", 1), 1);
	close(a);
	close(b);
}

#define WATCHERS	5

struct overflowed {
	struct watcher	w;
	int		overflows;
	char		name[16];
};

static struct overflowed five[WATCHERS];
static void (*on_overflow)(struct overflowed *);

static void count_overflow(struct watcher *w)
{
	struct overflowed *o = iv_container_of(w, struct overflowed, w);

	if (!(w->mask & IN_Q_OVERFLOW))
		return;
	check_int(w->wd, -1);
	check(!strcmp(w->name, ""));
	o->overflows++;
	if (on_overflow != NULL)
		on_overflow(o);
}

static void watch_overflow(struct overflowed *o, uint32_t mask)
{
	snprintf(o->name, sizeof(o->name), "d%d", (int)(o - five));
	make_dir(o->name);
	o->overflows = 0;
	watch(&o->w, o->name, mask);
	o->w.then = count_overflow;
}

/* One more watch, whose events make the queue overflow. */
static struct watcher busy;

static void start_overflow(void (*fn)(struct overflowed *))
{
	int i;

	start();
	on_overflow = fn;
	for (i = 0; i < WATCHERS; i++)
		watch_overflow(&five[i], IN_CREATE);
	watch(&busy, ".", IN_MODIFY);
}

static void expect_overflows(const char *want)
{
	int i;

	settle();
	for (i = 0; i < WATCHERS; i++)
		check_int(five[i].overflows, want[i] - '0');
}

static void overflow_calls_all(void)
{
	start_overflow(NULL);
	overflow();
	expect_overflows("11111");
	check_int(busy.calls, max_queued() + 1);
	check_int(busy.mask, IN_Q_OVERFLOW);

	make_file("d3/x");
	expect(&five[3].w, 2, IN_CREATE, "x");
	check(unlink("d3/x") == 0);
	overflow();
	expect_overflows("22222");
	stop();
}

/* The first watch to be called unregisters the next, itself and the last. */
static void remove_some(struct overflowed *o)
{
	if (o != &five[0])
		return;
	iv_inotify_watch_unregister(&five[1].w.w);
	iv_inotify_watch_unregister(&five[0].w.w);
	iv_inotify_watch_unregister(&five[4].w.w);
}

static void overflow_and_unregistering(void)
{
	start_overflow(remove_some);
	overflow();
	expect_overflows("10110");
	stop();
}

/*
 * Each watch registers itself anew when it is called.  The first one also does
 * so for busy, which then is not called: a new watch has missed nothing.
 */
static void replace(struct overflowed *o)
{
	if (o == &five[0]) {
		iv_inotify_watch_unregister(&busy.w);
		check_int(iv_inotify_watch_register(&busy.w), 0);
	}
	iv_inotify_watch_unregister(&o->w.w);
	check_int(iv_inotify_watch_register(&o->w.w), 0);
}

static void overflow_and_registering(void)
{
	start_overflow(replace);
	overflow();
	expect_overflows("11111");
	check_int(busy.mask, IN_MODIFY);
	make_file("d3/x");
	expect(&five[3].w, 2, IN_CREATE, "x");
	check(unlink("d3/x") == 0);
	stop();
}

static void unregister_instance(struct overflowed *o)
{
	if (o == &five[2])
		iv_inotify_unregister(&in);
}

static void overflow_and_the_end(void)
{
	start_overflow(unregister_instance);
	overflow();
	iv_main();
	expect_overflows("11100");
	end();
}

/* The only event of such a watch may be among the lost ones. */
static void overflow_ends_oneshots(void)
{
	start_overflow(NULL);
	iv_inotify_watch_unregister(&five[1].w.w);
	five[1].w.w.mask |= IN_ONESHOT;
	check_int(iv_inotify_watch_register(&five[1].w.w), 0);
	overflow();
	expect_overflows("11111");

	make_file("d1/x");
	settle();
	check_int(five[1].w.calls, 1);
	iv_inotify_watch_unregister(&five[1].w.w);
	check(unlink("d1/x") == 0);
	register_watch(&five[1].w);
	overflow();
	expect_overflows("22222");
	stop();
}


/*
 * Calls that fail.
 */
static void check_register_fails(int err)
{
	int before = num_descriptors();

	check_errno(iv_inotify_register(&in), err);
	check_int(num_descriptors(), before);
	/* With nothing registered, this returns. */
	iv_main();
}

static void no_inotify(void)
{
	iv_init();
	refuse("inotify_init1", ENOSYS);
	check_register_fails(ENOSYS);
	iv_deinit();
}

static void no_epoll_ctl(void)
{
	iv_init();
	if (!variant_is_epoll())
		skip("no epoll");
	refuse("epoll_ctl", ENOSPC);
	check_register_fails(ENOSPC);
	iv_deinit();
}

static void at_descriptor_limit(void)
{
	struct watcher w;
	int former;

	start();
	iv_inotify_unregister(&in);
	former = limit_descriptors(lowest_descriptor());
	check_errno(iv_inotify_register(&in), EMFILE);
	iv_main();

	limit_descriptors(former);
	check_int(iv_inotify_register(&in), 0);
	watch(&w, ".", IN_CREATE);
	check_works(&w, "x");
	stop();
}

static void no_add_watch(void)
{
	struct watcher a, b;

	start();
	make_dir("d");
	watch(&a, ".", IN_CREATE);
	refuse("inotify_add_watch", ENOSPC);
	prepare(&b, "d", IN_CREATE);
	check_errno(iv_inotify_watch_register(&b.w), ENOSPC);
	iv_inotify_watch_unregister(&b.w);
	check_works(&a, "x");
	stop();
}

static void *with_small_stack(void *unused)
{
	struct watcher w;
	char name[16];
	int i;

	iv_init();
	check_int(iv_inotify_register(&in), 0);
	watch(&w, ".", IN_CREATE);
	for (i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "%d", i);
		make_file(name);
	}
	expect(&w, 500, IN_CREATE, "499");
	iv_inotify_unregister(&in);
	iv_deinit();

	return unused;
}

static void small_stack(void)
{
	pthread_attr_t attr;
	pthread_t t;

	enter_dir();
	check_int(pthread_attr_init(&attr), 0);
	if (pthread_attr_setstacksize(&attr, 65536) == EINVAL)
		skip("threads cannot have such a small stack here");
	check_int(pthread_create(&t, &attr, with_small_stack, NULL), 0);
	check_int(pthread_join(t, NULL), 0);
	leave_dir();
}


/* As in a daemon, the child goes on with the inherited instance. */
static void child_goes_on(void)
{
	struct watcher w, other;
	pid_t pid;

	start();
	watch(&w, ".", IN_CREATE);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_works(&w, "x");
		make_dir("d");
		watch(&other, "d", IN_CREATE);
		iv_inotify_watch_unregister(&w.w);
		make_file("d/y");
		expect(&other, 1, IN_CREATE, "y");
		check(unlink("d/y") == 0);
		iv_inotify_unregister(&in);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	stop();
}

static void child_unregisters(void)
{
	struct watcher w;
	pid_t pid;

	start();
	watch(&w, ".", IN_CREATE);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		iv_inotify_unregister(&in);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	check_works(&w, "x");
	stop();
}


static void without_loop(void)
{
	iv_inotify_register(&in);
}

static void unregister_nothing(void)
{
	iv_init();
	IV_INOTIFY_INIT(&in);
	iv_inotify_unregister(&in);
}

static void register_twice(void)
{
	iv_init();
	check_int(iv_inotify_register(&in), 0);
	(void)iv_inotify_register(&in);
}

static void unregister_twice(void)
{
	iv_init();
	check_int(iv_inotify_register(&in), 0);
	iv_inotify_unregister(&in);
	iv_inotify_unregister(&in);
}

static void watch_with_nothing(void)
{
	struct watcher w;

	iv_init();
	IV_INOTIFY_INIT(&in);
	watch(&w, "/", IN_CREATE);
}

static void watch_twice(void)
{
	struct watcher w;

	iv_init();
	check_int(iv_inotify_register(&in), 0);
	watch(&w, "/", IN_CREATE);
	iv_inotify_watch_register(&w.w);
}

static void *watch_elsewhere(void *w)
{
	iv_init();
	watch(w, "/", IN_CREATE);

	return NULL;
}

static void watch_in_a_thread(void)
{
	struct watcher w;
	pthread_t t;

	iv_init();
	check_int(iv_inotify_register(&in), 0);
	check_int(pthread_create(&t, NULL, watch_elsewhere, &w), 0);
	pthread_join(t, NULL);
}

static void unregister_another(void)
{
	struct watcher w, copy;

	iv_init();
	check_int(iv_inotify_register(&in), 0);
	watch(&w, "/", IN_CREATE);
	copy = w;
	iv_inotify_watch_unregister(&copy.w);
}

static void no_handler(void)
{
	struct watcher w;

	iv_init();
	check_int(iv_inotify_register(&in), 0);
	prepare(&w, ".", IN_CREATE);
	w.w.handler = NULL;
	check_int(iv_inotify_watch_register(&w.w), 0);
	make_file("x");
	iv_main();
}

static void mistakes_are_fatal(void)
{
	enter_dir();
	check_fatal(without_loop, "iv_inotify_register: this thread has no");
	check_fatal(unregister_nothing, "iv_inotify_unregister: instance");
	check_fatal(register_twice, "iv_inotify_register: instance");
	check_fatal(unregister_twice, "iv_inotify_unregister: instance");
	check_fatal(watch_with_nothing, "iv_inotify_watch_register: instance");
	check_fatal(watch_twice, "is already registered");
	check_fatal(watch_in_a_thread, "is not registered in this thread");
	check_fatal(unregister_another, "iv_inotify_watch_unregister: ");
	check_fatal(no_handler, "has an event and no handler");
	leave_dir();
}

static const struct check_case cases[] = {
	{ "an event has the kernel's wd, mask and name",
	  event_is_the_kernels, EACH_METHOD, 0 },
	{ "a handler may write to its event",
	  handler_may_write_to_it, ONCE, 0 },
	{ "events are delivered in the kernel's order",
	  kernels_order, ONCE, 0 },
	{ "more events than one read returns are all delivered",
	  many_events, EACH_METHOD, 0 },
	{ "events may have the longest possible names", long_names, ONCE, 0 },
	{ "private members need not be initialised",
	  uninitialised_members, EACH_METHOD, 0 },
	{ "public members are never written to",
	  public_members_are_left_alone, ONCE, 0 },
	{ "the instance keeps the loop running, its watches do not",
	  instance_keeps_loop_running, EACH_METHOD, 0 },
	{ "no pointer to the stack is kept between events",
	  stack_is_left_alone, EACH_METHOD, 0 },
	{ "the descriptor is created close-on-exec and non-blocking",
	  descriptor_flags, ONCE, 0 },
	{ "instances are independent of each other",
	  two_instances, EACH_METHOD, 0 },
	{ "after IN_IGNORED a watch may be freed or registered again",
	  ignored_is_the_last, EACH_METHOD, 0 },
	{ "unregistering after IN_IGNORED does nothing",
	  unregistering_after_ignored, ONCE, 10 },
	{ "unregistering in the call for IN_IGNORED does nothing",
	  unregistering_in_the_last_call, ONCE, 10 },
	{ "unregistering after the event of IN_ONESHOT does nothing",
	  unregistering_after_oneshot, ONCE, 10 },
	{ "a watch with IN_ONESHOT is called once, and may register again",
	  oneshot_calls_once, EACH_METHOD, 0 },
	{ "a watch with IN_ONESHOT may be freed in its handler",
	  oneshot_may_be_freed, ONCE, 0 },
	{ "a second watch for a file fails with EEXIST",
	  second_watch, ONCE, 0 },
	{ "EEXIST if the second watch has IN_MASK_ADD",
	  second_watch_adding, ONCE, 0 },
	{ "EEXIST if the first watch has IN_MASK_ADD",
	  first_watch_adding, ONCE, 0 },
	{ "EEXIST if the second watch has IN_MASK_CREATE",
	  second_watch_creating, ONCE, 0 },
	{ "EEXIST if the kernel refuses IN_MASK_CREATE",
	  kernel_refuses_mask_create, ONCE, 0 },
	{ "EEXIST if the kernel ignores IN_MASK_CREATE",
	  kernel_ignores_mask_create, ONCE, 0 },
	{ "EEXIST without IN_MASK_CREATE if lookup flags differ",
	  kernel_refuses_and_lookup_differs, ONCE, 0 },
	{ "a watch replaced in its handler gets none of the old events",
	  replaced_in_a_handler, EACH_METHOD, 0 },
	{ "registering a watch fails with the kernel's errno",
	  failures, ONCE, 0 },
	{ "a handler may unregister and free another watch with an event",
	  other_that_has_an_event, EACH_METHOD, 0 },
	{ "a handler may unregister and free its own watch",
	  own_watch, EACH_METHOD, 0 },
	{ "unregistering discards events not yet read",
	  unregistered_before_read, EACH_METHOD, 0 },
	{ "a handler may register watches",
	  new_watch_in_a_handler, EACH_METHOD, 0 },
	{ "a handler may unregister and free the instance and all watches",
	  instance_in_a_handler, EACH_METHOD, 0 },
	{ "a handler may unregister the instance in a nested iv_main",
	  instance_in_a_handler_in_a_handler, EACH_METHOD, 0 },
	{ "unregistering a watch after its instance touches no other",
	  after_the_instance, ONCE, 0 },
	{ "unregistering the instance touches no watch",
	  watches_freed_first, ONCE, 0 },
	{ "an overflow calls each watch once",
	  overflow_calls_all, ONCE, 0 },
	{ "an overflow does not call watches unregistered meanwhile",
	  overflow_and_unregistering, ONCE, 0 },
	{ "an overflow does not call watches registered meanwhile",
	  overflow_and_registering, ONCE, 0 },
	{ "an overflow calls no watch after its instance is unregistered",
	  overflow_and_the_end, ONCE, 0 },
	{ "an overflow is the last event of a watch with IN_ONESHOT",
	  overflow_ends_oneshots, ONCE, 0 },
	{ "registering an instance fails if inotify_init1(2) fails",
	  no_inotify, ONCE, 0 },
	{ "registering an instance fails if epoll_ctl(2) fails",
	  no_epoll_ctl, EACH_METHOD, 0 },
	{ "registering an instance fails at the descriptor limit",
	  at_descriptor_limit, EACH_METHOD, 0 },
	{ "registering a watch fails if inotify_add_watch(2) fails",
	  no_add_watch, ONCE, 0 },
	{ "a stack of 64 KiB is enough", small_stack, EACH_METHOD, 0 },
	{ "a forked child may go on with the instance",
	  child_goes_on, EACH_METHOD, 0 },
	{ "unregistering in a child does not affect the parent",
	  child_unregisters, EACH_METHOD, 0 },
	{ "mistakes are fatal", mistakes_are_fatal, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
