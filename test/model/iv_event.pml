/*
 * libivykis: a model of how iv_event wakes a loop, for spin.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is described at the top of src/iv_event.c; names in comments here
 * are functions there and in src/iv_event_raw.c.  The processes:
 *
 *	ONE, TWO	threads that post the same event
 *	SIGNAL		a signal handler that interrupts the loop's own thread
 *			anywhere, including between its last look and its sleep,
 *			and posts another event
 *	LOOP		their loop
 *	RAW		another process, which posts to a raw object of the same
 *			loop, on the same board
 *	the copy	a forked copy of the loop, with a copy of that object,
 *			which may start to run at any time; by then it has
 *			closed its copy of the wakeup
 *
 * Each of the first three posts POSTS times.  NO_TWO, NO_SIGNAL and NO_FORK (RAW
 * and the copy) leave processes out.  These properties are checked:
 *
 *	lost	When all posts have returned and the loop waits with nothing to
 *		read, a handler has seen what was stored before each of them.
 *	ends	Everything ends with the loops waiting, and nowhere else.
 *
 * RAW and the copy may be killed between any two of their steps: `lost' does not
 * depend on another step of theirs.  ONE, TWO and SIGNAL are threads of the
 * loop's own process and are not cancelled half way, so a post may rely on
 * another one that is under way to push the event and to wake the loop.
 *
 * That a post to the wakeup is served is the subject of iv_event_raw.pml.  This
 * model shows that both go together: a loop that sets ASLEEP once, has one fence,
 * and checks both its board and the stack misses neither; and a post may rely on
 * the state of the board although others set it to RUNG.
 *
 * The machine has store buffers, as in iv_event_raw.pml.
 *
 * Seeded bugs, each of which has to be caught:
 *
 *	NO_ORDER_AFTER_PUSH	the state is read before the push is visible
 *	NO_FENCE_B		the loop has no fence B
 *	LOOK_BEFORE_ASLEEP	the loop checks for work, then sets ASLEEP
 *	LOOK_AT_BOARD_ALONE	the loop does not check the stack
 *	PENDING_AFTER_HANDLER	the handler runs, then the mark is cleared
 *	RELIES_ON_RUNG		a post returns if the state is RUNG, and leaves
 *				no bit for the loop that drains to see
 *	RUNG_THOUGH_FOREIGN	... or if it is foreign, too
 *	NO_TAKE_OVER		the copy does not ring for the wakeup's bit
 */

#ifndef POSTS
#define POSTS	1
#endif

/* Posters.  The loop has the processor that its signal handler runs on. */
#define ONE	0
#define TWO	1
#define SIGNAL	2
#define LOOP	SIGNAL

#define event(poster)	((poster) == SIGNAL)


/*
 * Memory: the state, and what others do not see yet of the loop's stores to it.
 * What a poster stores is visible once it has set the mark, by an exchange that
 * releases it; the rest are exchanges, too, and followed by loads that are
 * sequentially consistent.
 */
#define AWAKE	0
#define ASLEEP	1
#define RUNG	2

byte mode = AWAKE;
chan modes = [2] of { byte };
#define drained	empty(modes)

/* Instead of an epoch: the state that a poster read is that of this sleep. */
bool fresh[4];
#define RAW	3

bool pushed[2];			/* event: it is on the stack */
bool pushing[2];		/* event: others do not see that yet */

active proctype store_buffers()
{
end:	do
	:: d_step {
		modes ? mode;
		fresh[ONE] = false; fresh[TWO] = false;
		fresh[SIGNAL] = false; fresh[RAW] = false
	   }
#ifdef NO_ORDER_AFTER_PUSH
	:: d_step { pushing[0] -> pushing[0] = false; pushed[0] = true }
	:: d_step { pushing[1] -> pushing[1] = false; pushed[1] = true }
#endif
	od
}


/* The board, and what a doorbell has written. */
bool foreign;
bool wakeup_bit, raw_bit;
bool wakeup_readable, raw_readable;

bool pending[2];		/* event: it is marked */
bool interrupted;		/* the loop's thread is in the signal handler */

/* What the checks look at. */
byte posts[3];			/* poster: by now */
bool unheard[3];		/* poster: no handler has seen what it stored */
bool done[3];			/* poster: posts no more */
bool sleeps;

/* Name for the message of the verifier. */
hidden byte post_is_lost;

#define nothing_moves \
	(done[ONE] && done[TWO] && done[SIGNAL] && sleeps && \
	 !wakeup_readable && !raw_readable)

active proctype checks()
{
end:	d_step {
		nothing_moves &&
		(unheard[ONE] || unheard[TWO] || unheard[SIGNAL]) ->
		post_is_lost = true;
		assert(!post_is_lost)
	}
}


/* Posters. */

#ifdef RUNG_THOUGH_FOREIGN
#define is_heard	(!asleep)
#else
#define is_heard	(!asleep && !is_foreign)
#endif

#define look_at_state() \
	d_step { asleep = mode == ASLEEP; fresh[me] = asleep }
#define look_at_foreign()	is_foreign = foreign

/* Says RUNG after a write, in the same sleep. */
inline say_rung()
{
	d_step {
		if
		:: !is_foreign && mode == ASLEEP && fresh[me] ->
			mode = RUNG
		:: else
		fi;
		asleep = false; is_foreign = false; fresh[me] = false
	}
}

#define forget	asleep = false; is_foreign = false; fresh[me] = false

/* iv_event_raw_wake(); the state is read, and not AWAKE */
inline wake()
{
	atomic { !pushing[event(me)]; wakeup_bit = true };
	look_at_foreign();
	look_at_state();
	atomic {
		if
		:: is_heard -> forget; goto returns
		:: else
		fi
	};
	wakeup_readable = true;
	say_rung()
}

/*
 * push() sets a flag of the event instead of linking it; only the poster that
 * marked it pushes it.  SIGNAL, in the loop's own thread, may append() instead:
 * that is the same here, because LOOP checks the queue whenever it checks the
 * stack, and stores and loads of one thread need no fence between them.
 */
inline iv_event_post(e)
{
	atomic {
		unheard[me] = true;
		if
		:: pending[e] -> goto returns
		:: else -> pending[e] = true
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
 * The loop's thread stands still meanwhile.  The kernel's way into a handler
 * and back drains the store buffer.
 */
proctype signal_handler(byte me)
{
	bool asleep, is_foreign;

	do
	:: atomic {
		posts[me] < POSTS && drained ->
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
	look_at_state();
	look_at_foreign();
	if
	:: asleep || is_foreign ->
		raw_readable = true;
		say_rung()
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

/* All loads at once is the worst case: later ones see more. */
inline handler(e)
{
	d_step {
		taken[e] = false;
		if
		:: e == event(ONE) ->
			unheard[ONE] = false;
			unheard[TWO] = false
		:: else ->
			unheard[SIGNAL] = false
		fi
	}
}

inline clear_pending(e)
{
	pending[e] = false
}

inline deliver(e)
{
	if
#ifdef PENDING_AFTER_HANDLER
	:: taken[e] -> handler(e); clear_pending(e)
#else
	:: taken[e] -> clear_pending(e); handler(e)
#endif
	:: else
	fi
}

#define stack_is_empty	(!pushed[0] && !pushed[1])
#define board_is_empty	(!wakeup_bit && !raw_bit)

/* iv_event_run(): take_stack() is an exchange, it takes all of it. */
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
	:: atomic { drained && wakeup_readable -> wakeup_readable = false };
	   wakeup_bit = false
	:: atomic { drained && raw_readable -> raw_readable = false };
	   raw_bit = false
	:: atomic { drained && !wakeup_readable && !raw_readable }
	fi
}

/* iv_event_raw_run() */
inline iv_event_raw_run()
{
	d_step { wakeup_bit = false; raw_bit = false }
}

#ifdef LOOK_AT_BOARD_ALONE
#define has_work	(!board_is_empty)
#else
#define has_work	(!board_is_empty || !stack_is_empty)
#endif

inline fall_asleep()
{
#ifdef LOOK_BEFORE_ASLEEP
	may_wait = !has_work;
	modes ! ASLEEP;
	drained
#else
	modes ! ASLEEP;
#ifndef NO_FENCE_B
	drained;			/* fence B */
#endif
	may_wait = !has_work
#endif
}

/*
 * A system call: once in the kernel, the store buffer is empty.  That a signal
 * would end the wait is not relied upon.
 */
inline iv_fd_wait()
{
	if
	:: may_wait ->
		atomic { drained; sleeps = true };
endsleep:	atomic { wakeup_readable || raw_readable -> sleeps = false }
	:: else -> drained
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
