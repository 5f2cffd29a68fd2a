/*
 * libivykis: descriptors.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a descriptor is watched for follows from its handlers.  Changes are
 * noted (`changed') and told to the kernel right before the next wait, so any
 * number of them costs at most one update; only unregistering tells it at
 * once.  What a wait reports is also noted (`ready') before the first handler
 * runs, so that unregistering withdraws it.
 *
 * A forked child never touches the parent's kernel objects: code that is about
 * to call the kernel gets the loop's method from method_of(), which first
 * gives an inherited loop objects of its own.  If these cannot be created the
 * loop has no method, and the next call of method_of() tries again.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "iv_fd_private.h"

_Static_assert(sizeof(struct iv_fd_) <= offsetof(struct iv_fd, pad[9]),
	       "struct iv_fd_ must leave the last two private words to others");

/* The last one is not tried unless it is selected by name. */
const struct iv_fd_poll_method *const iv_fd_poll_methods[NUM_METHODS] = {
	&iv_fd_poll_method_kqueue,
	&iv_fd_poll_method_epoll_timerfd,
	&iv_fd_poll_method_epoll,
	&iv_fd_poll_method_ppoll,
	&iv_fd_poll_method_poll,
	&iv_fd_poll_method_uring,
};

#define NUM_USUAL	(NUM_METHODS - 1)

/*
 * The method that the process's first loop chose, where later ones begin.
 * Relaxed everywhere: it points to constant tables, so nothing needs order.
 */
static _Atomic(const struct iv_fd_poll_method *) process_method;

const char *iv_poll_method_name(void)
{
	const struct iv_fd_poll_method *m =
		atomic_load_explicit(&process_method, memory_order_relaxed);

	return m != NULL ? m->name : NULL;
}

/* Bits of methods that the environment forbids; constant since iv_init(). */
static unsigned int excluded;

/* The method that the environment prefers; constant since iv_init(). */
static int selected = NUM_METHODS;

void iv_fd_exclude_methods(const char *names)
{
	const char *s = names;
	int i;

	while (*(s += strspn(s, " \t\n")) != '\0') {
		size_t len = strcspn(s, " \t\n");

		for (i = 0; i < NUM_METHODS; i++) {
			const char *name = iv_fd_poll_methods[i]->name;

			if (len == strlen(name) && !memcmp(s, name, len))
				excluded |= 1 << i;
		}
		s += len;
	}
}

void iv_fd_select_method(const char *name)
{
	int i;

	for (i = 0; i < NUM_METHODS; i++) {
		if (!strcmp(name, iv_fd_poll_methods[i]->name))
			selected = i;
	}
}

/* The number of the method that is tried nth; NUM_METHODS stands for none. */
static int nth_method(int n)
{
	if (n == 0)
		return selected;

	return n - 1 != selected ? n - 1 : NUM_METHODS;
}

static void set_process_method(const struct iv_fd_poll_method *from,
			       const struct iv_fd_poll_method *to)
{
	(void)atomic_compare_exchange_strong_explicit(&process_method, &from,
						      to, memory_order_relaxed,
						      memory_order_relaxed);
}

/*
 * Set up the first usable method.  One that merely lacks descriptors or
 * memory remains the method of the process, and this loop makes do with the
 * next one.  Returns -1 with errno if none is usable: ENOSYS, unless there was
 * a shortage.
 */
static int choose_method(struct iv_state *st)
{
	const struct iv_fd_poll_method *begin =
		atomic_load_explicit(&process_method, memory_order_relaxed);
	const struct iv_fd_poll_method *method;
	int saved_errno = errno;
	int err = ENOSYS;
	int n;

	for (n = 0; n <= NUM_USUAL; n++) {
		int i = nth_method(n);

		if (i == NUM_METHODS)
			continue;
		method = iv_fd_poll_methods[i];
		if (begin != NULL && method != begin)
			continue;
		/* A method that replaced another one is used, excluded or not. */
		if ((excluded & (1 << i)) && begin == NULL)
			continue;
		begin = NULL;

		if (method->init(st) == 0) {
			st->fd.method = method;
			set_process_method(NULL, method);
			errno = saved_errno;
			return 0;
		}
		if (!iv_fd_not_here_with_flags(errno)) {
			err = errno;
			set_process_method(NULL, method);
		}
	}
	errno = err;

	return -1;
}

void iv_fd_replace_method(struct iv_state *st,
			  const struct iv_fd_poll_method *method)
{
	set_process_method(st->fd.method, method);
	st->fd.method = method;
}

/* As one that was inherited: no process has this generation. */
void iv_fd_give_up_method(struct iv_state *st)
{
	st->fd.generation = 0;
}

void iv_fd_init(struct iv_state *st)
{
	INIT_IV_LIST_HEAD(&st->fd.all);
	INIT_IV_LIST_HEAD(&st->fd.changed);
	INIT_IV_LIST_HEAD(&st->fd.ready);
}

int iv_fd_start(struct iv_state *st)
{
	st->fd.generation = iv_process_generation();

	return choose_method(st);
}

static void end_method(struct iv_state *st)
{
	st->fd.waiting = 0;
	iv_loop_fd_forget(st);
	if (st->fd.method != NULL)
		st->fd.method->deinit(st);
	st->fd.method = NULL;
}

void iv_fd_deinit(struct iv_state *st)
{
	end_method(st);
}

static int reserve(struct iv_state *st, const struct iv_fd_ *fd)
{
	/* A cancelled thread has left its wait without doing this. */
	st->fd.waiting = 0;
	/* Without a method, start_anew() will do it. */
	if (st->fd.method == NULL)
		return 0;

	return st->fd.method->reserve(st, st->fd.num, fd->fd);
}

static int reserve_all(struct iv_state *st)
{
	struct iv_list_head *ilh;

	iv_list_for_each (ilh, &st->fd.all) {
		if (reserve(st, iv_container_of(ilh, struct iv_fd_, all)) < 0)
			return -1;
	}

	return 0;
}

static void note_change(struct iv_state *st, struct iv_fd_ *fd)
{
	if (fd->wanted == fd->told)
		iv_list_del_init(&fd->changed);
	else if (iv_list_empty(&fd->changed))
		iv_list_add_tail(&fd->changed, &st->fd.changed);
}

/*
 * Give a loop new kernel objects: one that was inherited over a fork, one whose
 * method was given up, and one whose user has closed a registered descriptor,
 * which the kernel would go on reporting while a duplicate of it is open.
 */
static int start_anew(struct iv_state *st)
{
	/* A signal handler may fork in here: the child starts anew again. */
	unsigned int generation = iv_process_generation();
	struct iv_list_head *ilh;

	end_method(st);
	iv_step();
	if (choose_method(st) < 0)
		return -1;
	iv_step();
	if (reserve_all(st) < 0) {
		end_method(st);
		errno = ENOMEM;
		return -1;
	}

	/* The latest first: an earlier one with the same number was closed. */
	for (ilh = st->fd.all.prev; ilh != &st->fd.all; ilh = ilh->prev) {
		struct iv_fd_ *fd = iv_container_of(ilh, struct iv_fd_, all);

		fd->again |= fd->told != 0;
		fd->told = 0;
		/* Some are in the list already, in another order. */
		iv_list_del_init(&fd->changed);
		note_change(st, fd);
	}
	st->fd.generation = generation;

	return 0;
}

/* NULL with errno if the loop has to start anew and cannot. */
static const struct iv_fd_poll_method *method_of(struct iv_state *st)
{
	if ((iv_fd_is_inherited(st) || st->fd.method == NULL) &&
	    start_anew(st) < 0)
		return NULL;

	return st->fd.method;
}

/* What the program could do about a descriptor that the kernel rejects. */
static const char *remedy(int err)
{
	switch (err) {
	case EBADF:
		return "unregister it before it is closed";
	case EEXIST:
		return "it has been registered by another iv_fd: dup(2) it";
	case EPERM:
		return "files of its kind are always ready and cannot be "
		       "polled: iv_fd_register_try() reports that";
	default:
		return "iv_fd_register_try() reports it instead";
	}
}

int iv_fd_is_lost(const struct iv_fd *_fd)
{
	const struct iv_fd_ *fd = (const struct iv_fd_ *)_fd;

	return fd->label != 0 && fd->label != iv_process_label() &&
	       !iv_process_has_label(fd->fd, fd->label);
}

/*
 * Has the user closed it since the kernel accepted it?  Its number may by now
 * stand for something else: the descriptor of another object, or even the
 * epoll set itself.
 */
static int is_closed(const struct iv_fd_ *fd, int err)
{
	return err == EBADF || err == EPERM || err == EINVAL ||
	       err == (fd->told != 0 ? ENOENT : EEXIST);
}

/* 0, or -1 with errno.  The kernel is not told of a closed or lost one. */
static int tell_or_forget(struct iv_state *st, struct iv_fd_ *fd)
{
	int ret;

	iv_list_del_init(&fd->changed);

	if (fd->told == 0 && iv_fd_is_lost((struct iv_fd *)fd)) {
		if (fd->handler_err != NULL)
			iv_fd_report(st, fd, BAND_ERR);
		return 0;
	}

	ret = st->fd.method->tell(st, fd);
	if (ret >= 0) {
		fd->again = 0;
		return ret > 0 ? start_anew(st) : 0;
	}
	if (fd->told != 0 && is_closed(fd, errno))
		return start_anew(st);

	return fd->again && is_closed(fd, errno) ? 0 : -1;
}

void iv_fd_refused(const struct iv_fd_ *fd, const char *call, int err)
{
	const char *what = fd->wanted == 0 ? "remove" :
			   fd->told == 0 ? "add" : "change";

	iv_fatal("%s: cannot %s descriptor %d of %p: %s (errno %d): %s", call,
		 what, fd->fd, (const void *)fd, strerror(err), err,
		 remedy(err));
}

static void
tell_kernel(struct iv_state *st, struct iv_fd_ *fd, const char *call)
{
	int saved_errno = errno;

	if (tell_or_forget(st, fd) < 0)
		iv_fd_refused(fd, call, errno);
	errno = saved_errno;
}

void iv_fd_flush(struct iv_state *st)
{
	if (method_of(st) == NULL)
		iv_fatal("iv_main: cannot start anew after fork: %s (errno %d)",
			 strerror(errno), errno);

	while (!iv_list_empty(&st->fd.changed)) {
		struct iv_list_head *ilh = st->fd.changed.next;

		tell_kernel(st, iv_container_of(ilh, struct iv_fd_, changed),
			    "iv_main");
	}
}

int iv_fd_descriptor(struct iv_state *st)
{
	const struct iv_fd_poll_method *method = method_of(st);

	if (method == NULL)
		return -1;
	if (method->descriptor == NULL) {
		errno = ENOSYS;
		return -1;
	}

	return method->descriptor(st);
}

void iv_fd_wait(struct iv_state *st, const struct timespec *until)
{
	static const struct timespec at_once;

	iv_fd_flush(st);
	/* Lost descriptors, and those left by a handler that never returned. */
	if (iv_fd_ready(st))
		until = &at_once;

	/* From here on, iv_fd_forked() keeps a child from waiting. */
	st->fd.waiting = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (!iv_fd_is_inherited(st)) {
		iv_step();
		st->fd.method->wait(st, until);
	}
	st->fd.waiting = 0;
}

/*
 * A signal handler may fork when the loop has checked everything, right before
 * the system call that waits.  The child would not notice what that handler
 * posts there, so its wait has to return at once.
 */
void iv_fd_forked(struct iv_state *st)
{
	if (st->fd.waiting && st->fd.method->forked != NULL)
		st->fd.method->forked(st);
}

/*
 * Each handler may unregister the descriptor, and free it or register it
 * again: then `handled' no longer points to it, and it must not be touched.
 * Each pointer is read right before its call, as a handler may change later
 * ones.
 */
static void serve(struct iv_state *st, struct iv_fd_ *fd)
{
	int bands = fd->reported;

	fd->reported = 0;
	st->fd.handled = fd;
	st->stats.fds++;

	if ((bands & BAND_ERR) && fd->handler_err != NULL)
		fd->handler_err(fd->cookie);
	if (st->fd.handled == fd && (bands & BAND_IN) && fd->handler_in != NULL)
		fd->handler_in(fd->cookie);
	if (st->fd.handled == fd && (bands & BAND_OUT) &&
	    fd->handler_out != NULL)
		fd->handler_out(fd->cookie);

	st->fd.handled = NULL;
}

void iv_fd_run(struct iv_state *st)
{
	while (iv_fd_ready(st)) {
		struct iv_list_head *ilh = st->fd.ready.next;

		iv_list_del_init(ilh);
		serve(st, iv_container_of(ilh, struct iv_fd_, ready));
	}
}

int iv_fd_contains(const struct iv_state *st, const struct iv_fd *fd)
{
	const struct iv_list_head *ilh;

	iv_list_for_each (ilh, &st->fd.all) {
		if (ilh == &((const struct iv_fd_ *)fd)->all)
			return 1;
	}

	return 0;
}

void IV_FD_INIT(struct iv_fd *_fd)
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;

	fd->fd = -1;
	fd->handler_in = NULL;
	fd->handler_out = NULL;
	fd->handler_err = NULL;
	fd->owner = NULL;
	fd->label = 0;
}

static uint8_t bands_of(const struct iv_fd_ *fd)
{
	uint8_t bands = 0;

	if (fd->handler_in != NULL)
		bands |= BAND_IN;
	if (fd->handler_out != NULL)
		bands |= BAND_OUT;
	if (bands == 0 && fd->handler_err != NULL)
		bands = BAND_ERR;

	return bands;
}

static void check(const struct iv_fd_ *fd, const char *call)
{
	if (fd->owner != NULL)
		iv_fatal("%s: %p is already registered: unregister it first, "
			 "or call IV_FD_INIT() on a new one", call,
			 (const void *)fd);
	if (fd->fd < 0)
		iv_fatal("%s: called with descriptor %d in %p: set fd to an "
			 "open one", call, fd->fd, (const void *)fd);
}

/* Make it a registered descriptor that the kernel does not know yet. */
static int enlist(struct iv_state *st, struct iv_fd_ *fd)
{
	st->fd.num++;
	if (reserve(st, fd) < 0) {
		st->fd.num--;
		return -1;
	}

	fd->owner = st;
	fd->wanted = bands_of(fd);
	fd->told = 0;
	fd->reported = 0;
	fd->again = 0;
	iv_list_add_tail(&fd->all, &st->fd.all);
	INIT_IV_LIST_HEAD(&fd->changed);
	INIT_IV_LIST_HEAD(&fd->ready);
	st->numobjs++;

	return 0;
}

static void delist(struct iv_state *st, struct iv_fd_ *fd)
{
	iv_list_del(&fd->all);
	iv_list_del(&fd->changed);
	iv_list_del(&fd->ready);
	if (st->fd.handled == fd)
		st->fd.handled = NULL;
	fd->owner = NULL;
	st->fd.num--;
	st->numobjs--;
}

/* A descriptor that is not open is detected when the kernel is told of it. */
static void set_flags(int fd)
{
	int saved_errno = errno;
	int yes = 1;
	int flags;

	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !(flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	/* This fails for everything but sockets. */
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes));

	errno = saved_errno;
}

void iv_fd_register(struct iv_fd *_fd)
{
	struct iv_state *st = iv_state_for("iv_fd_register");
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;

	check(fd, "iv_fd_register");
	fd->label = 0;
	if (enlist(st, fd) < 0)
		iv_fatal("iv_fd_register: out of memory for descriptor %d of "
			 "%p", fd->fd, (void *)fd);
	note_change(st, fd);
	set_flags(fd->fd);
	iv_loop_fd_registered(st);
}

static int register_try(struct iv_fd_ *fd)
{
	struct iv_state *st = iv_state_for("iv_fd_register_try");
	const struct iv_fd_poll_method *method;
	int ret;

	check(fd, "iv_fd_register_try");
	method = method_of(st);
	if (method == NULL || enlist(st, fd) < 0)
		return -1;

	ret = (fd->wanted ? method->tell_now : method->probe)(st, fd);
	if (ret > 0)
		ret = start_anew(st);
	if (ret < 0) {
		delist(st, fd);
		return -1;
	}
	fd->again = fd->wanted != fd->told;
	note_change(st, fd);

	return 0;
}

int iv_fd_register_try(struct iv_fd *_fd)
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;

	fd->label = 0;
	if (register_try(fd) < 0)
		return -1;
	set_flags(fd->fd);

	return 0;
}

void iv_fd_set_label(struct iv_fd *_fd)
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;

	fd->label = iv_process_label_fd(fd->fd);
}

int iv_fd_register_own(struct iv_fd *_fd)
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;

	if (register_try(fd) < 0)
		return -1;
	/* Other processes may recognise it by a label that it has already. */
	if (fd->label == 0)
		iv_fd_set_label(_fd);

	return 0;
}

static struct iv_state *owner_of(const struct iv_fd_ *fd, const char *call)
{
	struct iv_state *st = iv_state_for(call);

	if (fd->owner != st)
		iv_fatal("%s: %p with descriptor %d is not registered%s", call,
			 (const void *)fd, fd->fd,
			 fd->owner != NULL ? " in this thread" :
			 ": ask iv_fd_registered()");

	return st;
}

void iv_fd_unregister(struct iv_fd *_fd)
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;
	struct iv_state *st = owner_of(fd, "iv_fd_unregister");

	fd->wanted = 0;
	/* Otherwise only the parent's kernel objects know it, or none do. */
	if (fd->told && st->fd.method != NULL && !iv_fd_is_inherited(st)) {
		tell_kernel(st, fd, "iv_fd_unregister");
		if (st->fd.method != NULL && st->fd.method->settle != NULL)
			st->fd.method->settle(st);
	}
	delist(st, fd);
}

unsigned int iv_fd_label(const struct iv_fd *fd)
{
	return ((const struct iv_fd_ *)fd)->label;
}

void iv_fd_close_own(struct iv_fd *fd)
{
	unsigned int label = iv_fd_label(fd);

	iv_fd_unregister(fd);
	iv_process_close(fd->fd, label);
	((struct iv_fd_ *)fd)->label = 0;
}

int iv_fd_renew(struct iv_fd *_fd, int number)
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;

	fd->fd = number;
	fd->label = iv_process_label_fd(number);
	fd->told = 0;
	if (reserve(fd->owner, fd) < 0)
		return -1;
	note_change(fd->owner, fd);

	return 0;
}

int iv_fd_registered(const struct iv_fd *fd)
{
	return ((const struct iv_fd_ *)fd)->owner != NULL;
}

static void handlers_changed(struct iv_state *st, struct iv_fd_ *fd)
{
	fd->wanted = bands_of(fd);
	note_change(st, fd);
	iv_loop_fd_registered(st);
}

void iv_fd_set_handler_in(struct iv_fd *_fd, void (*handler_in)(void *))
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;
	struct iv_state *st = owner_of(fd, "iv_fd_set_handler_in");

	fd->handler_in = handler_in;
	handlers_changed(st, fd);
}

void iv_fd_set_handler_out(struct iv_fd *_fd, void (*handler_out)(void *))
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;
	struct iv_state *st = owner_of(fd, "iv_fd_set_handler_out");

	fd->handler_out = handler_out;
	handlers_changed(st, fd);
}

void iv_fd_set_handler_err(struct iv_fd *_fd, void (*handler_err)(void *))
{
	struct iv_fd_ *fd = (struct iv_fd_ *)_fd;
	struct iv_state *st = owner_of(fd, "iv_fd_set_handler_err");

	fd->handler_err = handler_err;
	handlers_changed(st, fd);
}
