/*
 * libivykis: the benchmarks on libivykis.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Compiled twice, with NAME saying for which: against the library of this
 * tree, and against the one that the system has installed.
 */

#include <iv.h>
#include <iv_event_raw.h>
#include "bench.h"

#define PEER		NAME
#define PEER_VERSION	file_of("iv_event_raw_post")
#define ACROSS_FORK	1

/* The thread's own. */
struct loop {
	char	none;
};

struct wake {
	struct iv_event_raw	raw;
};

typedef void (*wake_handler)(void *cookie);

#define WAKE_HANDLER(name)	static void name(void *cookie)

static inline void loop_new(struct loop *l)
{
	(void)l;
	iv_init();
}

static inline void loop_run(struct loop *l)
{
	(void)l;
	iv_main();
}

static inline void loop_quit(struct loop *l)
{
	(void)l;
	iv_quit();
}

static inline void loop_free(struct loop *l)
{
	(void)l;
	iv_deinit();
}

static inline void wake_new(struct loop *l, struct wake *w,
			    wake_handler handler, void *cookie)
{
	(void)l;
	IV_EVENT_RAW_INIT(&w->raw);
	w->raw.cookie = cookie;
	w->raw.handler = handler;
	must(iv_event_raw_register(&w->raw) == 0);
}

static inline void wake_free(struct wake *w)
{
	iv_event_raw_unregister(&w->raw);
}

static inline void post(struct wake *w)
{
	iv_event_raw_post(&w->raw);
}

#include "workloads.h"
