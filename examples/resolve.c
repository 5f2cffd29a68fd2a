/*
 * resolve: look up names without blocking the loop.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: resolve NAME...
 *
 * The addresses of each name are printed as soon as they are found.  As
 * getaddrinfo(3) blocks, threads of a pool call it; the loop of the main thread
 * uses the results.  To try it:
 *
 *	cc resolve.c $(pkg-config --cflags --libs ivykis) -o resolve
 *	./resolve localhost ::1
 */

#include <iv.h>
#include <iv_work.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

struct lookup {
	struct iv_work_item	item;
	const char		*name;

	/* Owned by the thread until the completion handler is called. */
	struct addrinfo		*found;
	int			error;		/* EAI_*, or 0 */
};

static struct iv_work_pool pool;
static int lookups_left;
static int failed;

/* In a thread of the pool.  A lookup cannot be cancelled once it has begun. */
static void look_up(void *_l)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct lookup *l = _l;

	l->error = getaddrinfo(l->name, NULL, &hints, &l->found);
}

static void print(const struct lookup *l)
{
	const struct addrinfo *ai;
	char text[NI_MAXHOST];

	printf("%s:", l->name);
	for (ai = l->found; ai != NULL; ai = ai->ai_next) {
		if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text,
				sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
			printf(" %s", text);
	}
	putchar('\n');
	fflush(stdout);
}

/* In the main thread's loop. */
static void looked_up(void *_l)
{
	struct lookup *l = _l;

	if (l->error == 0) {
		print(l);
		freeaddrinfo(l->found);
	} else {
		fprintf(stderr, "resolve: %s: %s\n", l->name,
			gai_strerror(l->error));
		failed = 1;
	}
	free(l);

	/* Without a pool the loop has nothing left, and iv_main() returns. */
	if (--lookups_left == 0)
		iv_work_pool_put(&pool);
}

static void submit(const char *name)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		perror("resolve");
		exit(1);
	}
	l->name = name;
	IV_WORK_ITEM_INIT(&l->item);
	l->item.cookie = l;
	l->item.work = look_up;
	l->item.completion = looked_up;
	iv_work_pool_submit_work(&pool, &l->item);
	lookups_left++;
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: resolve NAME...\n");
		return 1;
	}

	iv_init();
	IV_WORK_POOL_INIT(&pool);
	/* Threads mostly wait, so there may be more of them than processors. */
	pool.max_threads = 16;
	if (iv_work_pool_create(&pool) < 0) {
		perror("resolve: iv_work_pool_create");
		return 1;
	}
	for (i = 1; i < argc; i++)
		submit(argv[i]);

	iv_main();
	iv_deinit();

	return failed;
}
