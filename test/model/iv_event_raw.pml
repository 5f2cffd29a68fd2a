/*
 * libivykis: a model of the posting protocol of iv_event_raw, for spin.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is told at the top of src/iv_event_raw.c; names in comments
 * here are functions there.  Four processes of the model take part:
 *
 *	THREAD	posts from another thread of the parent
 *	STALE	posts from a forked process, to the object that it inherited,
 *		whatever the parent does with the original
 *	PARENT	runs the loop that registered the object
 *	CHILD	runs a forked copy of that loop, and drains the same descriptor
 *
 * Each poster posts POSTS times.  Each loop may unregister its copy of the
 * object and register another one.  Posters and CHILD may be killed between
 * any two steps.  All of that in every order; and it is checked that
 *
 *	lost	a post that returned is followed by a handler run that sees
 *		what was stored before the post; unless a loop is killed that
 *		had drained the descriptor: what it took is gone, with any
 *		protocol, but posts that begin later are not
 *	wedged	there is never a word that says `posted' while nothing is
 *		readable and no loop is on its way to clear it: all further
 *		posts would be skipped
 *	owner	nobody touches the word of another object
 *
 * `lost' and `wedged' are looked for in every state, and rely on no poster to
 * go on: this is what makes them hold for those that are killed.  Posts are
 * finitely many and each handler run takes something from a descriptor, so
 * every execution ends.  That is checked too (with -DNP), and that it ends with
 * the loops waiting and nowhere else (the labels that begin with `end').
 *
 * Memory is that of a machine with store buffers: a store goes to the buffer
 * of the processor and later, whenever the hardware likes, to the memory that
 * others see; loads may overtake it.  This one freedom is what fences A and B
 * are about.  A process keeps its processor: the kernel drains the buffer of a
 * thread that it moves.
 *
 * Seeded bugs, each of which has to be caught:
 *
 *	NO_FENCE		a post has no fence A
 *	NO_FENCE_B		the clear is a plain store, without fence B
 *	POSTED_BEFORE_WRITE	`posted' is set, then the descriptor written:
 *				wedged if the poster is killed in between
 *	CLEAR_BEFORE_DRAIN	the word is cleared, then the descriptor drained
 *	HANDLER_BEFORE_CLEAR	the handler runs, then the word is cleared
 *	TWO_STEP_CLEAR		the clear is an or and an addition
 *	WORD_REUSED		a word that was returned is handed out again
 *	PAGE_INHERITED		a child hands out words of the parent's page
 *	NOT_GIVEN_UP		a child's copy of the loop drains as the
 *				original does
 *	GIVEN_UP_LATE		it gives the word up after it has drained
 *	GIVEN_UP_POSTED		a post sets `posted' in a word given up
 */

#ifndef POSTS
#define POSTS	2
#endif

/* Processes, and the store buffers of their processors. */
#define THREAD	0
#define STALE	1
#define PARENT	2
#define CHILD	3

/* Objects: the first one, what PARENT and CHILD register later, none. */
#define FIRST	0
#define NONE	3


/*
 * The machine.  A poster stores its own data, which it never loads; so a load
 * need not look into the own buffer.
 */
#define DATA(poster)	(poster)
#define WORD(object)	(2 + word_of[object])

byte memory[6];
chan buffer[4] = [POSTS] of { byte, byte };

#define store(address, value)	buffer[me] ! address, value

/*
 * True once the own buffer is empty.  Stands for the full fence, and begins
 * each read-modify-write and each system call: the first are locked
 * instructions, the second take the kernel's lock on the descriptor.
 */
#define drained			empty(buffer[me])

/* The hardware: goes on when a process is killed, and so do its stores. */
active proctype store_buffers()
{
	byte a, v;

end:	do
	:: d_step { buffer[THREAD] ? a, v; memory[a] = v; a = 0; v = 0 }
	:: d_step { buffer[STALE] ? a, v; memory[a] = v; a = 0; v = 0 }
	:: d_step { buffer[PARENT] ? a, v; memory[a] = v; a = 0; v = 0 }
	:: d_step { buffer[CHILD] ? a, v; memory[a] = v; a = 0; v = 0 }
	od
}


/*
 * Descriptors, one an object: what a copy of the object holds in a forked
 * process is the same open file.  Two writes fill it.  One step each, with the
 * kernel's lock held.
 */
#define FULL	2

byte readable[4];

/* make_readable() */
inline write_to(o)
{
	atomic {
		drained;
		if
		:: readable[o] < FULL -> readable[o]++; ours = true
		:: else -> ours = false
		fi
	}
}

/* drain(): all, or only some, as a pipe may hold more than is read at once. */
inline read_from(o)
{
	drained;
	if
	:: readable[o] == 0 -> got = false
	:: readable[o] > 0 -> readable[o] = 0; got = true
	:: readable[o] > 1 -> readable[o]--; got = true
	fi
}


/*
 * Words: value = epoch * 2 + posted.  PARENT's page has words 0 and 1, the
 * page that CHILD maps has 2 and 3.
 */
#define posted(w)	((w) & 1)
#define WORD_GIVEN_UP	254

byte word_of[4];
byte owner[4];			/* of a word: the object that got it last */

/* word_grab(): a page that is not `ours' hands out nothing. */
inline word_grab(o)
{
#if defined(WORD_REUSED)
	word_of[o] = 0;
#elif defined(PAGE_INHERITED)
	word_of[o] = 1;
#else
	word_of[o] = (me == PARENT -> 1 : 2);
#endif
	owner[word_of[o]] = o;
}


/* What the checks look at. */
bool alive[4] = true;		/* neither killed nor, of a poster, done */
bool posting[2];		/* poster: inside a post */
byte stored[2];			/* poster: its data at its last post */
byte wanted[2];			/* poster: ... at the last that returned */
byte seen[2];			/* poster: ... in the last handler run */
byte serves[4];			/* loop: its object */
bool handles[4];		/* loop: has drained, will run the handler */
bool clears[4];			/* loop: has drained, will clear the word */

/* Threads of the parent use the original; a forked process has its copy. */
#define object(poster)	((poster) == THREAD -> serves[PARENT] : FIRST)

#define any_loop(o, flag) \
	((serves[PARENT] == (o) && flag[PARENT]) || \
	 (serves[CHILD] == (o) && flag[CHILD]))

#define is_served(o) \
	((o) != NONE && (serves[PARENT] == (o) || serves[CHILD] == (o)))

/* Nothing is under way on behalf of a post that returned. */
#define lost(p) \
	(wanted[p] > seen[p] && is_served(object(p)) && \
	 readable[object(p)] == 0 && !any_loop(object(p), handles))

/*
 * A poster that lives does not count as somebody who will write: it may be
 * killed first.  With NO_FENCE_B a clear may also be in a store buffer.
 */
#define wedged(o) \
	(is_served(o) && posted(memory[WORD(o)]) && readable[o] == 0 && \
	 !any_loop(o, clears) && empty(buffer[PARENT]) && empty(buffer[CHILD]))

/* Names for the messages of the verifier. */
hidden byte post_is_lost, word_is_wedged;

/* Can take a step in a bad state only: costs no states in a good model. */
active proctype checks()
{
end:	if
	:: d_step {
		lost(THREAD) || lost(STALE) ->
		post_is_lost = true; assert(!post_is_lost)
	   }
	:: d_step {
		wedged(0) || wedged(1) || wedged(2) ->
		word_is_wedged = true; assert(!word_is_wedged)
	   }
	fi
}


/* The loop, as far as it is iv_event_raw.c. */

/* word_draining(): in a child's copy of the loop, the page is not `ours'. */
inline give_up(o)
{
	if
#ifndef NOT_GIVEN_UP
	:: me == CHILD && o == FIRST ->
		drained;
		assert(owner[word_of[o]] == o);
		memory[WORD(o)] = WORD_GIVEN_UP
#endif
	:: else
	fi
}

/* word_drained() */
inline clear_word(o)
{
#if defined(NO_FENCE_B)
	atomic {
		w = memory[WORD(o)];
		store(WORD(o), (w | 1) + 1);
		clears[me] = false
	}
#elif defined(TWO_STEP_CLEAR)
	if
	:: memory[WORD(o)] != WORD_GIVEN_UP ->
		atomic { drained; memory[WORD(o)] = memory[WORD(o)] | 1 };
		atomic { drained; memory[WORD(o)] = memory[WORD(o)] + 1 }
	:: else
	fi;
	clears[me] = false
#else
	/* A try that fails changes nothing: only the last one is a step. */
	atomic {
		drained;
		assert(owner[word_of[o]] == o);
		if
		:: memory[WORD(o)] != WORD_GIVEN_UP ->
			memory[WORD(o)] = (memory[WORD(o)] | 1) + 1
		:: else
		fi;
		clears[me] = false;
		drained				/* fence B */
	}
#endif
}

/*
 * The user's handler.  All its loads at once and as soon as they may be done
 * is the worst case: later ones see more.
 */
inline handler(o)
{
	d_step {
		if
		:: object(THREAD) == o -> seen[THREAD] = memory[DATA(THREAD)]
		:: else
		fi;
		if
		:: object(STALE) == o -> seen[STALE] = memory[DATA(STALE)]
		:: else
		fi;
		handles[me] = false;
		w = 0; got = false
	}
}

inline got_event(o)
{
#if defined(CLEAR_BEFORE_DRAIN)
	clears[me] = true;
	clear_word(o);
	atomic { read_from(o); handles[me] = got };
	if
	:: got -> handler(o)
	:: else
	fi
#else
	atomic {
		read_from(o);
		handles[me] = got;
		clears[me] = got;
		if
		:: !got -> goto again
		:: else
		fi
	};
#if defined(HANDLER_BEFORE_CLEAR)
	handler(o);
	clear_word(o)
#else
#if defined(GIVEN_UP_LATE)
	atomic { give_up(o) };
#endif
	clear_word(o);
	handler(o)
#endif
#endif
}

/* Whoever unregisters has seen to it that no thread is inside a post. */
#define may_unregister \
	(serves[me] == FIRST && !(me == PARENT && posting[THREAD]))

proctype loop(byte me)
{
	byte w;
	bool got;

	{
end:
again:		do
		:: atomic {
			serves[me] != NONE && readable[serves[me]] > 0 ->
#ifndef GIVEN_UP_LATE
			give_up(serves[me])
#endif
		   };
		   got_event(serves[me])

		/* iv_event_raw_unregister(): what was posted is dropped. */
		:: atomic { may_unregister ->
			serves[me] = NONE;
			if
			:: me == PARENT -> wanted[THREAD] = 0
			:: else
			fi
		   };
		/* iv_event_raw_register(): a new descriptor, a word. */
		   d_step {
			w = me - PARENT + 1;
			word_grab(w);
			serves[me] = w;
			w = 0
		   }
		od
	} unless {
		/* Killed.  What it has drained counts as handled. */
		d_step {
			!alive[me];
			if
			:: handles[me] && serves[me] == FIRST ->
				seen[STALE] = stored[STALE];
				if
				:: object(THREAD) == FIRST ->
					seen[THREAD] = stored[THREAD]
				:: else
				fi
			:: else
			fi;
			serves[me] = NONE;
			handles[me] = false; clears[me] = false;
			w = 0; got = false
		}
	}
}

/* A poster. */

inline set_posted(o)
{
	atomic {
		drained;
		assert(owner[word_of[o]] == o);
		if
		:: memory[WORD(o)] == w -> memory[WORD(o)] = w + 1
		:: else
		fi
	}
}

/* iv_event_raw_post() */
inline post(o)
{
	atomic {
#ifndef NO_FENCE
		drained;			/* fence A */
#endif
		assert(owner[word_of[o]] == o);
		w = memory[WORD(o)];
		if
		:: posted(w) -> goto returns
		:: else
		fi
	};
#ifdef POSTED_BEFORE_WRITE
	set_posted(o);
	write_to(o)
#else
	write_to(o);
	if
#ifdef GIVEN_UP_POSTED
	:: ours -> set_posted(o)
#else
	:: ours && w != WORD_GIVEN_UP -> set_posted(o)
#endif
	:: else
	fi
#endif
}

proctype poster(byte me)
{
	byte o, w;
	bool ours;

	{
		do
		:: stored[me] < POSTS ->
			/* The caller's store, then the call. */
			atomic {
				stored[me]++;
				store(DATA(me), stored[me]);
				posting[me] = true;
				o = object(me);
				if
				:: o == NONE -> goto returns
				:: else
				fi
			};
			post(o);
returns:		atomic {
				posting[me] = false;
				if
				:: o != NONE -> wanted[me] = stored[me]
				:: else		/* event_wfd < 0 */
				fi;
				w = 0; o = 0; ours = false
			}
		:: else -> break
		od;
		alive[me] = false
	} unless {
		/* Killed, or done.  The rest makes equal ends equal states. */
		d_step {
			!alive[me];
			posting[me] = false;
			o = 0; w = 0; ours = false
		}
	}
}

/* SIGKILL; of a thread, that it is cancelled or stopped for ever. */
active proctype kill()
{
end:	do
	:: d_step { alive[THREAD] -> alive[THREAD] = false }
	:: d_step { alive[STALE] -> alive[STALE] = false }
	:: d_step { alive[CHILD] -> alive[CHILD] = false }
	od
}

init {
	atomic {
		run poster(THREAD);
		run poster(STALE);
		run loop(PARENT);
#ifdef NO_FENCE_B
		serves[CHILD] = NONE	/* Two plain clears would fail anyway. */
#else
		run loop(CHILD)
#endif
	}
}
