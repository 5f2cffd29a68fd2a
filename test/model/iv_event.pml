/*
 * libivykis: a model of how iv_event wakes a loop, for spin.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is described at the top of src/iv_event.c; comments here name
 * functions there and in src/iv_event_raw.c.  The processes:
 *
 *	ONE, TWO	threads that post the same event
 *	SIGNAL		a signal handler that interrupts the loop's own thread
 *			anywhere, including between its last check for work and
 *			its sleep, and posts another event
 *	LOOP		their loop
 *	RAW		another process, which posts to a raw object of the same
 *			loop, on the same board
 *	the copy	a forked copy of the loop, with a copy of that object,
 *			which may start to run at any time, and has closed its
 *			copy of the wakeup by then
 *
 * Each of the first three posts POSTS times.  NO_TWO leaves out TWO, NO_SIGNAL
 * leaves out SIGNAL, NO_FORK leaves out RAW and the copy.  These properties are
 * checked:
 *
 *	lost	When all posts have returned and the loop waits with nothing to
 *		read, a handler has seen what was stored before each of them.
 *	ends	Every execution ends with the loops waiting, and nowhere else.
 *
 * RAW and the copy may be killed between any two of their steps: `lost' does
 * not depend on another step of theirs.  ONE, TWO and SIGNAL are threads of the
 * loop's own process and are not cancelled in mid-post, so a post may rely on
 * another one that has begun to push the event and to wake the loop.
 *
 * That a post to the wakeup is served is the subject of iv_event_raw.pml.  This
 * model shows that the two protocols work together: a loop that sets ASLEEP
 * once, has one fence, and checks both its board and the stack misses neither;
 * and a post may rely on the state of the board although others set it to RUNG.
 *
 * The machine has store buffers, as in iv_event_raw.pml.
 *
 * Seeded bugs, each of which has to be caught:
 *
 *	NO_ORDER_AFTER_PUSH	the state is read before the push is visible
 *	NO_FENCE_B		the loop has no fence B
 *	CHECK_BEFORE_ASLEEP	the loop checks for work, then sets ASLEEP
 *	CHECK_BOARD_ONLY	the loop does not check the stack
 *	MARK_AFTER_HANDLER	the handler runs, then the mark is cleared
 *	RELIES_ON_RUNG		a post returns if the state is RUNG, and sets no
 *				bit for the loop that drains
 *	RUNG_THOUGH_FOREIGN	a post returns if the state is RUNG, although
 *				the board is foreign
 *	NO_TAKE_OVER		the copy does not ring for the wakeup's bit
 */

#ifndef POSTS
#define POSTS	1
#endif

/* Posters.  The loop runs on the same processor as its signal handler. */
#define ONE	0
#define TWO	1
#define SIGNAL	2
#define LOOP	SIGNAL

#define event(poster)	((poster) == SIGNAL)


/*
 * Memory: the state, and the loop's stores to it that others do not see yet.
 * The data of a poster is visible once it has set the mark, by an exchange with
 * release.  The rest are exchanges, too, and followed by loads that are
 * sequentially consistent.
 */
#define AWAKE	0
#define ASLEEP	1
#define RUNG	2

byte mode = AWAKE;
chan modes = [2] of { byte };
#define buffer_is_empty	empty(modes)

/*
 * This stands for the epoch.  Per poster: the loop has not changed the state
 * since this poster read it.
 */
bool same_sleep[4];
#define RAW	3

bool pushed[2];			/* per event: it is on the stack */
bool pushing[2];		/* per event: others do not see that yet */

active proctype store_buffers()
{
end:	do
	:: d_step {
		modes ? mode;
		same_sleep[ONE] = false; same_sleep[TWO] = false;
		same_sleep[SIGNAL] = false; same_sleep[RAW] = false
	   }
#ifdef NO_ORDER_AFTER_PUSH
	:: d_step { pushing[0] -> pushing[0] = false; pushed[0] = true }
	:: d_step { pushing[1] -> pushing[1] = false; pushed[1] = true }
#endif
	od
}


/* The board, and whether a doorbell has written. */
bool foreign;
bool wakeup_bit, raw_bit;
bool wakeup_readable, raw_readable;

bool marked[2];			/* per event */
bool interrupted;		/* the loop's thread is in the signal handler */

/* State for the checks. */
byte posts[3];			/* per poster: so far */
bool is_unseen[3];		/* per poster: no handler has seen its data */
bool done[3];			/* per poster: it posts no more */
bool sleeps;

/* A name for the verifier's message. */
hidden byte post_is_lost;

#define all_is_quiet \
	(done[ONE] && done[TWO] && done[SIGNAL] && sleeps && \
	 !wakeup_readable && !raw_readable)

active proctype checks()
{
end:	d_step {
		all_is_quiet &&
		(is_unseen[ONE] || is_unseen[TWO] || is_unseen[SIGNAL]) ->
		post_is_lost = true;
		assert(!post_is_lost)
	}
}


/* Posters. */

#ifdef RUNG_THOUGH_FOREIGN
#define may_return	(!asleep)
#else
#define may_return	(!asleep && !is_foreign)
#endif

#define read_state() \
	d_step { asleep = mode == ASLEEP; same_sleep[me] = asleep }
#define read_foreign()	is_foreign = foreign

/* Sets RUNG after a write, in the same sleep. */
inline set_rung()
{
	d_step {
		if
		:: !is_foreign && mode == ASLEEP && same_sleep[me] ->
			mode = RUNG
		:: else
		fi;
		asleep = false; is_foreign = false; same_sleep[me] = false
	}
}

#define forget	asleep = false; is_foreign = false; same_sleep[me] = false

/* iv_event_raw_wake(); the state is read, and not AWAKE */
inline wake()
{
	atomic { !pushing[event(me)]; wakeup_bit = true };
	read_foreign();
	read_state();
	atomic {
		if
		:: may_return -> forget; goto returns
		:: else
		fi
	};
	wakeup_readable = true;
	set_rung()
}

/*
 * push() sets a flag of the event instead of linking it; only the poster that
 * has marked the event pushes it.  SIGNAL, in the loop's own thread, may call
 * append() instead: that is the same here, because LOOP checks the queue
 * whenever it checks the stack, and one thread needs no fence between its own
 * stores and loads.
 */
inline iv_event_post(e)
{
	atomic {
		is_unseen[me] = true;
		if
		:: marked[e] -> goto returns
		:: else -> marked[e] = true
		fi
	};
#ifdef NO_ORDER_AFTER_PUSH
	pushing[e] = true;
#else
	pushed[e] = true;
#endif
	atomic {
		if
		:: mode == AWAKE -> goto returns
#ifdef RELIES_ON_RUNG
		:: mode == RUNG -> goto returns
#endif
		:: else
		fi
	};
	wake()
}

proctype thread(byte me)
{
	bool asleep, is_foreign;

	do
	:: atomic { posts[me] < POSTS -> posts[me]++ };
		iv_event_post(event(me));
returns:	skip
	:: break
	od;
	done[me] = true
}

/*
 * The loop's thread is stopped meanwhile.  Entering a signal handler and
 * returning from it empties the store buffer.
 */
proctype signal_handler(byte me)
{
	bool asleep, is_foreign;

	do
	:: atomic {
		posts[me] < POSTS && buffer_is_empty ->
		interrupted = true; posts[me]++
	   };
		iv_event_post(event(me));
returns:	atomic { !pushing[event(me)]; interrupted = false }
	:: break
	od;
	done[me] = true
}

/* iv_event_raw_post(), once */
proctype raw_poster(byte me)
{
	bool asleep, is_foreign;

	raw_bit = true;
	read_state();
	read_foreign();
	if
	:: asleep || is_foreign ->
		raw_readable = true;
		set_rung()
	:: else
	fi
}


/* The forked loop: iv_board_make_foreign(), iv_board_abandon(), got_event() */
proctype copy()
{
	foreign = true;			/* and fence */
	if
	:: raw_bit -> raw_readable = true
	:: !raw_bit
	fi;
#ifndef NO_TAKE_OVER
	if
	:: wakeup_bit -> wakeup_readable = true
	:: !wakeup_bit
	fi;
#endif
end:	do
	:: atomic { raw_readable -> raw_readable = false };
	   raw_bit = false
	od
}


/* The loop. */

/* Loading all data at once is the worst case, as later loads see more. */
inline handler(e)
{
	d_step {
		taken[e] = false;
		if
		:: e == event(ONE) ->
			is_unseen[ONE] = false;
			is_unseen[TWO] = false
		:: else ->
			is_unseen[SIGNAL] = false
		fi
	}
}

inline clear_mark(e)
{
	marked[e] = false
}

inline deliver(e)
{
	if
#ifdef MARK_AFTER_HANDLER
	:: taken[e] -> handler(e); clear_mark(e)
#else
	:: taken[e] -> clear_mark(e); handler(e)
#endif
	:: else
	fi
}

#define stack_is_empty	(!pushed[0] && !pushed[1])
#define board_is_empty	(!wakeup_bit && !raw_bit)

/* iv_event_run(); take_stack() takes the whole stack by one exchange */
inline iv_event_run()
{
	if
	:: stack_is_empty
	:: atomic {
		!stack_is_empty ->
		taken[0] = pushed[0];
		taken[1] = pushed[1];
		pushed[0] = false;
		pushed[1] = false
	   };
	   deliver(0);
	   deliver(1)
	fi
}

/* iv_fd_run(), got_event() of the wakeup or of the raw object */
inline iv_fd_run()
{
	if
	:: atomic {
		buffer_is_empty && wakeup_readable ->
		wakeup_readable = false
	   };
	   wakeup_bit = false
	:: atomic {
		buffer_is_empty && raw_readable ->
		raw_readable = false
	   };
	   raw_bit = false
	:: atomic { buffer_is_empty && !wakeup_readable && !raw_readable }
	fi
}

/* iv_event_raw_run() */
inline iv_event_raw_run()
{
	d_step { wakeup_bit = false; raw_bit = false }
}

#ifdef CHECK_BOARD_ONLY
#define has_work	(!board_is_empty)
#else
#define has_work	(!board_is_empty || !stack_is_empty)
#endif

inline fall_asleep()
{
#ifdef CHECK_BEFORE_ASLEEP
	may_wait = !has_work;
	modes ! ASLEEP;
	buffer_is_empty
#else
	modes ! ASLEEP;
#ifndef NO_FENCE_B
	buffer_is_empty;			/* fence B */
#endif
	may_wait = !has_work
#endif
}

/*
 * A system call empties the store buffer.  The model does not rely on a signal
 * ending the wait.
 */
inline iv_fd_wait()
{
	if
	:: may_wait ->
		atomic { buffer_is_empty; sleeps = true };
endsleep:	atomic { wakeup_readable || raw_readable -> sleeps = false }
	:: else -> buffer_is_empty
	fi;
	may_wait = false
}

/* iv_main() */
proctype loop(byte me) provided (!interrupted)
{
	bool taken[2];
	bool may_wait;

	do
	:: fall_asleep();
	   iv_fd_wait();
	   modes ! AWAKE;
	   iv_event_run();
	   iv_fd_run();
	   iv_event_raw_run()
	od
}

init {
	atomic {
		run thread(ONE);
#ifdef NO_TWO
		done[TWO] = true;
#else
		run thread(TWO);
#endif
#ifdef NO_SIGNAL
		done[SIGNAL] = true;
#else
		run signal_handler(SIGNAL);
#endif
#ifndef NO_FORK
		run raw_poster(RAW);
		run copy();
#endif
		run loop(LOOP)
	}
}
