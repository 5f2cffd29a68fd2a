/*
 * libivykis: what the tests use and systems other than Linux may lack.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The headers included here are those in which configure looks for the system's
 * own declarations.
 */

#ifndef MISSING_H
#define MISSING_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* One more than the highest number of a signal. */
#ifndef _NSIG
#ifdef _SIG_MAXSIG
#define _NSIG		(_SIG_MAXSIG + 1)
#else
#define _NSIG		NSIG
#endif
#endif

/* Without gettid(2) there is no other number to compare the library's with. */
#ifndef HAVE_GETTID
#define gettid()	((int)iv_get_thread_id())
#endif

/* macOS deprecates vfork(2), which programs use nevertheless. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#if !HAVE_DECL__FORK
static inline pid_t _Fork(void)
{
	errno = ENOSYS;

	return -1;
}
#endif

#if !HAVE_DECL_PIPE2
static inline int pipe2(int fd[2], int flags)
{
	int i;

	if (pipe(fd) < 0)
		return -1;
	for (i = 0; i < 2; i++) {
		if (flags & O_CLOEXEC)
			(void)fcntl(fd[i], F_SETFD, FD_CLOEXEC);
		if (flags & O_NONBLOCK)
			(void)fcntl(fd[i], F_SETFL, O_NONBLOCK);
	}

	return 0;
}
#endif

#if !HAVE_DECL_MEMFD_CREATE
#define MFD_CLOEXEC	1U

static inline int memfd_create(const char *name, unsigned int flags)
{
	char path[] = "/tmp/ivykis.XXXXXX";
	int fd = mkstemp(path);

	(void)name;
	if (fd < 0)
		return -1;
	(void)unlink(path);
	if (flags & MFD_CLOEXEC)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);

	return fd;
}
#endif

#if !HAVE_DECL_PTHREAD_BARRIER_INIT
typedef struct {
	pthread_mutex_t	lock;
	pthread_cond_t	all_arrived;
	unsigned int	num;
	unsigned int	arrived;
	unsigned int	round;
} pthread_barrier_t;

static inline int
pthread_barrier_init(pthread_barrier_t *b, const void *attr, unsigned int num)
{
	(void)attr;
	b->num = num;
	b->arrived = 0;
	b->round = 0;
	(void)pthread_mutex_init(&b->lock, NULL);

	return pthread_cond_init(&b->all_arrived, NULL);
}

static inline int pthread_barrier_wait(pthread_barrier_t *b)
{
	unsigned int round;

	(void)pthread_mutex_lock(&b->lock);
	round = b->round;
	if (++b->arrived == b->num) {
		b->arrived = 0;
		b->round++;
		(void)pthread_cond_broadcast(&b->all_arrived);
	}
	while (b->round == round)
		(void)pthread_cond_wait(&b->all_arrived, &b->lock);
	(void)pthread_mutex_unlock(&b->lock);

	return 0;
}

static inline int pthread_barrier_destroy(pthread_barrier_t *b)
{
	(void)pthread_cond_destroy(&b->all_arrived);

	return pthread_mutex_destroy(&b->lock);
}
#endif

/* On a system without sem_timedwait(3), sem_init(3) always fails. */
#ifndef HAVE_SEM_TIMEDWAIT
struct semaphore {
	pthread_mutex_t	lock;
	pthread_cond_t	posted;
	unsigned int	value;
};

static inline int semaphore_init(struct semaphore *s, unsigned int value)
{
	s->value = value;
	(void)pthread_mutex_init(&s->lock, NULL);

	return pthread_cond_init(&s->posted, NULL);
}

static inline int semaphore_post(struct semaphore *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->value++;
	(void)pthread_cond_signal(&s->posted);

	return pthread_mutex_unlock(&s->lock);
}

static inline int semaphore_wait(struct semaphore *s)
{
	(void)pthread_mutex_lock(&s->lock);
	while (s->value == 0)
		(void)pthread_cond_wait(&s->posted, &s->lock);
	s->value--;

	return pthread_mutex_unlock(&s->lock);
}

#define sem_t			struct semaphore
#define sem_init(s, shared, n)	semaphore_init((s), (n))
#define sem_post(s)		semaphore_post(s)
#define sem_wait(s)		semaphore_wait(s)
#endif

#endif
