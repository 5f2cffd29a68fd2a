/*
 * libivykis: kqueue(2) for tests, declared as on BSD systems.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef TEST_SYS_EVENT_H
#define TEST_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As in NetBSD up to version 9. */
#ifdef KQUEUE_UDATA_IS_INTPTR
typedef intptr_t kqueue_udata;
#else
typedef void *kqueue_udata;
#endif

struct kevent {
	uintptr_t	ident;
	short		filter;
	unsigned short	flags;
	unsigned int	fflags;
	int64_t		data;
	kqueue_udata	udata;
};

#define EV_SET(kev, ident_, filter_, flags_, fflags_, data_, udata_)	\
	(*(kev) = (struct kevent){					\
		.ident	= (ident_),					\
		.filter	= (filter_),					\
		.flags	= (flags_),					\
		.fflags	= (fflags_),					\
		.data	= (data_),					\
		.udata	= (kqueue_udata)(udata_),			\
	})

#define EVFILT_READ	(-1)
#define EVFILT_WRITE	(-2)

#define EV_ADD		0x0001
#define EV_DELETE	0x0002
#define EV_ENABLE	0x0004
#define EV_DISABLE	0x0008
#define EV_ONESHOT	0x0010
#define EV_CLEAR	0x0020
#define EV_DISPATCH	0x0080
#define EV_ERROR	0x4000
#define EV_EOF		0x8000

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int num_changes,
	   struct kevent *events, int num_events,
	   const struct timespec *timeout);

#ifdef __cplusplus
}
#endif

#endif
