/*
 * fetch: HTTP transfers by libcurl.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * usage: fetch URL...
 *
 * All transfers run at once; a line is printed for each that ends.  curl's
 * "multi socket" interface has two callbacks, which say which sockets to watch
 * and when to call curl at the latest.  To try it (libcurl4-openssl-dev):
 *
 *	cc fetch.c $(pkg-config --cflags --libs ivykis libcurl) -o fetch
 *	./fetch https://www.debian.org/ https://www.kernel.org/
 */

#include <curl/curl.h>
#include <iv.h>
#include <stdio.h>
#include <stdlib.h>

struct transfer {
	const char		*url;
	size_t			bytes;
};

static CURLM *multi;
static struct iv_timer timeout;
static int failed;

static void transfer_done(CURL *easy, CURLcode result)
{
	struct transfer *t;
	long status;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (result == CURLE_OK) {
		printf("%s: %ld, %zu bytes\n", t->url, status, t->bytes);
	} else {
		fprintf(stderr, "fetch: %s: %s\n", t->url,
			curl_easy_strerror(result));
		failed = 1;
	}
	curl_multi_remove_handle(multi, easy);
	curl_easy_cleanup(easy);
	free(t);
}

/* Let curl do its work, in which it calls watch() and set_timeout(). */
static void run_curl(curl_socket_t sock, int events)
{
	CURLMsg *msg;
	int num;

	curl_multi_socket_action(multi, sock, events, &num);
	while ((msg = curl_multi_info_read(multi, &num)) != NULL) {
		if (msg->msg == CURLMSG_DONE)
			transfer_done(msg->easy_handle, msg->data.result);
	}
}

static void readable(void *fd)
{
	run_curl(((struct iv_fd *)fd)->fd, CURL_CSELECT_IN);
}

static void writable(void *fd)
{
	run_curl(((struct iv_fd *)fd)->fd, CURL_CSELECT_OUT);
}

static void timed_out(void *cookie)
{
	(void)cookie;
	run_curl(CURL_SOCKET_TIMEOUT, 0);
}

/* Called by curl to have a socket watched, or no longer watched. */
static int watch(CURL *easy, curl_socket_t sock, int what, void *cookie,
		 void *_fd)
{
	struct iv_fd *fd = _fd;

	(void)easy;
	(void)cookie;
	if (what == CURL_POLL_REMOVE) {
		if (fd != NULL)
			iv_fd_unregister(fd);
		free(fd);
		curl_multi_assign(multi, sock, NULL);
		return 0;
	}

	if (fd == NULL) {
		fd = malloc(sizeof(*fd));
		if (fd == NULL)
			return -1;
		IV_FD_INIT(fd);
		fd->fd = sock;
		fd->cookie = fd;
		iv_fd_register(fd);
		curl_multi_assign(multi, sock, fd);
	}
	iv_fd_set_handler_in(fd, what & CURL_POLL_IN ? readable : NULL);
	iv_fd_set_handler_out(fd, what & CURL_POLL_OUT ? writable : NULL);

	return 0;
}

/* Called by curl to have timed_out() called in msec, never from here. */
static int set_timeout(CURLM *m, long msec, void *cookie)
{
	(void)m;
	(void)cookie;
	if (iv_timer_registered(&timeout))
		iv_timer_unregister(&timeout);
	if (msec >= 0)
		iv_timer_register_in_ms(&timeout, msec);

	return 0;
}

static size_t got_bytes(char *bytes, size_t size, size_t num, void *_t)
{
	struct transfer *t = _t;

	(void)bytes;
	t->bytes += size * num;

	return size * num;
}

static void start(const char *url)
{
	struct transfer *t = calloc(1, sizeof(*t));
	CURL *easy = curl_easy_init();

	if (t == NULL || easy == NULL) {
		fprintf(stderr, "fetch: no memory\n");
		exit(1);
	}
	t->url = url;
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, got_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	curl_multi_add_handle(multi, easy);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: fetch URL...\n");
		return 1;
	}

	iv_init();
	IV_TIMER_INIT(&timeout);
	timeout.handler = timed_out;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_timeout);
	for (i = 1; i < argc; i++)
		start(argv[i]);

	/* Returns when curl watches no socket and waits for no time. */
	iv_main();

	curl_multi_cleanup(multi);
	curl_global_cleanup();
	iv_deinit();

	return failed;
}
