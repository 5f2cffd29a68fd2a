/*
 * libivykis: iv_work.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <iv.h>
#include <iv_event.h>
#include <iv_thread.h>
#include <iv_tls.h>
#include <iv_work.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"
#include "trace.h"

#define MANY	8

/* Sizes and offsets are compiled into programs, so they can never change. */
#define OF(lp64, ilp32)	(sizeof(void *) == 8 ? (lp64) : (ilp32))

#define PLACE(type, member, lp64, ilp32)				\
	_Static_assert(offsetof(struct type, member) == OF(lp64, ilp32),\
		       "place of struct " #type "'s " #member)

_Static_assert(sizeof(struct iv_work_pool) == OF(40, 20),
	       "size of struct iv_work_pool");
PLACE(iv_work_pool, max_threads, 0, 0);
PLACE(iv_work_pool, cookie, 8, 4);
PLACE(iv_work_pool, thread_start, 16, 8);
PLACE(iv_work_pool, thread_stop, 24, 12);
PLACE(iv_work_pool, priv, 32, 16);
_Static_assert(sizeof(struct iv_work_item) == OF(40, 20),
	       "size of struct iv_work_item");
PLACE(iv_work_item, cookie, 0, 0);
PLACE(iv_work_item, work, 8, 4);
PLACE(iv_work_item, completion, 16, 8);
PLACE(iv_work_item, list, 24, 12);

static struct iv_work_pool pool;
static pthread_t owner;

/* A handler that runs in the owner's thread. */
static void mark_in_owner(void *letter)
{
	check(pthread_equal(pthread_self(), owner));
	mark(letter);
}

static atomic_int starts;
static atomic_int stops;

static void count_start(void *cookie)
{
	check(cookie == &pool);
	check(iv_inited());
	check(!pthread_equal(pthread_self(), owner));
	starts++;
}

static void count_stop(void *cookie)
{
	check(cookie == &pool);
	check(iv_inited());
	check(!pthread_equal(pthread_self(), owner));
	stops++;
}

static void prepare_pool(int max_threads)
{
	/* The private member need not be initialised. */
	memset(&pool, 0xa5, sizeof(pool));
	IV_WORK_POOL_INIT(&pool);
	pool.max_threads = max_threads;
	pool.cookie = &pool;
	pool.thread_start = count_start;
	pool.thread_stop = count_stop;
}

static void create_pool(int max_threads)
{
	prepare_pool(max_threads);
	check_int(iv_work_pool_create(&pool), 0);
}

static void begin(int max_threads)
{
	owner = pthread_self();
	iv_init();
	create_pool(max_threads);
}

/* Put the pool, and run the loop until its threads have ended. */
static void end(void)
{
	iv_work_pool_put(&pool);
	iv_main();
	check_int(stops, starts);
	iv_deinit();
}

struct job {
	struct iv_work_item	item;
	void			(*fn)(struct job *);
	void			(*then)(struct job *);
	pthread_t		thread;
	pid_t			tid;
	int			number;
	int			runs;
	int			completed;
};

static int completed;
static int quit_at;

static void run_job(void *_j)
{
	struct job *j = _j;

	j->thread = pthread_self();
	j->tid = gettid();
	if (j->fn != NULL)
		j->fn(j);
	j->runs++;
}

static void job_done(void *_j)
{
	struct job *j = _j;

	check(pthread_equal(pthread_self(), owner));
	j->completed++;
	check_int(j->runs, j->completed);
	if (++completed == quit_at)
		iv_quit();
	/* The function may free the job. */
	if (j->then != NULL)
		j->then(j);
}

static void set_job(struct job *j, void (*fn)(struct job *),
		    void (*then)(struct job *))
{
	memset(j, 0xa5, sizeof(*j));
	IV_WORK_ITEM_INIT(&j->item);
	j->item.cookie = j;
	j->item.work = run_job;
	j->item.completion = job_done;
	j->fn = fn;
	j->then = then;
	j->runs = 0;
	j->completed = 0;
	j->number = 0;
}

static void submit(struct job *j, void (*fn)(struct job *),
		   void (*then)(struct job *))
{
	set_job(j, fn, then);
	iv_work_pool_submit_work(&pool, &j->item);
}

/* Run until num more items are completed. */
static void complete(int num)
{
	quit_at = completed + num;
	iv_main();
	check_int(completed, quit_at);
}

static int ran_in_owner(const struct job *j)
{
	return pthread_equal(j->thread, owner) != 0;
}

/* A pool's threads cannot be joined. */
static void wait_until_gone(pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d", tid);
	while (access(path, F_OK) == 0)
		usleep(1000);
}

static void start_task(struct iv_task *t, void (*handler)(void *), void *cookie)
{
	IV_TASK_INIT(t);
	t->handler = handler;
	t->cookie = cookie;
	iv_task_register(t);
}


static int value;

static void write_value(struct job *j)
{
	check(!pthread_equal(pthread_self(), owner));
	check(iv_inited());
	value = j->number;
}

static void read_value(struct job *j)
{
	check_int(value, j->number);
}

static void work_and_completion(void)
{
	struct job j;
	int i;

	begin(1);
	for (i = 0; i < 1000; i++) {
		set_job(&j, write_value, read_value);
		j.number = i;
		iv_work_pool_submit_work(&pool, &j.item);
		complete(1);
		check_int(j.runs, 1);
		check_int(j.completed, 1);
	}
	check_int(starts, 1);
	end();
	check_int(stops, 1);
}

/* For items that return only when all of them are running. */
static pthread_barrier_t barrier;

static void meet(struct job *j)
{
	(void)j;
	pthread_barrier_wait(&barrier);
}

static void submit_meeting(struct job *jobs)
{
	int i;

	for (i = 0; i < MANY; i++)
		submit(&jobs[i], meet, NULL);
}

static void parallel(void)
{
	struct job jobs[MANY];

	begin(MANY);
	pthread_barrier_init(&barrier, NULL, MANY);
	submit_meeting(jobs);
	complete(MANY);
	check_int(starts, MANY);
	end();
}

static void parallel_when_idle(void)
{
	struct job jobs[MANY];
	int i;

	begin(MANY);
	pthread_barrier_init(&barrier, NULL, MANY);
	for (i = 0; i < 20; i++) {
		submit_meeting(jobs);
		complete(MANY);
		/* Threads may become idle some time after their last item. */
		usleep(10000);
	}
	check_int(starts, MANY);
	end();
}

static struct job continued[MANY];

static void continue_many(struct job *j)
{
	int i;

	(void)j;
	for (i = 0; i < MANY; i++) {
		set_job(&continued[i], meet, NULL);
		iv_work_pool_submit_continuation(&pool, &continued[i].item);
	}
}

static void parallel_continuations(void)
{
	struct job j;

	begin(MANY);
	pthread_barrier_init(&barrier, NULL, MANY);
	submit(&j, continue_many, NULL);
	complete(MANY + 1);
	check_int(starts, MANY);

	/* The same when all threads are idle. */
	usleep(10000);
	submit(&j, continue_many, NULL);
	complete(MANY + 1);
	check_int(starts, MANY);
	end();
}

/* This item and its continuations have to run at the same time. */
static void continue_and_meet(struct job *j)
{
	int i;

	for (i = 0; i < MANY - 1; i++) {
		set_job(&continued[i], meet, NULL);
		iv_work_pool_submit_continuation(&pool, &continued[i].item);
	}
	meet(j);
}

static void continuations_with_their_parent(void)
{
	struct job j;

	begin(MANY);
	pthread_barrier_init(&barrier, NULL, MANY);
	submit(&j, continue_and_meet, NULL);
	complete(MANY);
	end();
}

static void one_at_a_time(void)
{
	struct job jobs[MANY];
	int i;

	begin(1);
	for (i = 0; i < MANY; i++)
		submit(&jobs[i], NULL, NULL);
	complete(MANY);
	for (i = 1; i < MANY; i++)
		check(pthread_equal(jobs[i].thread, jobs[0].thread));
	check_int(starts, 1);
	end();
}

static int begun[1000];
static int num_begun;
static int num_ended;

static void record_begin(struct job *j)
{
	begun[num_begun++] = j->number;
}

static void check_order(struct job *j)
{
	check_int(j->number, num_ended);
	num_ended++;
}

static void first_in_first_out(void)
{
	static struct job jobs[1000];
	int i;

	begin(1);
	for (i = 0; i < 1000; i++) {
		set_job(&jobs[i], record_begin, check_order);
		jobs[i].number = i;
		iv_work_pool_submit_work(&pool, &jobs[i].item);
	}
	complete(1000);
	for (i = 0; i < 1000; i++)
		check_int(begun[i], i);
	end();
}

static sem_t gates[3];

static void wait_at_gate(struct job *j)
{
	while (sem_wait(&gates[j->number]) < 0)
		;
}

static void open_next_gate(struct job *j)
{
	mark_in_owner((void *)&"abc"[j->number]);
	if (j->number > 0)
		sem_post(&gates[j->number - 1]);
}

static void submit_gated(struct job *jobs)
{
	int i;

	for (i = 0; i < 3; i++) {
		sem_init(&gates[i], 0, 0);
		set_job(&jobs[i], wait_at_gate, open_next_gate);
		jobs[i].number = i;
		iv_work_pool_submit_work(&pool, &jobs[i].item);
	}
}

static void order_of_finishing(void)
{
	struct job jobs[3];

	begin(3);
	submit_gated(jobs);
	sem_post(&gates[2]);
	complete(3);
	expect("cba");
	end();
}

static void latest_idle_first(void)
{
	struct job jobs[3];
	struct job j;
	int i;

	begin(3);
	submit_gated(jobs);
	sem_post(&gates[2]);
	complete(3);
	for (i = 0; i < 20; i++) {
		usleep(1000);
		submit(&j, NULL, NULL);
		complete(1);
		check(pthread_equal(j.thread, jobs[0].thread));
	}
	check_int(starts, 3);
	end();
}


static void wait_a_little(struct job *j)
{
	(void)j;
	usleep(1000);
}

static void put_at_once(void)
{
	static struct job jobs[50];
	int i;

	begin(2);
	for (i = 0; i < 50; i++)
		submit(&jobs[i], wait_a_little, NULL);
	iv_work_pool_put(&pool);
	/* The library has copied its members. */
	memset((void *)&pool, 0xff, sizeof(pool));
	iv_main();
	check_int(completed, 50);
	check_int(starts, 2);
	check_int(stops, 2);
	iv_deinit();
}

static void put_unused(void)
{
	begin(2);
	end();
	check_int(starts, 0);
}

static void put_pool(struct job *j)
{
	if (j->number == 0)
		iv_work_pool_put(&pool);
}

static void put_in_completion(void)
{
	struct job jobs[4];
	int i;

	begin(8);
	pthread_barrier_init(&barrier, NULL, 4);
	for (i = 0; i < 4; i++) {
		set_job(&jobs[i], meet, put_pool);
		jobs[i].number = completed;
		iv_work_pool_submit_work(&pool, &jobs[i].item);
	}
	for (i = 1; i < 4; i++)
		jobs[i].number = 1;
	iv_main();
	check_int(completed, 4);
	check_int(stops, starts);
	iv_deinit();
}

static struct job second;

static void put_and_create(struct job *j)
{
	(void)j;
	iv_work_pool_put(&pool);
	create_pool(2);
	submit(&second, NULL, NULL);
}

static void created_again_in_completion(void)
{
	struct job j;

	begin(2);
	submit(&j, NULL, put_and_create);
	complete(2);
	check_int(second.completed, 1);
	end();
	check_int(starts, 2);
}

static void never_called(void *cookie)
{
	(void)cookie;
	check(0);
}

static void callbacks_are_copied(void)
{
	struct job j;

	begin(1);
	pool.cookie = NULL;
	pool.thread_start = never_called;
	pool.thread_stop = never_called;
	submit(&j, NULL, NULL);
	complete(1);
	end();
	check_int(starts, 1);
}

static void callbacks_may_be_missing(void)
{
	struct job j;

	owner = pthread_self();
	iv_init();
	prepare_pool(1);
	pool.thread_start = NULL;
	pool.thread_stop = NULL;
	check_int(iv_work_pool_create(&pool), 0);
	submit(&j, NULL, NULL);
	complete(1);
	end();
}

static void free_job(struct job *j)
{
	free(j);
}

static void submit_again(struct job *j)
{
	if (j->completed < 100)
		iv_work_pool_submit_work(&pool, &j->item);
}

static void completion_owns_item(void)
{
	struct job *freed = malloc(sizeof(*freed));
	struct job again;

	begin(2);
	check(freed != NULL);
	submit(freed, NULL, free_job);
	submit(&again, NULL, submit_again);
	complete(101);
	check_int(again.runs, 100);
	end();
}

static void more_threads_later(void)
{
	struct job jobs[MANY];
	struct job j;

	begin(1);
	submit(&j, NULL, NULL);
	complete(1);
	pool.max_threads = MANY;
	pthread_barrier_init(&barrier, NULL, MANY);
	submit_meeting(jobs);
	complete(MANY);
	check_int(starts, MANY);
	end();
}

static void initialisers(void)
{
	struct iv_work_item item, item_before;
	struct iv_work_pool p;

	memset(&item, 0x5a, sizeof(item));
	item_before = item;
	IV_WORK_ITEM_INIT(&item);
	check(item.cookie == item_before.cookie);
	check(item.work == item_before.work);
	check(item.completion == item_before.completion);

	p.max_threads = 17;
	p.cookie = &item;
	p.thread_start = never_called;
	p.thread_stop = never_called;
	IV_WORK_POOL_INIT(&p);
	check_int(p.max_threads, 17);
	check(p.cookie == &item);
	check(p.thread_start == NULL && p.thread_stop == NULL);
}


/*
 * The loops of the pool's threads.
 */
static struct iv_fd left_behind;
static int left_pipe[2];
static atomic_int left_behind_ran;

static void left_behind_runs(void *unused)
{
	(void)unused;
	check_int(stops, 1);
	iv_fd_unregister(&left_behind);
	left_behind_ran = 1;
}

static void leave_behind(struct job *j)
{
	(void)j;
	IV_FD_INIT(&left_behind);
	left_behind.fd = left_pipe[0];
	left_behind.handler_in = left_behind_runs;
	iv_fd_register(&left_behind);
}

static void objects_of_worker(void)
{
	struct job j;

	begin(1);
	check_int(pipe(left_pipe), 0);
	submit(&j, leave_behind, NULL);
	iv_work_pool_put(&pool);
	while (stops == 0)
		usleep(1000);
	check_int(write(left_pipe[1], "", 1), 1);
	iv_main();
	check_int(left_behind_ran, 1);
	iv_deinit();
	close(left_pipe[0]);
	close(left_pipe[1]);
}

static struct iv_task worker_task;
static atomic_int task_ran;

static void worker_task_runs(void *unused)
{
	(void)unused;
	check(!pthread_equal(pthread_self(), owner));
	task_ran = 1;
}

static void start_worker_task(struct job *j)
{
	(void)j;
	start_task(&worker_task, worker_task_runs, NULL);
}

static int is_put;

static void submit_until_task_ran(struct job *j)
{
	if (!task_ran)
		iv_work_pool_submit_work(&pool, &j->item);
	else if (!is_put++)
		iv_work_pool_put(&pool);
}

static void loop_of_busy_worker(void)
{
	struct job jobs[100];
	struct job j;
	int i;

	begin(1);
	for (i = 0; i < 100; i++)
		submit(&jobs[i], NULL, submit_until_task_ran);
	submit(&j, start_worker_task, NULL);
	iv_main();
	check(task_ran);
	check_int(stops, 1);
	iv_deinit();
}

static struct timespec seen;

static void check_time(struct job *j)
{
	struct timespec before = iv_now;

	(void)j;
	check(before.tv_sec > seen.tv_sec || (before.tv_sec == seen.tv_sec &&
					      before.tv_nsec > seen.tv_nsec));
	usleep(10000);
	seen = before;
	seen.tv_nsec += 9000000;
	if (seen.tv_nsec >= 1000000000) {
		seen.tv_nsec -= 1000000000;
		seen.tv_sec++;
	}
}

static void time_of_worker(void)
{
	struct job jobs[10];
	int i;

	begin(1);
	for (i = 0; i < 10; i++)
		submit(&jobs[i], check_time, NULL);
	complete(10);
	end();
}

static void quit_worker(struct job *j)
{
	(void)j;
	iv_quit();
}

static void exit_worker(struct job *j)
{
	j->runs++;
	pthread_exit(NULL);
}

static void worker_is_lost(void)
{
	struct job jobs[MANY];
	int i;

	begin(2);
	for (i = 0; i < MANY; i++)
		submit(&jobs[i], i % 2 ? exit_worker : quit_worker, NULL);
	complete(MANY);
	end();
}

static struct iv_timer fatal_timer;

static void exit_idle_worker(void *unused)
{
	(void)unused;
	pthread_exit(NULL);
}

static void exit_worker_later(struct job *j)
{
	(void)j;
	IV_TIMER_INIT(&fatal_timer);
	fatal_timer.expires = iv_now;
	fatal_timer.handler = exit_idle_worker;
	iv_timer_register(&fatal_timer);
}

static void idle_worker_is_lost(void)
{
	struct job j;

	begin(1);
	submit(&j, exit_worker_later, NULL);
	complete(1);
	while (stops == 0)
		usleep(1000);
	submit(&j, NULL, NULL);
	complete(1);
	check_int(starts, 2);
	end();
}

static sigset_t worker_mask;

static void record_mask(struct job *j)
{
	(void)j;
	check_int(pthread_sigmask(SIG_BLOCK, NULL, &worker_mask), 0);
}

static void signal_mask(void)
{
	struct job j;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	check_int(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	begin(1);
	submit(&j, record_mask, NULL);
	complete(1);
	check_int(sigismember(&worker_mask, SIGUSR1), 1);
	check_int(sigismember(&worker_mask, SIGUSR2), 0);
	end();
}


/*
 * Continuations.
 */
static void continue_once(struct job *j)
{
	if (j->number < 100) {
		set_job(&j[1], continue_once, NULL);
		j[1].number = j->number + 1;
		iv_work_pool_submit_continuation(&pool, &j[1].item);
	}
}

static void chain_of_continuations(void)
{
	static struct job jobs[101];

	begin(2);
	submit(&jobs[0], continue_once, NULL);
	complete(101);
	check(starts <= 2);
	end();
}

static void *continue_from_outside(void *j)
{
	iv_work_pool_submit_continuation(&pool, &((struct job *)j)->item);

	return NULL;
}

static void continuations_from_anywhere(void)
{
	struct job a, b;
	pthread_t thread;

	begin(1);
	set_job(&a, NULL, NULL);
	iv_work_pool_submit_continuation(&pool, &a.item);
	set_job(&b, NULL, NULL);
	check_int(pthread_create(&thread, NULL, continue_from_outside, &b), 0);
	complete(2);
	check_int(pthread_join(thread, NULL), 0);
	check(!ran_in_owner(&a) && !ran_in_owner(&b));
	check_int(starts, 1);
	end();
}

static void continuations_without_threads(void)
{
	struct job a;
	struct job b;
	pthread_t thread;

	begin(0);
	set_job(&b, NULL, NULL);
	check_int(pthread_create(&thread, NULL, continue_from_outside, &b), 0);
	complete(1);
	check_int(pthread_join(thread, NULL), 0);
	submit(&a, continue_once, NULL);
	a.number = 100;
	complete(1);
	check(ran_in_owner(&a) && ran_in_owner(&b));
	end();
}


/*
 * If no thread can be created, the owner runs the items.
 */
static void expect_own_work(struct job *jobs, int num)
{
	int i;

	for (i = 0; i < num; i++) {
		check_int(jobs[i].runs, 1);
		check_int(jobs[i].completed, 1);
		check(ran_in_owner(&jobs[i]));
	}
}

static void put_and_expect_own_work(void)
{
	static struct job jobs[20];
	int i;

	for (i = 0; i < 20; i++)
		submit(&jobs[i], NULL, NULL);
	end();
	expect_own_work(jobs, 20);
	check_int(starts, 0);
}

static void no_threads_wanted(void)
{
	begin(0);
	put_and_expect_own_work();
	begin(-1);
	put_and_expect_own_work();
}

static void threads_refused(void)
{
	begin(MANY);
	refuse("clone3", EAGAIN);
	refuse("clone", EAGAIN);
	put_and_expect_own_work();
}

/* Not as root, to whom the limit does not apply. */
static void at_process_limit(void)
{
	const struct rlimit lim = { 1, 1 };

	if (geteuid() == 0)
		check_int(setuid(54321), 0);
	check_int(setrlimit(RLIMIT_NPROC, &lim), 0);
	begin(MANY);
	put_and_expect_own_work();
	_exit(0);
}

static void process_limit(void)
{
	pid_t pid = fork();

	check(pid >= 0);
	if (pid == 0)
		at_process_limit();
	check_child(pid);
}

static void some_threads_refused(void)
{
	struct job jobs[20];
	struct job j;
	int i;

	begin(MANY);
	sem_init(&gates[0], 0, 0);
	submit(&j, wait_at_gate, NULL);
	refuse("clone3", EAGAIN);
	refuse("clone", EAGAIN);
	for (i = 0; i < 20; i++)
		submit(&jobs[i], NULL, NULL);
	sem_post(&gates[0]);
	complete(21);
	for (i = 0; i < 20; i++)
		check(!ran_in_owner(&jobs[i]));
	check_int(starts, 1);
	end();
}

static struct iv_fd input;
static int input_came;

static void got_input(void *unused)
{
	(void)unused;
	input_came = completed;
	iv_fd_unregister(&input);
}

static void own_work_starves_nothing(void)
{
	struct job jobs[1000];
	int fds[2];
	int i;

	begin(0);
	check_int(pipe(fds), 0);
	IV_FD_INIT(&input);
	input.fd = fds[0];
	input.handler_in = got_input;
	iv_fd_register(&input);
	check_int(write(fds[1], "", 1), 1);
	for (i = 0; i < 1000; i++)
		submit(&jobs[i], NULL, NULL);
	complete(1000);
	check(input_came < 1000);
	close(fds[0]);
	close(fds[1]);
	end();
}

static char name[THREAD_NAME_SIZE];

static void read_name(struct job *j)
{
	(void)j;
	get_thread_name(name);
}

static void thread_name(void)
{
	struct job j;

#ifndef HAVE_SETNAME_OF_THREAD
	skip("the library cannot name threads");
#endif
	begin(1);
	submit(&j, read_name, NULL);
	complete(1);
	check(!ran_in_owner(&j));
	check(!strcmp(name, "iv_work"));
	end();
}

static void no_descriptor_for_pool(void)
{
	struct job j;
	int former;
	int before;

	owner = pthread_self();
	iv_init();
	before = num_descriptors();
	prepare_pool(1);
	former = limit_descriptors(lowest_descriptor());
	check_errno(iv_work_pool_create(&pool), EMFILE);
	iv_main();
	limit_descriptors(former);
	check_int(num_descriptors(), before);

	create_pool(1);
	submit(&j, NULL, NULL);
	complete(1);
	end();
}

static void no_descriptor_for_thread(void)
{
	int former;

	begin(2);
	former = limit_descriptors(lowest_descriptor());
	put_and_expect_own_work();
	limit_descriptors(former);
}


/*
 * Without a pool, the calling thread runs the items.
 */
static struct iv_work_item items[4];
static struct iv_task between;

static void mark_upper(void *letter)
{
	char upper = *(char *)letter - 'a' + 'A';

	mark_in_owner(&upper);
}

static void set_item(int i, void (*work)(void *), void (*completion)(void *))
{
	memset(&items[i], 0xa5, sizeof(items[i]));
	IV_WORK_ITEM_INIT(&items[i]);
	items[i].cookie = (void *)&"abcd"[i];
	items[i].work = work;
	items[i].completion = completion;
}

static void submit_d_after_task(void *letter)
{
	mark_upper(letter);
	if (*(char *)letter == 'a') {
		start_task(&between, mark_in_owner, "-");
		iv_work_pool_submit_work(NULL, &items[3]);
	}
}

static void items_of_own_thread(void)
{
	owner = pthread_self();
	iv_init();
	set_item(0, mark_in_owner, mark_upper);
	set_item(1, mark_in_owner, mark_upper);
	set_item(2, mark_in_owner, mark_upper);
	iv_work_pool_submit_work(NULL, &items[0]);
	iv_work_pool_submit_continuation(NULL, &items[1]);
	iv_work_pool_submit_work(NULL, &items[2]);
	expect("");
	iv_main();
	expect("aAbBcC");

	/* An item that is submitted after a task was registered runs later. */
	set_item(0, mark_in_owner, submit_d_after_task);
	set_item(3, mark_in_owner, mark_upper);
	iv_work_pool_submit_work(NULL, &items[0]);
	iv_work_pool_submit_work(NULL, &items[1]);
	iv_main();
	expect("aAbB-dD");
	iv_deinit();
}

static int readable_at;
static int rounds;

static void count_rounds(void *_item)
{
	struct iv_work_item *item = _item;

	if (++rounds < 1000 && !readable_at)
		iv_work_pool_submit_work(NULL, item);
}

static void record_readable(void *unused)
{
	(void)unused;
	readable_at = rounds;
	iv_fd_unregister(&input);
}

static void nothing(void *unused)
{
	(void)unused;
}

static void own_items_for_ever(void)
{
	struct iv_work_item item = {
		.cookie = &item, .work = nothing, .completion = count_rounds,
	};
	int fds[2];

	iv_init();
	check_int(pipe(fds), 0);
	IV_FD_INIT(&input);
	input.fd = fds[0];
	input.handler_in = record_readable;
	iv_fd_register(&input);
	check_int(write(fds[1], "", 1), 1);
	iv_work_pool_submit_work(NULL, &item);
	iv_main();
	check(readable_at > 0 && readable_at < 1000);
	close(fds[0]);
	close(fds[1]);
	iv_deinit();
}

static pthread_t nested_work;
static pthread_t nested_completion;

static void record_nested_work(void *unused)
{
	(void)unused;
	nested_work = pthread_self();
}

static void record_nested_completion(void *unused)
{
	(void)unused;
	nested_completion = pthread_self();
}

static void submit_to_own_thread(struct job *j)
{
	(void)j;
	set_item(0, record_nested_work, record_nested_completion);
	iv_work_pool_submit_continuation(NULL, &items[0]);
}

static void items_of_worker(void)
{
	struct job j;

	begin(1);
	submit(&j, submit_to_own_thread, NULL);
	end();
	check(!ran_in_owner(&j));
	check(pthread_equal(nested_work, j.thread));
	check(pthread_equal(nested_completion, j.thread));
}


/*
 * A pool in a loop's iv_tls memory, which hooks create and put.
 */
static struct iv_tls_user tls_user;

static void create_in_hook(void *_pool)
{
	struct iv_work_pool *p = _pool;

	/* The hooks also run in the pool's threads, which have loops. */
	if (!pthread_equal(pthread_self(), owner))
		return;
	IV_WORK_POOL_INIT(p);
	p->max_threads = 100;
	check_int(iv_work_pool_create(p), 0);
}

static void put_in_hook(void *_pool)
{
	if (!pthread_equal(pthread_self(), owner))
		return;
	iv_work_pool_put(_pool);
}

static void free_and_put_pool(struct job *j)
{
	int number = j->number;

	free(j);
	if (number == 0)
		iv_work_pool_put(iv_tls_user_ptr(&tls_user));
}

static void submit_to_area(int num)
{
	while (num-- > 0) {
		struct job *j = malloc(sizeof(*j));

		check(j != NULL);
		set_job(j, NULL, free_and_put_pool);
		j->number = num;
		iv_work_pool_submit_work(iv_tls_user_ptr(&tls_user), &j->item);
	}
}

static void *use_area(void *unused)
{
	iv_init();
	submit_to_area(1);
	iv_main();
	create_in_hook(iv_tls_user_ptr(&tls_user));
	submit_to_area(1);
	iv_main();
	iv_deinit();

	return unused;
}

static void pool_in_tls(void)
{
	tls_user.sizeof_state = sizeof(struct iv_work_pool);
	tls_user.init_thread = create_in_hook;
	iv_tls_user_register(&tls_user);
	owner = pthread_self();
	use_area(NULL);
	check_int(completed, 2);
}

static void pool_put_in_tls_hook(void)
{
	struct job j;

	tls_user.sizeof_state = sizeof(struct iv_work_pool);
	tls_user.init_thread = create_in_hook;
	tls_user.deinit_thread = put_in_hook;
	iv_tls_user_register(&tls_user);
	owner = pthread_self();
	iv_init();
	set_job(&j, NULL, NULL);
	iv_work_pool_submit_work(iv_tls_user_ptr(&tls_user), &j.item);
	complete(1);
	iv_deinit();
	wait_until_gone(j.tid);
}


/*
 * The owner's loop ends before the pool is put.
 */
static sem_t worker_arrived;

static atomic_int tids[2];
static atomic_int num_tids;

static void arrive_and_wait(struct job *j)
{
	tids[num_tids++] = j->tid;
	sem_post(&worker_arrived);
	wait_at_gate(j);
}

static void wait_for_end(int num)
{
	int i;

	for (i = 0; i < num; i++)
		wait_until_gone(tids[i]);
	check_int(stops, num);
}

static void owner_deinits(void)
{
	static struct job jobs[20];
	int i;

	sem_init(&worker_arrived, 0, 0);
	sem_init(&gates[0], 0, 0);
	begin(2);
	for (i = 0; i < 20; i++)
		submit(&jobs[i], arrive_and_wait, NULL);
	sem_wait(&worker_arrived);
	sem_wait(&worker_arrived);
	iv_deinit();
	sem_post(&gates[0]);
	sem_post(&gates[0]);
	wait_for_end(2);
	check_int(completed, 0);
	iv_work_pool_put(&pool);

	/* The thread may begin another loop. */
	begin(2);
	submit(&jobs[0], NULL, NULL);
	complete(1);
	end();
}

static void owner_deinits_with_own_work(void)
{
	static struct job j;

	begin(0);
	submit(&j, NULL, NULL);
	iv_deinit();
	iv_work_pool_put(&pool);
	iv_init();
	iv_main();
	check_int(j.runs, 0);
	iv_deinit();
}

static void create_late(void *area)
{
	(void)area;
	prepare_pool(1);
	check_errno(iv_work_pool_create(&pool), ESHUTDOWN);
}

static void created_in_deinit(void)
{
	tls_user.sizeof_state = 1;
	tls_user.deinit_thread = create_late;
	iv_tls_user_register(&tls_user);
	iv_init();
	iv_deinit();
}

static struct job job_of_other;

static void *own_pool(void *unused)
{
	owner = pthread_self();
	iv_init();
	create_pool(1);
	submit(&job_of_other, arrive_and_wait, NULL);
	iv_main();

	return unused;
}

static void owner_is_cancelled(void)
{
	pthread_t thread;

	skip_under(TSAN, "loses track of a thread that is cancelled");
	sem_init(&worker_arrived, 0, 0);
	sem_init(&gates[0], 0, 0);
	iv_init();
	check_int(pthread_create(&thread, NULL, own_pool, NULL), 0);
	sem_wait(&worker_arrived);
	check_int(pthread_cancel(thread), 0);
	check_int(pthread_join(thread, NULL), 0);
	sem_post(&gates[0]);
	wait_for_end(1);
	check_int(completed, 0);
	iv_work_pool_put(&pool);
	iv_deinit();
}


/*
 * Threads end after ten idle seconds.  One of the three gets an item each
 * second, and the others are idle.
 */
static struct job late;
static struct job poked;
static struct iv_timer poke;
static long idle_since;

static void continue_late(void *cookie)
{
	check(now_ms() - idle_since >= 10000);
	count_stop(cookie);
	if (stops == 1) {
		set_job(&late, NULL, NULL);
		iv_work_pool_submit_continuation(&pool, &late.item);
	}
}

static void poke_one(void *unused)
{
	(void)unused;
	if (stops >= 2 && late.completed) {
		iv_quit();
		return;
	}
	if (poked.completed)
		submit(&poked, NULL, NULL);
	poke.expires.tv_sec++;
	iv_timer_register(&poke);
}

static void idle_threads_end(void)
{
	struct job jobs[2];

	owner = pthread_self();
	iv_init();
	prepare_pool(3);
	pool.thread_stop = continue_late;
	check_int(iv_work_pool_create(&pool), 0);

	idle_since = now_ms();
	pthread_barrier_init(&barrier, NULL, 3);
	submit(&jobs[0], meet, NULL);
	submit(&jobs[1], meet, NULL);
	submit(&poked, meet, NULL);
	complete(3);

	IV_TIMER_INIT(&poke);
	poke.expires = iv_now;
	poke.handler = poke_one;
	iv_timer_register(&poke);
	iv_main();

	check_int(late.runs, 1);
	end();
}


static void submit_to_pool(void)
{
	static struct job j;

	submit(&j, NULL, NULL);
}

static void continue_in_pool(void)
{
	static struct job j;

	set_job(&j, NULL, NULL);
	iv_work_pool_submit_continuation(&pool, &j.item);
}

static void put_again(void)
{
	iv_work_pool_put(&pool);
}

static struct iv_work_pool inherited;

static void put_inherited(void)
{
	iv_work_pool_put(&inherited);
}

static void fork_with_pool(void)
{
	struct job jobs[MANY];
	pid_t pid;

	need_threads_of_child();
	begin(2);
	submit(&jobs[0], NULL, NULL);
	complete(1);
	check_fatal(submit_to_pool, "iv_work_pool_submit_work: ");
	check_fatal(continue_in_pool, "iv_work_pool_submit_continuation: ");
	check_fatal(put_again, "iv_work_pool_put: ");

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		/* The child's own pools, in the inherited and in a new loop. */
		skip_under(TSAN, "knows no threads in a child");
		inherited = pool;
		create_pool(MANY);
		pthread_barrier_init(&barrier, NULL, MANY);
		submit_meeting(jobs);
		complete(MANY);
		iv_work_pool_put(&pool);
		iv_deinit();
		iv_init();
		create_pool(MANY);
		submit_meeting(jobs);
		iv_work_pool_put(&pool);
		iv_main();
		check_int(completed, 1 + 2 * MANY);
		iv_deinit();
		check_fatal(put_inherited, "iv_work_pool_put: ");
		_exit(0);
	}
	check_child(pid);

	submit(&jobs[0], NULL, NULL);
	complete(1);
	end();
}

static void *submit_in_thread(void *unused)
{
	iv_init();
	submit_to_pool();

	return unused;
}

static void submit_elsewhere(void)
{
	pthread_t thread;

	begin(1);
	check_int(pthread_create(&thread, NULL, submit_in_thread, NULL), 0);
	pthread_join(thread, NULL);
}

static void submit_after_put(void)
{
	begin(1);
	iv_work_pool_put(&pool);
	submit_to_pool();
}

static void continue_after_put(void)
{
	begin(1);
	iv_work_pool_put(&pool);
	continue_in_pool();
}

static void put_twice(void)
{
	begin(1);
	iv_work_pool_put(&pool);
	iv_work_pool_put(&pool);
}

static void create_twice(void)
{
	begin(1);
	(void)iv_work_pool_create(&pool);
}

static void create_without_loop(void)
{
	iv_work_pool_create(&pool);
}

static void submit_without_loop(void)
{
	iv_work_pool_submit_work(NULL, &items[0]);
}

static void continue_without_loop(void)
{
	iv_work_pool_submit_continuation(NULL, &items[0]);
}

static void no_work_function(void)
{
	begin(0);
	set_item(0, NULL, mark_in_owner);
	iv_work_pool_submit_work(&pool, &items[0]);
	iv_main();
}

static void mistakes(void)
{
	check_fatal(submit_elsewhere, "iv_work_pool_submit_work: ");
	check_fatal(submit_after_put, "iv_work_pool_submit_work: ");
	check_fatal(continue_after_put, "iv_work_pool_submit_continuation: ");
	check_fatal(put_twice, "iv_work_pool_put: ");
	check_fatal(create_twice, "iv_work_pool_create: ");
	check_fatal(create_without_loop,
		    "iv_work_pool_create: this thread has no loop");
	check_fatal(submit_without_loop,
		    "iv_work_pool_submit_work: this thread has no loop");
	check_fatal(continue_without_loop,
		    "iv_work_pool_submit_continuation: this thread has no "
		    "loop");
	check_fatal(no_work_function, "has no work function");
}

static void *use_pools(void *unused)
{
	struct iv_work_item own[4];
	int i, j;

	iv_init();
	for (i = 0; i < 50; i++) {
		struct iv_work_pool p;

		IV_WORK_POOL_INIT(&p);
		p.max_threads = i % 4;
		check_int(iv_work_pool_create(&p), 0);
		for (j = 0; j < 4; j++) {
			own[j].work = nothing;
			own[j].completion = nothing;
			iv_work_pool_submit_work(&p, &own[j]);
		}
		iv_work_pool_put(&p);
		iv_main();
	}
	iv_deinit();

	return unused;
}

static void several_owners(void)
{
	pthread_t threads[3];
	int i;

	iv_init();
	for (i = 0; i < 3; i++)
		check_int(pthread_create(&threads[i], NULL, use_pools, NULL),
			  0);
	for (i = 0; i < 3; i++)
		check_int(pthread_join(threads[i], NULL), 0);
	iv_deinit();
}

/* In the child the work function returns to a pool that is the parent's. */
static pid_t forked_in_work;

static void fork_in_work(void *cookie)
{
	(void)cookie;
	forked_in_work = fork();
	check(forked_in_work >= 0);
}

static void wait_for_forked(void *_pool)
{
	check(forked_in_work > 0);
	/* The child exits because its only thread has ended. */
	check_child(forked_in_work);
	iv_work_pool_put(_pool);
}

static pid_t owner_of_pool;

static void stop_in_owner(void *cookie)
{
	(void)cookie;
	check_int(getpid(), owner_of_pool);
}

static void work_forks(void)
{
	static struct iv_work_pool forking;
	static struct iv_work_item forker;

	skip_under(ASAN, "reports what the parent's threads own as leaks");
	iv_init();
	IV_WORK_POOL_INIT(&forking);
	owner_of_pool = getpid();
	forking.max_threads = 1;
	forking.thread_stop = stop_in_owner;
	check_int(iv_work_pool_create(&forking), 0);
	IV_WORK_ITEM_INIT(&forker);
	forker.cookie = &forking;
	forker.work = fork_in_work;
	forker.completion = wait_for_forked;
	iv_work_pool_submit_work(&forking, &forker);
	iv_main();
	iv_deinit();
}

/*
 * The owner puts the pool, registers a task and posts an event, in this order.
 * The event's handler runs after the task, whether put finds the pool's thread
 * idle (put_later) or just done with its item.
 */
static struct {
	struct iv_work_pool	pool;
	struct iv_work_item	item;
	struct iv_event		event;
	struct iv_task		task;
	struct iv_timer		timer;
	int			put_later;
	int			tasks, events;
} order;

static void order_task(void *unused)
{
	(void)unused;
	check_int(order.events, 0);
	order.tasks++;
}

static void order_event(void *unused)
{
	(void)unused;
	check_int(order.tasks, 1);
	order.events++;
	iv_event_unregister(&order.event);
}

static void put_and_post(void *unused)
{
	(void)unused;
	iv_work_pool_put(&order.pool);
	iv_task_register(&order.task);
	iv_event_post(&order.event);
}

static void order_completed(void *unused)
{
	if (!order.put_later) {
		put_and_post(unused);
		return;
	}
	iv_validate_now();
	order.timer.expires = iv_now;
	order.timer.expires.tv_sec++;
	iv_timer_register(&order.timer);
}

static void put_keeps_order(void)
{
	int put_later;

	for (put_later = 0; put_later < 2; put_later++) {
		memset(&order, 0, sizeof(order));
		order.put_later = put_later;
		iv_init();
		IV_EVENT_INIT(&order.event);
		order.event.handler = order_event;
		check_int(iv_event_register(&order.event), 0);
		IV_TASK_INIT(&order.task);
		order.task.handler = order_task;
		IV_TIMER_INIT(&order.timer);
		order.timer.handler = put_and_post;
		IV_WORK_POOL_INIT(&order.pool);
		order.pool.max_threads = 1;
		check_int(iv_work_pool_create(&order.pool), 0);
		IV_WORK_ITEM_INIT(&order.item);
		order.item.work = nothing;
		order.item.completion = order_completed;
		iv_work_pool_submit_work(&order.pool, &order.item);
		iv_main();
		check_int(order.events, 1);
		iv_deinit();
	}
}

static const struct check_case cases[] = {
	{ "put keeps the order of the owner's tasks and posts",
	  put_keeps_order, EACH_METHOD, 0 },
	{ "work runs in a pool's thread, its completion in the owner's",
	  work_and_completion, EACH_METHOD, 0 },
	{ "as many items run at once as threads are allowed",
	  parallel, EACH_METHOD, 0 },
	{ "as many run at once in threads that have been idle",
	  parallel_when_idle, EACH_METHOD, 0 },
	{ "as many run at once if one item submits continuations",
	  parallel_continuations, EACH_METHOD, 0 },
	{ "continuations run at once with the item that submits them",
	  continuations_with_their_parent, EACH_METHOD, 0 },
	{ "the kernel shows the name iv_work for a pool's threads",
	  thread_name, ONCE, 0 },
	{ "no more threads are created than allowed", one_at_a_time, ONCE, 0 },
	{ "items begin in the order of submission", first_in_first_out,
	  EACH_METHOD, 0 },
	{ "completions run in the order in which work ends",
	  order_of_finishing, ONCE, 0 },
	{ "the thread that was busy last gets the next item",
	  latest_idle_first, EACH_METHOD, 0 },
	{ "a pool that was put still runs and completes its items",
	  put_at_once, EACH_METHOD, 0 },
	{ "a pool may be put unused", put_unused, EACH_METHOD, 0 },
	{ "a pool may be put in a completion, and the others still run",
	  put_in_completion, EACH_METHOD, 0 },
	{ "a pool may be put and created anew in a completion",
	  created_again_in_completion, EACH_METHOD, 0 },
	{ "cookie, thread_start and thread_stop are copied at creation",
	  callbacks_are_copied, ONCE, 0 },
	{ "thread_start and thread_stop may be NULL",
	  callbacks_may_be_missing, ONCE, 0 },
	{ "a child forked by a work function exits when that returns",
	  work_forks, EACH_METHOD, 0 },
	{ "a completion may free its item or submit it again",
	  completion_owns_item, EACH_METHOD, 0 },
	{ "max_threads may be raised later", more_threads_later, ONCE, 0 },
	{ "the initialisers leave other members alone",
	  initialisers, ONCE, 0 },
	{ "objects in a worker's loop keep it running after thread_stop",
	  objects_of_worker, EACH_METHOD, 0 },
	{ "a busy worker runs its loop between items", loop_of_busy_worker,
	  EACH_METHOD, 0 },
	{ "iv_now is up to date in each item", time_of_worker, ONCE, 0 },
	{ "no item is lost if work quits the loop or exits the thread",
	  worker_is_lost, EACH_METHOD, 0 },
	{ "an idle thread that exits makes room for another",
	  idle_worker_is_lost, EACH_METHOD, 0 },
	{ "threads inherit the owner's signal mask", signal_mask, ONCE, 0 },
	{ "continuations may submit continuations", chain_of_continuations,
	  EACH_METHOD, 0 },
	{ "any thread may submit a continuation",
	  continuations_from_anywhere, EACH_METHOD, 0 },
	{ "a continuation wakes an owner that has to run it",
	  continuations_without_threads, EACH_METHOD, 0 },
	{ "the owner runs the items if no threads are allowed",
	  no_threads_wanted, EACH_METHOD, 0 },
	{ "the owner runs the items if the kernel refuses threads",
	  threads_refused, EACH_METHOD, 0 },
	{ "the owner runs the items at the user's limit of processes",
	  process_limit, ONCE, 0 },
	{ "the owner runs the items if no thread gets a descriptor",
	  no_descriptor_for_thread, EACH_METHOD, 0 },
	{ "if some threads are refused, the others run the items",
	  some_threads_refused, ONCE, 0 },
	{ "items that the owner runs do not starve descriptors",
	  own_work_starves_nothing, EACH_METHOD, 0 },
	{ "at the descriptor limit creating a pool fails with EMFILE",
	  no_descriptor_for_pool, EACH_METHOD, 0 },
	{ "without a pool the items run one by one",
	  items_of_own_thread, ONCE, 0 },
	{ "items without a pool do not starve descriptors",
	  own_items_for_ever, EACH_METHOD, 0 },
	{ "items without a pool run in the worker that submits them",
	  items_of_worker, ONCE, 0 },
	{ "a pool may be in iv_tls memory", pool_in_tls, ONCE, 0 },
	{ "a pool in iv_tls memory may be put when the loop ends",
	  pool_put_in_tls_hook, ONCE, 0 },
	{ "iv_deinit in the owner discards items not yet begun",
	  owner_deinits, EACH_METHOD, 0 },
	{ "iv_deinit discards items that the owner was to run",
	  owner_deinits_with_own_work, ONCE, 0 },
	{ "during iv_deinit no pool can be created",
	  created_in_deinit, ONCE, 0 },
	{ "cancelling the owner discards items not yet begun",
	  owner_is_cancelled, EACH_METHOD, 0 },
	{ "threads idle for ten seconds end; thread_stop may submit",
	  idle_threads_end, ONCE, 0 },
	{ "a forked child may create pools, but not use inherited ones",
	  fork_with_pool, EACH_METHOD, 0 },
	{ "several owners create and put pools at the same time",
	  several_owners, EACH_METHOD, 0 },
	{ "mistakes are fatal", mistakes, ONCE, 0 },
};

int main(int argc, char **argv)
{
	return check_main(cases, argc, argv);
}
