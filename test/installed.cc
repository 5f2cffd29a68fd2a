// libivykis: a C++ program that uses every header; see installed.sh.
// SPDX-License-Identifier: LGPL-2.1-or-later

#include <iv.h>
#include <iv_avl.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_list.h>
#include <iv_tls.h>
#include <iv_wait.h>

struct item {
	int			value;
	struct iv_list_head	list;
	struct iv_avl_node	an;
};

static int compare(const struct iv_avl_node *a, const struct iv_avl_node *b)
{
	return iv_container_of(a, struct item, an)->value -
	       iv_container_of(b, struct item, an)->value;
}

static int num_calls;

static void count(void *)
{
	num_calls++;
}

static void exited(void *w, int status, const struct rusage *)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		count(nullptr);
	iv_wait_interest_unregister(static_cast<struct iv_wait_interest *>(w));
}

static int containers()
{
	struct iv_list_head list = IV_LIST_HEAD_INIT(list);
	struct iv_avl_tree tree = IV_AVL_TREE_INIT(compare);
	struct item items[2] = {};
	struct iv_list_head *ilh;
	int sum = 0;

	items[1].value = 1;
	for (auto &item : items) {
		iv_list_add_tail(&item.list, &list);
		iv_avl_tree_insert(&tree, &item.an);
	}
	iv_list_for_each (ilh, &list)
		sum += iv_list_entry(ilh, struct item, list)->value;

	return sum + (iv_avl_tree_max(&tree) == &items[1].an);
}

// The helpers since 0.45.  Returns the items' values as decimal digits, in the
// final order of the items and then in reverse.
static int list_helpers()
{
	static IV_LIST_HEAD(list);
	IV_LIST_HEAD(others);
	struct item a = { 1, {}, {} }, b = { 2, {}, {} }, c = { 3, {}, {} };
	struct item *it, *it2;
	struct iv_list_head *ilh;
	int digits = 0;

	iv_list_add_tail(&a.list, &list);
	if (!iv_list_is_singular(&list))
		return -1;
	iv_list_add_tail(&b.list, &list);
	iv_list_replace(&a.list, &c.list);
	if (iv_list_first_entry(&list, struct item, list) != &c ||
	    iv_list_last_entry(&list, struct item, list) != &b ||
	    iv_list_next_entry(&c, list) != &b ||
	    iv_list_prev_entry(&b, list) != &c)
		return -1;
	iv_list_for_each_entry_safe (it, it2, &list, list)
		iv_list_move(&it->list, &others);
	INIT_IV_LIST_HEAD(&a.list);
	iv_list_move_tail(&a.list, &others);
	iv_list_for_each_entry (it, &others, list)
		digits = 10 * digits + it->value;
	iv_list_for_each_prev (ilh, &others)
		digits = 10 * digits +
			iv_list_entry(ilh, struct item, list)->value;

	return digits;
}

// A raw event that is prepared before its owner is known.
static bool ring(struct iv_event_raw *bell)
{
	if (iv_event_raw_prepare(bell) < 0 || iv_event_raw_adopt(bell) < 0)
		return false;

	int fd = iv_event_raw_export(bell);
	bool rung = iv_event_raw_post_fd(fd) == 0;
	close(fd);

	return rung;
}

int main()
{
	struct iv_event event = {};
	struct iv_event_raw raw = {};
	struct iv_event_raw bell = {};
	struct iv_timer timer = {};
	struct iv_wait_interest child = {};

	if (containers() != 2 || list_helpers() != 231132)
		return 1;

	if (iv_init_try() < 0)
		return 1;
	iv_set_busy_poll(10);

	IV_EVENT_INIT(&event);
	event.handler = [](void *e) {
		count(nullptr);
		iv_event_unregister(static_cast<struct iv_event *>(e));
	};
	event.cookie = &event;
	IV_EVENT_RAW_INIT(&raw);
	raw.handler = [](void *r) {
		count(nullptr);
		iv_event_raw_unregister(static_cast<struct iv_event_raw *>(r));
	};
	raw.cookie = &raw;
	if (iv_event_register(&event) < 0 || iv_event_raw_register(&raw) < 0)
		return 1;
	bell.handler = raw.handler;
	bell.cookie = &bell;
	if (!ring(&bell))
		return 1;

	IV_TIMER_INIT(&timer);
	iv_validate_now();
	timer.expires = iv_now;
	timer.handler = count;
	iv_timer_register(&timer);

	struct iv_timer relative = {};
	IV_TIMER_INIT(&relative);
	relative.handler = count;
	iv_timer_register_in_ms(&relative, 1);

	child.pid = fork();
	if (child.pid == 0)
		_exit(3);
	child.handler = exited;
	child.cookie = &child;
	if (iv_wait_interest_register_try(&child) < 0)
		return 1;

	iv_event_post(&event);
	iv_event_raw_post(&raw);
	const struct timespec limit = { 0, 1000000 };
	(void)iv_loop_fd();
	while (iv_main_once(&limit))
		;
	iv_main();
	iv_deinit();

	return num_calls == 6 ? 0 : 1;
}
