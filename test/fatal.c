/*
 * libivykis: iv_fatal, and mistakes that call it.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fcntl.h>
#include <iv.h>
#include <iv_event.h>
#include <iv_event_raw.h>
#include <iv_tls.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "check.h"

/* iv_fatal() is called in a child, whose output is checked. */
static int output;

static pid_t start_child(void (*fn)(void))
{
	int fd[2];
	pid_t pid;

	check(pipe(fd) == 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_int(dup2(fd[1], 1), 1);
		check_int(dup2(fd[1], 2), 2);
		fn();
		_exit(0);
	}
	close(fd[1]);
	output = fd[0];

	return pid;
}

static void
expect_end(void (*fn)(void), int sig, int code, const char *want)
{
	pid_t pid = start_child(fn);
	char got[2048];
	size_t len = 0;
	ssize_t ret;
	int status;

	while ((ret = read(output, got + len, sizeof(got) - 1 - len)) > 0)
		len += ret;
	got[len] = '\0';
	close(output);
	check_int(waitpid(pid, &status, 0), pid);
	if (sig == SIGABRT)
		need_silent_abort();
	check_int(WIFSIGNALED(status) ? WTERMSIG(status) : 0, sig);
	if (sig == 0)
		check_int(WEXITSTATUS(status), code);
	if (strcmp(got, want))
		fprintf(stderr, "# \"%s\" was written, not \"%s\"\n", got,
			want);
	check(!strcmp(got, want));
}

static void write_message(const char *msg)
{
	if (write(2, msg, strlen(msg)) < 0)
		_exit(3);
}

static void write_and_exit(const char *msg)
{
	write_message(msg);
	_exit(42);
}

static void write_and_fail(const char *msg)
{
	write_message(msg);
	iv_fatal("once more");
}

static void fatal_with_numbers(void)
{
	iv_set_fatal_msg_handler(write_message);
	iv_fatal("%d and %s", 12, "%s");
}

static void fatal_with_exit(void)
{
	iv_set_fatal_msg_handler(write_and_exit);
	iv_fatal("bye");
}

static void fatal_in_handler(void)
{
	iv_set_fatal_msg_handler(write_and_fail);
	iv_fatal("first");
}

static void fatal_without_handler(void)
{
	iv_fatal("for the system log");
}

static void fatal_with_handler_removed(void)
{
	iv_set_fatal_msg_handler(write_message);
	iv_set_fatal_msg_handler(NULL);
	iv_fatal("for the system log");
}

static void *fatal_thread(void *arg)
{
	(void)arg;
	iv_fatal("from a thread");
}

static void run_thread(void *(*fn)(void *))
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, fn, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
}

static void fatal_in_thread(void)
{
	iv_set_fatal_msg_handler(write_message);
	run_thread(fatal_thread);
}

static char longest[2000];

static void fatal_with_much_text(void)
{
	iv_set_fatal_msg_handler(write_message);
	iv_fatal("%s", longest);
}

static void message_reaches_the_handler(void)
{
	expect_end(fatal_with_numbers, SIGABRT, 0, "12 and %s");
	expect_end(fatal_in_thread, SIGABRT, 0, "from a thread");
}

static void handler_may_end_the_process(void)
{
	expect_end(fatal_with_exit, 0, 42, "bye");
}

/* The handler is called for up to eight more errors. */
static void failing_handler_is_not_called_for_ever(void)
{
	expect_end(fatal_in_handler, SIGABRT, 0,
		   "first" "once more" "once more" "once more" "once more"
		   "once more" "once more" "once more" "once more");
}

static jmp_buf back;

static void write_and_jump(const char *msg)
{
	write_message(msg);
	longjmp(back, 1);
}

/* In a stack frame whose size depends on the depth. */
static void fatal_below(int depth, int i)
{
	volatile char room[512 * (depth + 1)];

	room[0] = 0;
	iv_fatal("%d%d", room[0], i);
}

static void fatal_again(void)
{
	static volatile int i;

	iv_set_fatal_msg_handler(write_and_jump);
	for (i = 0; i < 20; i++) {
		if (setjmp(back) == 0)
			fatal_below(0, i % 10);
	}
	for (i = 0; i < 6; i++) {
		if (setjmp(back) == 0)
			fatal_below(i, i);
	}
}

static void handler_may_be_left_by_longjmp(void)
{
	expect_end(fatal_again, 0, 0,
		   "00" "01" "02" "03" "04" "05" "06" "07" "08" "09"
		   "00" "01" "02" "03" "04" "05" "06" "07" "08" "09"
		   "00" "01" "02" "03" "04" "05");
}

static void message_goes_to_standard_error(void)
{
	expect_end(fatal_without_handler, SIGABRT, 0, "for the system log\n");
	expect_end(fatal_with_handler_removed, SIGABRT, 0,
		   "for the system log\n");
}

/* The longest message and its newline are written by one write(2). */
static void message_is_one_line(void)
{
	int fd[2];
	char got[2048];
	pid_t pid;
	int status;

	/* Each write(2) is one datagram. */
	check_int(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	memset(longest, 'x', sizeof(longest) - 1);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		check_int(dup2(fd[1], 2), 2);
		iv_fatal("%s", longest);
	}
	close(fd[1]);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(WTERMSIG(status), SIGABRT);
	check_int(read(fd[0], got, sizeof(got)), 1024);
	check(got[1022] == 'x' && got[1023] == '\n');
	need_silent_abort();
	check(recv(fd[0], got, sizeof(got), MSG_DONTWAIT) <= 0);
	close(fd[0]);
}

static void fatal_without_reader(void)
{
	int fd[2];

	check_int(pipe(fd), 0);
	check_int(dup2(fd[1], 2), 2);
	close(fd[0]);
	(void)signal(SIGPIPE, SIG_DFL);
	iv_fatal("nobody reads this");
}

static void closed_standard_error_changes_nothing(void)
{
	expect_end(fatal_without_reader, SIGABRT, 0, "");
}

static void *fatal_while_cancelled(void *arg)
{
	pthread_cancel(pthread_self());
	iv_fatal("cancelled");

	return arg;
}

static void fatal_in_cancelled_thread(void)
{
	run_thread(fatal_while_cancelled);
}

static void cancelled_thread_ends_the_process(void)
{
	expect_end(fatal_in_cancelled_thread, SIGABRT, 0, "cancelled\n");
}

static void message_is_cut(void)
{
	char want[1024];

	memset(longest, 'x', sizeof(longest) - 1);
	memset(want, 'x', sizeof(want) - 1);
	want[1023] = '\0';
	expect_end(fatal_with_much_text, SIGABRT, 0, want);

	longest[1023] = '\0';
	expect_end(fatal_with_much_text, SIGABRT, 0, want);
	longest[1022] = '\0';
	want[1022] = '\0';
	expect_end(fatal_with_much_text, SIGABRT, 0, want);
}

/* Objects for the mistakes. */
static struct iv_fd fd;
static struct iv_task task;
static struct iv_timer timer;
static struct iv_event event;
static struct iv_event_raw raw;

static void nothing(void *cookie)
{
	(void)cookie;
}

static void init_objects(void)
{
	IV_FD_INIT(&fd);
	fd.fd = 0;
	IV_TASK_INIT(&task);
	task.handler = nothing;
	IV_TIMER_INIT(&timer);
	timer.expires = (struct timespec){ 0 };
	timer.handler = nothing;
	IV_EVENT_INIT(&event);
	event.handler = nothing;
	IV_EVENT_RAW_INIT(&raw);
	raw.handler = nothing;
}

static void begin(void)
{
	iv_init();
	init_objects();
}

/* Calls in a thread without a loop. */
void (iv_validate_now)(void);
const struct timespec *__iv_now_location(void);

static void read_now(void)
{
	(void)iv_now.tv_sec;
}

static void get_now_location(void)
{
	(void)__iv_now_location();
}

static void register_fd(void)
{
	init_objects();
	iv_fd_register(&fd);
}

static void register_try_fd(void)
{
	init_objects();
	(void)iv_fd_register_try(&fd);
}

static void unregister_fd(void)
{
	init_objects();
	iv_fd_unregister(&fd);
}

static void set_handler_in(void)
{
	init_objects();
	iv_fd_set_handler_in(&fd, nothing);
}

static void set_handler_out(void)
{
	init_objects();
	iv_fd_set_handler_out(&fd, nothing);
}

static void set_handler_err(void)
{
	init_objects();
	iv_fd_set_handler_err(&fd, nothing);
}

static void register_task(void)
{
	init_objects();
	iv_task_register(&task);
}

static void unregister_task(void)
{
	init_objects();
	iv_task_unregister(&task);
}

static void register_timer(void)
{
	init_objects();
	iv_timer_register(&timer);
}

static void unregister_timer(void)
{
	init_objects();
	iv_timer_unregister(&timer);
}

static void register_event(void)
{
	init_objects();
	(void)iv_event_register(&event);
}

static void unregister_event(void)
{
	init_objects();
	iv_event_unregister(&event);
}

static void register_raw(void)
{
	init_objects();
	(void)iv_event_raw_register(&raw);
}

static void check_calls_without_loop(void)
{
	check_fatal(iv_main, "iv_main:");
	check_fatal(iv_quit, "iv_quit:");
	check_fatal(iv_deinit, "iv_deinit:");
	check_fatal(read_now, "iv_now:");
	check_fatal(get_now_location, "iv_now:");
	check_fatal(iv_invalidate_now, "iv_invalidate_now:");
	check_fatal((iv_validate_now), "iv_validate_now:");
	check_fatal(register_fd, "iv_fd_register:");
	check_fatal(register_try_fd, "iv_fd_register_try:");
	check_fatal(unregister_fd, "iv_fd_unregister:");
	check_fatal(set_handler_in, "iv_fd_set_handler_in:");
	check_fatal(set_handler_out, "iv_fd_set_handler_out:");
	check_fatal(set_handler_err, "iv_fd_set_handler_err:");
	check_fatal(register_task, "iv_task_register:");
	check_fatal(unregister_task, "iv_task_unregister:");
	check_fatal(register_timer, "iv_timer_register:");
	check_fatal(unregister_timer, "iv_timer_unregister:");
	check_fatal(register_event, "iv_event_register:");
	check_fatal(unregister_event, "iv_event_unregister:");
	check_fatal(register_raw, "iv_event_raw_register:");
}

static void calls_without_loop(void)
{
	check_calls_without_loop();
	iv_init();
	iv_deinit();
	check_calls_without_loop();
}

static void register_raw_without_eventfd(void)
{
	refuse("eventfd2", EMFILE);
	register_raw();
}

static void shortage_does_not_hide_mistakes(void)
{
	check_fatal(register_raw_without_eventfd, "iv_event_raw_register:");
}

/* The loop. */
static void deinit_twice(void)
{
	iv_init();
	iv_deinit();
	iv_deinit();
}

static void call_deinit(void *cookie)
{
	(void)cookie;
	iv_deinit();
}

static void deinit_in_main(void)
{
	begin();
	task.handler = call_deinit;
	iv_task_register(&task);
	iv_main();
}

static void mistakes_with_the_loop(void)
{
	check_fatal(deinit_twice, "iv_deinit:");
	check_fatal(deinit_in_main, "iv_deinit:");
}

/* Descriptors. */
static void register_fd_twice(void)
{
	begin();
	iv_fd_register(&fd);
	iv_fd_register(&fd);
}

static void register_try_fd_twice(void)
{
	begin();
	iv_fd_register(&fd);
	(void)iv_fd_register_try(&fd);
}

static void register_bad_fd(void)
{
	begin();
	fd.fd = -1;
	iv_fd_register(&fd);
}

static void register_try_bad_fd(void)
{
	begin();
	fd.fd = -77;
	(void)iv_fd_register_try(&fd);
}

static void unregister_fd_with_loop(void)
{
	begin();
	unregister_fd();
}

static void unregister_fd_twice(void)
{
	begin();
	iv_fd_register(&fd);
	iv_fd_unregister(&fd);
	iv_fd_unregister(&fd);
}

static void unregister_zeroed_fd(void)
{
	iv_init();
	memset(&fd, 0, sizeof(fd));
	iv_fd_unregister(&fd);
}

static void set_handler_in_with_loop(void)
{
	begin();
	set_handler_in();
}

static void set_handler_out_with_loop(void)
{
	begin();
	set_handler_out();
}

static void set_handler_err_with_loop(void)
{
	begin();
	set_handler_err();
}

static void *unregister_fd_here(void *arg)
{
	iv_init();
	iv_fd_unregister(&fd);

	return arg;
}

static void *set_handler_in_here(void *arg)
{
	iv_init();
	iv_fd_set_handler_in(&fd, nothing);

	return arg;
}

static void unregister_fd_in_other_thread(void)
{
	begin();
	iv_fd_register(&fd);
	run_thread(unregister_fd_here);
}

static void set_handler_in_in_other_thread(void)
{
	begin();
	iv_fd_register(&fd);
	run_thread(set_handler_in_here);
}

static void mistakes_with_descriptors(void)
{
	check_fatal(register_fd_twice, "iv_fd_register:");
	check_fatal(register_try_fd_twice, "iv_fd_register_try:");
	check_fatal(register_bad_fd, "iv_fd_register:");
	check_fatal(register_bad_fd, "-1");
	check_fatal(register_try_bad_fd, "iv_fd_register_try:");
	check_fatal(register_try_bad_fd, "-77");
	check_fatal(unregister_fd_with_loop, "iv_fd_unregister:");
	check_fatal(unregister_fd_twice, "iv_fd_unregister:");
	check_fatal(unregister_zeroed_fd, "iv_fd_unregister:");
	check_fatal(set_handler_in_with_loop, "iv_fd_set_handler_in:");
	check_fatal(set_handler_out_with_loop, "iv_fd_set_handler_out:");
	check_fatal(set_handler_err_with_loop, "iv_fd_set_handler_err:");
	check_fatal(unregister_fd_in_other_thread, "iv_fd_unregister:");
	check_fatal(set_handler_in_in_other_thread, "iv_fd_set_handler_in:");
}

/* Tasks. */
static void register_task_twice(void)
{
	begin();
	iv_task_register(&task);
	iv_task_register(&task);
}

static void unregister_task_with_loop(void)
{
	begin();
	unregister_task();
}

static void call_unregister_task(void *cookie)
{
	(void)cookie;
	iv_task_unregister(&task);
}

static void unregister_task_in_its_handler(void)
{
	begin();
	task.handler = call_unregister_task;
	iv_task_register(&task);
	iv_main();
}

static void *unregister_task_here(void *arg)
{
	iv_init();
	iv_task_unregister(&task);

	return arg;
}

static void unregister_task_in_other_thread(void)
{
	begin();
	iv_task_register(&task);
	run_thread(unregister_task_here);
}

static void run_task_without_handler(void)
{
	begin();
	task.handler = NULL;
	iv_task_register(&task);
	iv_main();
}

static void mistakes_with_tasks(void)
{
	check_fatal(register_task_twice, "iv_task_register:");
	check_fatal(unregister_task_with_loop, "iv_task_unregister:");
	check_fatal(unregister_task_in_its_handler, "iv_task_unregister:");
	check_fatal(unregister_task_in_other_thread, "iv_task_unregister:");
	check_fatal(run_task_without_handler, "iv_task:");
}

/* Timers. */
static void register_timer_twice(void)
{
	begin();
	iv_timer_register(&timer);
	iv_timer_register(&timer);
}

static void call_register_timer(void *cookie)
{
	(void)cookie;
	iv_timer_register(&timer);
}

static void register_timer_of_the_batch(void)
{
	struct iv_timer first;

	begin();
	IV_TIMER_INIT(&first);
	first.expires = (struct timespec){ .tv_sec = -1 };
	first.handler = call_register_timer;
	iv_timer_register(&first);
	iv_timer_register(&timer);
	iv_main();
}

static void unregister_timer_with_loop(void)
{
	begin();
	unregister_timer();
}

static void unregister_timer_twice(void)
{
	begin();
	iv_timer_register(&timer);
	iv_timer_unregister(&timer);
	iv_timer_unregister(&timer);
}

static void call_unregister_timer(void *cookie)
{
	(void)cookie;
	iv_timer_unregister(&timer);
}

static void unregister_timer_in_its_handler(void)
{
	begin();
	timer.handler = call_unregister_timer;
	iv_timer_register(&timer);
	iv_main();
}

static void run_timer_without_handler(void)
{
	begin();
	timer.handler = NULL;
	iv_timer_register(&timer);
	iv_main();
}

static void mistakes_with_timers(void)
{
	check_fatal(register_timer_twice, "iv_timer_register:");
	check_fatal(register_timer_of_the_batch, "iv_timer_register:");
	check_fatal(unregister_timer_with_loop, "iv_timer_unregister:");
	check_fatal(unregister_timer_twice, "iv_timer_unregister:");
	check_fatal(unregister_timer_in_its_handler, "iv_timer_unregister:");
	check_fatal(run_timer_without_handler, "iv_timer:");
}

/* Thread-local areas. */
static void register_user(void *cookie)
{
	static struct iv_tls_user late;

	(void)cookie;
	iv_tls_user_register(&late);
}

static void register_user_with_loop(void)
{
	iv_init();
	register_user(NULL);
}

static void register_user_after_the_last_loop(void)
{
	iv_init();
	iv_deinit();
	register_user(NULL);
}

static void register_user_in_init_thread(void)
{
	static struct iv_tls_user user = { .init_thread = register_user };

	iv_tls_user_register(&user);
	iv_init();
}

static void register_user_twice(void)
{
	static struct iv_tls_user user;

	iv_tls_user_register(&user);
	iv_tls_user_register(&user);
}

static void look_up_unregistered_user(void)
{
	static struct iv_tls_user user;

	(void)iv_tls_user_ptr(&user);
}

static void look_up_unregistered_user_with_loop(void)
{
	iv_init();
	look_up_unregistered_user();
}

static void mistakes_with_areas(void)
{
	check_fatal(register_user_with_loop, "iv_tls_user_register:");
	check_fatal(register_user_after_the_last_loop, "iv_tls_user_register:");
	check_fatal(register_user_in_init_thread, "iv_tls_user_register:");
	check_fatal(register_user_twice, "iv_tls_user_register:");
	check_fatal(look_up_unregistered_user, "iv_tls_user_ptr:");
	check_fatal(look_up_unregistered_user_with_loop, "iv_tls_user_ptr:");
}

/* Events. */
static void unregister_event_with_loop(void)
{
	begin();
	unregister_event();
}

static void unregister_event_twice(void)
{
	begin();
	check_int(iv_event_register(&event), 0);
	iv_event_unregister(&event);
	iv_event_unregister(&event);
}

static void *unregister_event_here(void *arg)
{
	iv_init();
	iv_event_unregister(&event);

	return arg;
}

static void unregister_event_in_other_thread(void)
{
	begin();
	check_int(iv_event_register(&event), 0);
	run_thread(unregister_event_here);
}

static void run_event_without_handler(void)
{
	begin();
	event.handler = NULL;
	check_int(iv_event_register(&event), 0);
	iv_event_post(&event);
	iv_main();
}

static void mistakes_with_events(void)
{
	check_fatal(unregister_event_with_loop, "iv_event_unregister:");
	check_fatal(unregister_event_twice, "iv_event_unregister:");
	check_fatal(unregister_event_in_other_thread, "iv_event_unregister:");
	check_fatal(run_event_without_handler, "iv_event:");
}

static void init_without_key(void)
{
	pthread_key_t key;

	while (pthread_key_create(&key, NULL) == 0)
		;
	iv_init();
}

static void init_without_key_is_fatal(void)
{
	check_fatal(init_without_key, "iv_init: cannot create a thread key");
}

/* After a failure, iv_init_try() succeeds, and the loop works. */
static void check_init_works(void)
{
	pid_t pid;

	check_int(iv_inited(), 0);
	errno = 77;
	check_int(iv_init_try(), 0);
	check_int(iv_init_try(), 0);
	check_int(errno, 77);
	check_int(iv_inited(), 1);
	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		run_iterations(2);
		iv_deinit();
		_exit(0);
	}
	check_child(pid);
	run_iterations(2);
	iv_deinit();
}

static void init_tries_without_key(void)
{
	static pthread_key_t keys[PTHREAD_KEYS_MAX];
	int num = 0;

	while (pthread_key_create(&keys[num], NULL) == 0)
		num++;
	check_errno(iv_init_try(), EAGAIN);
	check_errno(iv_init_try(), EAGAIN);
	while (num > 0)
		check_int(pthread_key_delete(keys[--num]), 0);
	check_init_works();
}

static void init_tries_without_memory(void)
{
	const struct rlimit none = { 0, RLIM_INFINITY };
	struct rlimit former;

	skip_under(ASAN | TSAN | MEMCHECK, "has its own malloc");
	need_memory_limit(RLIMIT_AS);
	check_int(getrlimit(RLIMIT_AS, &former), 0);
	check_int(setrlimit(RLIMIT_AS, &none), 0);
	check_errno(iv_init_try(), ENOMEM);
	check_errno(iv_event_raw_prepare(&raw), ENOMEM);
	check_int(setrlimit(RLIMIT_AS, &former), 0);
	check_init_works();
}

static void init_tries_without_descriptors(void)
{
	int former = limit_descriptors(3);

	if (!variant_is_epoll()) {
		check_int(iv_init_try(), 0);
		iv_deinit();
	} else {
		check_errno(iv_init_try(), EMFILE);
		check_errno(iv_init_try(), EMFILE);
	}
	limit_descriptors(former);
	check_init_works();
}

static void init_without_method(void)
{
	check_int(setenv("IV_EXCLUDE_POLL_METHOD",
			 "kqueue epoll epoll-timerfd ppoll poll", 1), 0);
	iv_init();
}

static void init_tries_without_method(void)
{
	check_fatal(init_without_method, "iv_init: no suitable event");
	check_int(setenv("IV_EXCLUDE_POLL_METHOD",
			 "kqueue epoll epoll-timerfd ppoll poll", 1), 0);
	check_errno(iv_init_try(), ENOSYS);
	check_int(iv_inited(), 0);
}

/* The memory of a loop that ended inside its iv_main() is used by the next. */
static jmp_buf outside;

static void end_loop_and_jump(void *unused)
{
	(void)unused;
	iv_deinit();
	longjmp(outside, 1);
}

static void init_tries_after_jump(void)
{
	int former;

	if (setjmp(outside) == 0) {
		iv_init();
		IV_TASK_INIT(&task);
		task.handler = end_loop_and_jump;
		iv_task_register(&task);
		iv_main();
	}
	former = limit_descriptors(3);
	if (variant_is_epoll())
		check_errno(iv_init_try(), EMFILE);
	limit_descriptors(former);
	check_init_works();
}

static void wait_with_failing_calls(void)
{
	begin();
	timer.expires = (struct timespec){ .tv_sec = INT_MAX };
	iv_timer_register(&timer);
	refuse("io_uring_enter", EBADF);
	refuse("epoll_pwait2", EBADF);
	refuse("epoll_pwait", EBADF);
	refuse("epoll_wait", EBADF);
	refuse("ppoll", EBADF);
	refuse("poll", EBADF);
	iv_main();
}

static void failing_wait_is_fatal(void)
{
	check_fatal(wait_with_failing_calls, "iv_main: cannot wait for descriptors: ");
}

/* poll and ppoll keep arrays, which have to grow. */
static void register_without_memory(void)
{
	static struct iv_fd fds[100000];
	const struct rlimit none = { 0, 0 };
	int i;

	check_int(setenv("IV_EXCLUDE_POLL_METHOD",
			 "kqueue epoll epoll-timerfd", 1), 0);
	iv_init();
	check_int(setrlimit(RLIMIT_DATA, &none), 0);
	for (i = 0; i < 100000; i++) {
		IV_FD_INIT(&fds[i]);
		fds[i].fd = 0;
		fds[i].handler_in = nothing;
		iv_fd_register(&fds[i]);
	}
}

static void lack_of_memory_is_fatal(void)
{
	skip_under(ASAN | TSAN | MEMCHECK, "has its own malloc");
	need_memory_limit(RLIMIT_DATA);
	check_fatal(register_without_memory,
		    "iv_fd_register: out of memory");
}

static const struct check_case cases[] = {
	{ "the handler gets the formatted message, and then abort is called",
	  message_reaches_the_handler, ONCE, 0 },
	{ "the message is truncated to 1023 bytes",
	  message_is_cut, ONCE, 0 },
	{ "the handler may end the process",
	  handler_may_end_the_process, ONCE, 0 },
	{ "a handler that calls iv_fatal is not called for ever",
	  failing_handler_is_not_called_for_ever, ONCE, 0 },
	{ "a handler may be left by longjmp, and is called for the next error",
	  handler_may_be_left_by_longjmp, ONCE, 0 },
	{ "without a handler the message goes to standard error",
	  message_goes_to_standard_error, ONCE, 0 },
	{ "the message goes to standard error by one write",
	  message_is_one_line, ONCE, 0 },
	{ "the process ends even if nobody can read standard error",
	  closed_standard_error_changes_nothing, ONCE, 0 },
	{ "a fatal error in a cancelled thread ends the process",
	  cancelled_thread_ends_the_process, ONCE, 0 },
	{ "calls that need a loop are fatal without one",
	  calls_without_loop, EACH_METHOD, 0 },
	{ "a call without a loop is fatal even if descriptors are short",
	  shortage_does_not_hide_mistakes, ONCE, 0 },
	{ "iv_init is fatal if all thread keys are in use",
	  init_without_key_is_fatal, ONCE, 0 },
	{ "iv_init_try reports a lack of thread keys, and may succeed later",
	  init_tries_without_key, ONCE, 0 },
	{ "iv_init_try reports a lack of memory",
	  init_tries_without_memory, ONCE, 0 },
	{ "iv_init_try reports a lack of descriptors",
	  init_tries_without_descriptors, EACH_METHOD, 0 },
	{ "iv_init_try reports the same after a loop was left by longjmp",
	  init_tries_after_jump, EACH_METHOD, 0 },
	{ "iv_init_try reports that there is no poll method",
	  init_tries_without_method, ONCE, 0 },
	{ "an error of the wait is fatal",
	  failing_wait_is_fatal, EACH_METHOD, 0 },
	{ "iv_fd_register without memory for the descriptor is fatal",
	  lack_of_memory_is_fatal, ONCE, 0 },
	{ "mistakes with the loop are fatal",
	  mistakes_with_the_loop, EACH_METHOD, 0 },
	{ "mistakes with descriptors are fatal",
	  mistakes_with_descriptors, EACH_METHOD, 0 },
	{ "mistakes with tasks are fatal",
	  mistakes_with_tasks, EACH_METHOD, 0 },
	{ "mistakes with timers are fatal",
	  mistakes_with_timers, EACH_METHOD, 0 },
	{ "mistakes with thread-local areas are fatal",
	  mistakes_with_areas, ONCE, 0 },
	{ "mistakes with events are fatal",
	  mistakes_with_events, EACH, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
