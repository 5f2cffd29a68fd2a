/*
 * libivykis: a program that is not linked with the library, and loads plugins
 * that are.  Each plugin runs in a separate thread, which ends after the plugin
 * was unloaded.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 *	plugin_host ROUNDS leave|clean PLUGIN...
 *
 * clean: the plugin calls iv_deinit(); leave: the end of the thread does.
 */

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int leave;
static pthread_barrier_t ran, unloaded;

static void fail(const char *what)
{
	printf("%s\n", what);
	exit(1);
}

static void *run(void *handle)
{
	int (*run_plugin)(int);

	*(void **)&run_plugin = dlsym(handle, "run_plugin");
	if (run_plugin == NULL || !run_plugin(leave))
		fail("the plugin did not run");
	pthread_barrier_wait(&ran);
	pthread_barrier_wait(&unloaded);

	return NULL;
}

static void fork_once(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		fail("a child died");
}

static void load_and_unload(const char *plugin)
{
	void *handle = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
	pthread_t thread;

	if (handle == NULL)
		fail(dlerror());
	if (pthread_create(&thread, NULL, run, handle) != 0)
		fail("no thread can be created");
	pthread_barrier_wait(&ran);
	if (dlclose(handle) != 0)
		fail(dlerror());
	pthread_barrier_wait(&unloaded);
	if (pthread_join(thread, NULL) != 0)
		fail("the thread cannot be joined");
	fork_once();
}

/* What may leak: keys of thread-specific data, and mapped pages. */
struct usage {
	int	keys;
	long	pages;
};

static int keys_left(void)
{
	static pthread_key_t keys[100000];
	int num, i;

	for (num = 0; num < 100000; num++) {
		if (pthread_key_create(&keys[num], NULL) != 0)
			break;
	}
	for (i = 0; i < num; i++)
		pthread_key_delete(keys[i]);

	return num;
}

static struct usage usage_now(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	struct usage u;

	if (f == NULL || fscanf(f, "%ld", &u.pages) != 1)
		fail("no /proc/self/statm");
	fclose(f);
	u.keys = -keys_left();

	return u;
}

/* Rounds that may allocate what all later rounds use. */
#define ROUNDS_AT_FIRST	5

int main(int argc, char **argv)
{
	struct usage before = { 0, 0 }, after;
	int rounds, i, j;

	if (argc < 4)
		fail("usage: plugin_host ROUNDS leave|clean PLUGIN...");
	alarm(600);
	rounds = atoi(argv[1]);
	leave = !strcmp(argv[2], "leave");
	if (pthread_barrier_init(&ran, NULL, 2) != 0 ||
	    pthread_barrier_init(&unloaded, NULL, 2) != 0)
		fail("no barriers");

	for (i = 0; i < rounds; i++) {
		if (i == ROUNDS_AT_FIRST)
			before = usage_now();
		for (j = 3; j < argc; j++)
			load_and_unload(argv[j]);
	}
	if (rounds <= ROUNDS_AT_FIRST)
		return 0;

	after = usage_now();
	fprintf(stderr, "keys %d -> %d, pages %ld -> %ld\n", -before.keys,
		-after.keys, before.pages, after.pages);

	return after.keys != before.keys ||
	       after.pages > before.pages + (rounds - ROUNDS_AT_FIRST) / 2;
}
