/*
 * libivykis: a model of the posting protocol of iv_event_raw, for spin.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is told at the top of src/iv_event_raw.c, where words come from
 * at the top of src/iv_word.c; names in comments here are functions there.
 * Four processes of the model take part:
 *
 *	THREAD	posts from another thread of the parent
 *	STALE	posts from a forked process, to the object that it inherited,
 *		whatever the parent does with the original
 *	PARENT	runs the loop that registered the object
 *	CHILD	runs a forked copy of that loop, and drains the same descriptor
 *
 * The posters post POSTS times in all.  Each loop may unregister its copy of
 * the object and register another one; PARENT does so without regard to a
 * THREAD that has made the descriptor readable and is about to touch the word.
 * Each of the four may be killed between any two steps.  All of that in every
 * order; and it is checked that
 *
 *	lost	a post that made the descriptor readable, or returned because
 *		it need not, is followed by a handler run that sees what was
 *		stored before the post; unless a loop is killed that had drained
 *		the descriptor: what it took is gone, with any protocol, but
 *		nothing else is, and whoever is left hears it
 *	wedged	there is never a word that says `posted' while nothing is
 *		readable and no loop is on its way to clear it: all further
 *		posts would be skipped
 *	owner	nobody changes the word of another object
 *
 * `lost' and `wedged' are looked for in every state, and rely on no poster and
 * on no other loop to go on: this is what makes them hold for those that are
 * killed.  Posts are finitely many and each time a loop wakes up something is
 * taken from its descriptor, so every execution ends.  That is checked too
 * (with -DNP), and that it ends with the loops waiting and nowhere else (the
 * labels that begin with `end').
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
 *	NO_FENCE_B		a loop has no fence B
 *	POSTED_BEFORE_WRITE	`posted' is set, then the descriptor written:
 *				wedged if the poster is killed in between
 *	NO_DRAINER		a loop does not say that it drains
 *	DRAINER_AS_FLAG		it says so in a flag: of two loops, the first
 *				that is done clears it for both
 *	IGNORE_DRAINERS		a post sets `posted' though a loop drains
 *	CLEAR_AFTER_DRAIN	a loop drains, then clears the word, in one
 *				step: wedged if it is killed in between
 *	HANDLER_BEFORE_CLEAR	the handler runs, then the word is cleared
 *	WORD_REUSED		a word that was returned is handed out again,
 *				in memory that the children see
 *	PAGE_INHERITED		a child hands out words of the parent's page
 *	SAME_START		a page that is used again begins with the
 *				numbers that it began with before
 */

#ifndef POSTS
#define POSTS	3
#endif

/* Processes, and the store buffers of their processors. */
#define THREAD	0
#define STALE	1
#define PARENT	2
#define CHILD	3

/* Objects: the first one; PARENT and CHILD register 1 and 2 later. */
#define FIRST	0


/*
 * The machine.  A poster stores its own data, which it never loads; so a load
 * need not look into the own buffer.
 */
#define DATA(poster)	(poster)
#define WORD(page)	(2 + (page))

byte memory[5];
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
#ifdef NO_FENCE_B
	:: d_step { buffer[PARENT] ? a, v; memory[a] = v; a = 0; v = 0 }
	:: d_step { buffer[CHILD] ? a, v; memory[a] = v; a = 0; v = 0 }
#endif
	od
}


/*
 * Descriptors, one an object: what a copy of the object holds in a forked
 * process is the same open file.  Two writes fill it.  One step each, with the
 * kernel's lock held.
 */
#define FULL	2

byte readable[3];

/* drain(): all, or only some, as a pipe may hold more than is read at once. */
inline read_from(o)
{
	if
	:: readable[o] == 0 -> got = false
	:: readable[o] > 0 -> readable[o] = 0; got = true
	:: readable[o] > 1 -> readable[o]--; got = true
	fi
}


/*
 * Words: `posted', the number of drainers, above them the epoch.  Two loops
 * never reach the most that the number can say; a full one is not modelled.
 */
#define POSTED		1
#define DRAINER		2
#define DRAINERS	(3 * DRAINER)
#define EPOCH		(4 * DRAINER)

#define posted(w)	((w) & POSTED)
#define draining(w)	((w) & DRAINERS)

/*
 * Pages, of one word each; a number means memory, not an address.  The first
 * is shared by all.  The second is what PARENT registers later: the next page,
 * or fresh memory at the address of the first, `remapped', which STALE and
 * CHILD do not see.  The third is CHILD's own.
 *
 * No epoch gets as far as 128, which stands for the bits that count pages.
 */
#ifdef SAME_START
#define START(page)	0
#else
#define START(page)	((page) == 1 -> 128 : 0)
#endif

byte owner[3];			/* of a page: the object that got its word */
bool remapped;

/* iv_word_get() */
#if defined(WORD_REUSED)
#define page_of(o)	0
#elif defined(PAGE_INHERITED)
#define page_of(o)	((o) > 0 -> 1 : 0)
#else
#define page_of(o)	(o)
#endif

inline word_get(o)
{
	owner[page_of(o)] = o;
	memory[WORD(page_of(o))] = START(page_of(o))
}


/* What the checks look at. */
bool alive[4] = true;		/* loop: not killed */
bool entering[2];		/* poster: in a post, and may yet use *this */
byte posts;			/* by both posters */
byte stored[2];			/* poster: its data at its last post */
byte wanted[2];			/* poster: ... that is to be heard */
byte seen[2];			/* poster: ... that was, or went with a loop */
byte serves[4];			/* loop: its object */
bool handles[4];		/* loop: has drained, will run the handler */
bool clears[4];			/* loop: has drained, will clear the word */

/* What PARENT and CHILD took with the descriptor, of each poster. */
byte took[4];
#define TOOK(poster)	took[2 * (me - PARENT) + (poster)]

/* Threads of the parent use the original; a forked process has its copy. */
#define object(poster)	((poster) == THREAD -> serves[PARENT] : FIRST)

#define any_loop(o, flag) \
	((serves[PARENT] == (o) && flag[PARENT]) || \
	 (serves[CHILD] == (o) && flag[CHILD]))

#define is_served(o)	any_loop(o, alive)

/* Nothing is under way on behalf of the post. */
#define lost(p) \
	(wanted[p] > seen[p] && is_served(object(p)) && \
	 readable[object(p)] == 0 && !any_loop(object(p), handles))

/*
 * A poster that lives does not count as somebody who will write: it may be
 * killed first.  With NO_FENCE_B a clear may also be in a store buffer.
 */
#define wedged(o) \
	(is_served(o) && posted(memory[WORD(page_of(o))]) && \
	 readable[o] == 0 && !any_loop(o, clears) && \
	 empty(buffer[PARENT]) && empty(buffer[CHILD]))

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

inline heard(p, o, data)
{
	if
	:: object(p) == o && data > seen[p] -> seen[p] = data
	:: else
	fi
}


/*
 * A read-modify-write of a word.  While another one is in a store buffer the
 * cache line is not to be had, though it can be read.
 */
#define exclusive \
	(drained && empty(buffer[PARENT]) && empty(buffer[CHILD]))

/* The loop, as far as it is iv_event_raw.c. */

#if defined(NO_DRAINER) || defined(CLEAR_AFTER_DRAIN) || \
    defined(HANDLER_BEFORE_CLEAR)
#define one_more(w)	(w)
#define one_less(w)	(w)
#elif defined(DRAINER_AS_FLAG)
#define one_more(w)	((w) | DRAINER)
#define one_less(w)	((w) & (255 - DRAINER))
#else
#define one_more(w)	((w) + DRAINER)
#define one_less(w)	((w) - DRAINER)
#endif

#define next_epoch(w)	one_more(((w) & (255 - POSTED)) + EPOCH)

/* word_draining().  A try that fails changes nothing: only the last counts. */
inline word_draining(o)
{
	atomic {
		exclusive;
		assert(owner[page_of(o)] == o);
#ifdef NO_FENCE_B
		store(WORD(page_of(o)), next_epoch(memory[WORD(page_of(o))]));
#else
		memory[WORD(page_of(o))] =
			next_epoch(memory[WORD(page_of(o))]);
		drained;			/* fence B */
#endif
		clears[me] = false
	}
}

/*
 * The user's loads, all at once and as soon as they may be done, which is the
 * worst case: later ones see more.
 */
inline handler_loads(o)
{
	heard(THREAD, o, memory[DATA(THREAD)]);
	heard(STALE, o, memory[DATA(STALE)])
}

/*
 * drain().  Without fence B, loads of the handler are held back only by the
 * kernel when it takes its lock, and the store to the word is sure to be done
 * only when it gives the lock back.
 */
inline drain(o)
{
	atomic {
#ifndef NO_FENCE_B
		drained;
#endif
		read_from(o);
		d_step {
			handles[me] = got;
#if defined(CLEAR_AFTER_DRAIN) || defined(HANDLER_BEFORE_CLEAR)
			clears[me] = got;
#endif
			if
			:: got ->
				TOOK(THREAD) = wanted[THREAD];
				TOOK(STALE) = wanted[STALE];
#ifdef NO_FENCE_B
				handler_loads(o)
#endif
			:: else
			fi
		}
	}
#ifdef NO_FENCE_B
	drained;
#endif
}

inline word_drained(o)
{
	atomic {
		exclusive;
		assert(owner[page_of(o)] == o);
		memory[WORD(page_of(o))] = one_less(memory[WORD(page_of(o))]);
		if
		:: !got -> goto again
		:: else
		fi
	}
}

inline handler(o)
{
	d_step {
#ifndef NO_FENCE_B
		handler_loads(o);
#endif
		handles[me] = false;
		TOOK(THREAD) = 0; TOOK(STALE) = 0;
		got = false
	}
}

inline got_event(o)
{
#if defined(CLEAR_AFTER_DRAIN)
	drain(o);
	word_draining(o);
	word_drained(o);
	handler(o)
#elif defined(HANDLER_BEFORE_CLEAR)
	drain(o);
	if
	:: got -> handler(o)
	:: else
	fi;
	word_draining(o)
#else
	word_draining(o);
	drain(o);
	word_drained(o);
	handler(o)
#endif
}

/* Whoever unregisters has seen to it that no thread goes on to use *this. */
#define may_unregister \
	(serves[me] == FIRST && !(me == PARENT && entering[THREAD]))

chan kill[4] = [0] of { bit };

proctype loop(byte me)
{
	bool got;

	{
end:
again:		do
		:: readable[serves[me]] > 0 -> got_event(serves[me])

		/*
		 * iv_event_raw_unregister(): what was posted is dropped.
		 * iv_event_raw_register(): a new descriptor, a word.
		 */
		:: atomic {
			may_unregister ->
			serves[me] = me - PARENT + 1;
			word_get(serves[me]);
			if
			:: me == PARENT -> wanted[THREAD] = 0; remapped = true
			:: me == PARENT -> wanted[THREAD] = 0
			:: else
			fi
		   }
		od
	} unless {
		/* Killed.  What it has drained is gone. */
		atomic {
			kill[me] ? _;
			d_step {
				alive[me] = false;
				if
				:: handles[me] ->
					heard(THREAD, serves[me], TOOK(THREAD));
					heard(STALE, serves[me], TOOK(STALE))
				:: else
				fi;
				TOOK(THREAD) = 0; TOOK(STALE) = 0;
				handles[me] = false; clears[me] = false;
				got = false;
				if		/* Makes equal ends equal. */
				:: me == CHILD -> serves[CHILD] = FIRST
				:: else
				fi
			}
		}
	}
}

/* A poster. */

/* A late thread of the process that remapped the page meets the new one. */
#define page_met(o) \
	(me == THREAD && o == FIRST && remapped -> page_of(1) : page_of(o))

inline set_posted(o)
{
	atomic {
		exclusive;
		if
		:: memory[WORD(page_met(o))] == w ->
			assert(owner[page_met(o)] == o);
			memory[WORD(page_met(o))] = w + POSTED
		:: else
		fi;
#ifndef POSTED_BEFORE_WRITE
		goto returns
#endif
	}
}

/* From here on it is up to the loops that the post is heard. */
inline is_posted()
{
	wanted[me] = stored[me];
	entering[me] = false
}

#ifdef IGNORE_DRAINERS
#define may_say_posted	ours
#else
#define may_say_posted	(ours && !draining(w))
#endif

/* make_readable(), and whether `posted' may be set after that */
inline write_to(o)
{
	atomic {
		drained;
		if
		:: readable[o] < FULL -> readable[o]++; ours = true
		:: else -> ours = false
		fi;
		is_posted();
		if
		:: may_say_posted
		:: else -> goto returns
		fi
	}
}

/* iv_event_raw_post() */
inline post(o)
{
	atomic {
		w = memory[WORD(page_of(o))];
		if
		:: !posted(w) -> goto writes
		:: else
		fi
	};
	/* The look that counts, as the first one may be too early. */
	atomic {
#ifndef NO_FENCE
		drained;			/* fence A */
#endif
		w = memory[WORD(page_of(o))];
		if
		:: posted(w) -> is_posted(); goto returns
		:: else
		fi
	};
writes:
#ifdef POSTED_BEFORE_WRITE
	set_posted(o);
	write_to(o)
#else
	write_to(o);
	set_posted(o)
#endif
}

proctype poster(byte me)
{
	byte o, w;
	bool ours;

	{
		do
		:: atomic {
			posts < POSTS ->
			posts++;
			/* The caller's store, then the call. */
			stored[me]++;
			store(DATA(me), stored[me]);
			entering[me] = true;
			o = object(me)
		   };
		   post(o);
returns:	   atomic { w = 0; o = 0; ours = false }
		:: posts == POSTS -> break
		od
	} unless {
		atomic {
			kill[me] ? _;
			d_step {
				entering[me] = false;
				w = 0; o = 0; ours = false
			}
		}
	}
}

/* SIGKILL; of a thread, that it is cancelled or stopped for ever. */
active proctype killer()
{
end:	do
	:: kill[THREAD] ! 0
	:: kill[STALE] ! 0
	:: kill[PARENT] ! 0
	:: kill[CHILD] ! 0
	od
}

init {
	atomic {
		/* Pages look as if in use from the start: fewer states. */
		word_get(1);
		word_get(2);
		word_get(FIRST);

		run poster(THREAD);
		run poster(STALE);
		run loop(PARENT);
		run loop(CHILD)
	}
}
