/*
 * libivykis: a model of how iv_event wakes a loop, for spin.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is told at the top of src/iv_event.c; names in comments here
 * are functions there.  These take part:
 *
 *	ONE, TWO	threads that post the same event
 *	SIGNAL		a signal handler that interrupts the loop's own thread
 *			anywhere, also between its last look and its sleep, and
 *			posts another event
 *	the loop
 *
 * Each poster posts up to POSTS times.  It is checked that
 *
 *	lost	once all posts have returned and the loop sleeps, a handler has
 *		seen what was stored before each of them
 *	ends	everything ends with the loop asleep, nowhere else
 *
 * Unlike in iv_event_raw a post may rely on another one that is under way, to
 * push the event: all are threads of one process, and none of them is
 * cancelled half way.  So nobody is killed here.
 *
 * Memory is that of a machine with store buffers, as in iv_event_raw.pml.
 *
 * Seeded bugs, each of which has to be caught:
 *
 *	NO_FENCE_A		a post has no fence A
 *	NO_FENCE_B		the loop has no fence B
 *	ASLEEP_AFTER_LOOK	the loop looks, then says that it sleeps
 *	PENDING_AFTER_HANDLER	the handler runs, then the mark is cleared
 */

#ifndef POSTS
#define POSTS	2
#endif

/* Posters.  The loop has the processor that its signal handler runs on. */
#define ONE	0
#define TWO	1
#define SIGNAL	2
#define LOOP	SIGNAL

#define event(poster)	((poster) == SIGNAL)


/* The machine: see iv_event_raw.pml. */
#define DATA(poster)	(poster)
#define PUSHED(event)	(3 + (event))
#define ASLEEP		5

byte memory[6];
chan buffer[3] = [2 * POSTS] of { byte, byte };

#define store(address, value)	buffer[me] ! address, value
#define drained			empty(buffer[me])

active proctype store_buffers()
{
	byte a, v;

end:	do
	:: d_step { buffer[ONE] ? a, v; memory[a] = v; a = 0; v = 0 }
	:: d_step { buffer[TWO] ? a, v; memory[a] = v; a = 0; v = 0 }
	:: d_step { buffer[LOOP] ? a, v; memory[a] = v; a = 0; v = 0 }
	od
}


bool pending[2];		/* event: it is marked */
/* The loop's iv_event_raw, proved in iv_event_raw.pml: a post is one step. */
bool readable, posted;
bool interrupted;		/* the loop's thread is in the signal handler */

/* What the checks look at. */
byte stored[3];			/* poster: its data at its last post */
byte seen[3];			/* poster: its data in the last handler run */
bool done[3];			/* poster: posts no more */
bool sleeps;

/* Name for the message of the verifier. */
hidden byte post_is_lost;

#define nothing_moves \
	(done[ONE] && done[TWO] && done[SIGNAL] && sleeps && !readable)

active proctype checks()
{
end:	d_step {
		nothing_moves && (seen[ONE] != stored[ONE] ||
				  seen[TWO] != stored[TWO] ||
				  seen[SIGNAL] != stored[SIGNAL]) ->
		post_is_lost = true;
		assert(!post_is_lost)
	}
}


/* Posters. */

/*
 * push() sets a flag of the event instead of linking it; who marked it is
 * the only one to push.  On some machines the compare-exchange would drain the
 * store buffer.  C promises nothing of that, so here it is a plain store.
 */
inline iv_event_post(e)
{
	atomic {
		drained;
		if
		:: pending[e] -> goto returns
		:: else -> pending[e] = true
		fi
	};
	store(PUSHED(e), true);
	atomic {
#ifndef NO_FENCE_A
		if
		:: me == SIGNAL		/* post_from_own() */
		:: else -> drained	/* post_from_other(): fence A */
		fi;
#endif
		if
		:: !memory[ASLEEP] -> goto returns
		:: else
		fi
	};
	/* iv_event_raw_post() */
	atomic {
		drained;
		if
		:: !posted -> readable = true; posted = true
		:: else
		fi
	}
}

proctype thread(byte me)
{
	do
	:: stored[me] < POSTS ->
		d_step { stored[me]++; store(DATA(me), stored[me]) };
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
	do
	:: stored[me] < POSTS ->
		atomic {
			drained;
			interrupted = true;
			stored[me]++;
			store(DATA(me), stored[me])
		};
		iv_event_post(event(me));
returns:	atomic { drained; interrupted = false }
	:: break
	od;
	done[me] = true
}


/* The loop. */

/* All loads at once is the worst case: later ones see more. */
inline handler(e)
{
	d_step {
		taken[e] = false;
		if
		:: e == event(ONE) ->
			seen[ONE] = memory[DATA(ONE)];
			seen[TWO] = memory[DATA(TWO)]
		:: else ->
			seen[SIGNAL] = memory[DATA(SIGNAL)]
		fi
	}
}

inline clear_pending(e)
{
	atomic { drained; pending[e] = false }
}

inline deliver(e)
{
	if
#ifdef PENDING_AFTER_HANDLER
	:: taken[e] -> handler(e); clear_pending(e)
#else
	:: taken[e] -> clear_pending(e); handler(e)
#endif
	:: !taken[e]
	fi
}

/* iv_event_run(): take_stack() is an exchange, it takes all of it. */
inline iv_event_run()
{
	atomic {
		drained;
		taken[0] = memory[PUSHED(0)];
		taken[1] = memory[PUSHED(1)];
		memory[PUSHED(0)] = false;
		memory[PUSHED(1)] = false
	};
	deliver(0);
	deliver(1)
}

/* iv_fd_run(), when got_event() is called: drain, then clear the word. */
inline iv_fd_run()
{
	if
	:: atomic { drained && readable -> readable = false };
	   atomic { drained; posted = false }
	:: drained && !readable
	fi
}

#define stack_is_empty	(!memory[PUSHED(0)] && !memory[PUSHED(1)])

inline iv_event_fall_asleep()
{
#ifdef ASLEEP_AFTER_LOOK
	may_wait = stack_is_empty;
	store(ASLEEP, true);
	drained
#else
	store(ASLEEP, true);
#ifndef NO_FENCE_B
	drained;			/* fence B */
#endif
	may_wait = stack_is_empty
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
endsleep:	atomic { readable -> sleeps = false }
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
	:: iv_event_fall_asleep();
	   iv_fd_wait();
	   store(ASLEEP, false);	/* iv_event_wake_up() */
	   iv_event_run();
	   iv_fd_run()
	od
}

init {
	atomic {
		run thread(ONE);
		run thread(TWO);
		run signal_handler(SIGNAL);
		run loop(LOOP)
	}
}
