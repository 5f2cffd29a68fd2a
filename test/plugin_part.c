/*
 * libivykis: the plugin that test/plugin_host loads and unloads.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_signal.h>
#include <iv_thread.h>
#include <iv_tls.h>
#include <iv_work.h>
#include <signal.h>

/* Returns 1 if all handlers have run.  leave: do not call iv_deinit(). */
int run_plugin(int leave);

#ifdef WITH_AREA
static int areas;

static void init_area(void *area)
{
	*(int *)area = ++areas;
}

static void deinit_area(void *area)
{
	areas -= *(int *)area != 0;
}

static struct iv_tls_user user = {
	.sizeof_state	= sizeof(int),
	.init_thread	= init_area,
	.deinit_thread	= deinit_area,
};

__attribute__((constructor))
static void register_user(void)
{
	iv_tls_user_register(&user);
}
#endif

/* One object of each kind that sets up something in the process. */
struct work {
	struct iv_event		event;
	struct iv_signal	sig;
	struct iv_work_pool	pool;
	struct iv_work_item	item;
	int			handled;
};

static void event_handler(void *_w)
{
	struct work *w = _w;

	w->handled++;
	iv_event_unregister(&w->event);
	raise(SIGUSR1);
}

static void signal_handler(void *_w)
{
	struct work *w = _w;

	w->handled++;
	iv_signal_unregister(&w->sig);
	iv_work_pool_submit_work(&w->pool, &w->item);
	iv_work_pool_put(&w->pool);
}

static void work(void *_w)
{
	struct work *w = _w;

	w->handled++;
}

static void completed(void *_w)
{
	struct work *w = _w;

	w->handled++;
}

static void in_thread(void *w)
{
	iv_event_post(&((struct work *)w)->event);
}

int run_plugin(int leave)
{
	struct work w = { .handled = 0 };

	iv_init();

	IV_EVENT_INIT(&w.event);
	w.event.cookie = &w;
	w.event.handler = event_handler;
	IV_SIGNAL_INIT(&w.sig);
	w.sig.signum = SIGUSR1;
	w.sig.flags = 0;
	w.sig.cookie = &w;
	w.sig.handler = signal_handler;
	IV_WORK_POOL_INIT(&w.pool);
	w.pool.max_threads = 1;
	IV_WORK_ITEM_INIT(&w.item);
	w.item.cookie = &w;
	w.item.work = work;
	w.item.completion = completed;
	if (iv_event_register(&w.event) < 0 || iv_signal_register(&w.sig) < 0 ||
	    iv_work_pool_create(&w.pool) < 0 ||
	    iv_thread_create("plugin", in_thread, &w) < 0)
		return 0;

	iv_main();
	if (!leave)
		iv_deinit();

	return w.handled == 4;
}
