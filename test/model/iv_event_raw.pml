/*
 * libivykis: a model of the posting protocol of iv_event_raw, for spin.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The protocol is described at the top of src/iv_event_raw.c, and
 * src/iv_board.c keeps the boards; comments here name functions there.  The
 * processes:
 *
 *	two posters	each a thread of the owner or a forked process.  There
 *			is no difference, because all that a poster shares with
 *			the others is the board and the descriptors.
 *	PARENT		runs the loop that registered two objects on one board,
 *			and may unregister the first of them
 *	CHILD		runs a forked copy of that loop, with copies of both
 *			objects, and may start to do so at any time
 *	the outsider	posts once by iv_event_raw_post_fd()
 *
 * The posters post POSTS times in total, to either object, including stale
 * copies of the one that was unregistered.  Configurations:
 *
 *	ADOPT		there is one object, which was prepared before the fork;
 *			both loops adopt it
 *	PIPE		descriptors are pipes, not eventfds
 *	NO_CHILD	no forked loop
 *	OUTSIDER	there is an outsider
 *
 * All steps are tried in every order, and these properties are checked:
 *
 *	lost	When a loop waits and has nothing to read, each post that
 *		returned, to an object that the loop serves, was followed by a
 *		handler run that saw what had been stored before the post.  The
 *		exception is what another loop has taken (a bit, or what was in
 *		the descriptor) without having called the handler yet: if that
 *		loop is killed it is gone, with any protocol.
 *	stuck	When all posts have returned and all loops wait, no bit of a
 *		registered object is set.
 *	more	No handler runs more often than its object was posted to.  This
 *		is not checked with PIPE, as filling a real pipe takes far more
 *		doorbells than there are here.
 *
 * No process is killed explicitly.  Being killed between two steps is the same
 * as being delayed for ever, and `lost' does not depend on another step of any
 * poster or of any other loop.  So a kill blocks nothing: posts that return
 * after it are covered, too.
 *
 * Handlers that run a loop, slow handlers and waits that do not block are the
 * same here: the loop stays awake for a while.
 *
 * Each time a loop wakes up it takes a bit or drains something, so every
 * execution ends.  That is checked, too (with -DNP): executions end only where
 * the loops wait (at labels that begin with `end').
 *
 * The machine has store buffers, and reorders what C allows for the operations
 * that the code uses:
 *
 *	- A plain store becomes visible to others at any later time.  Loads and
 *	  other stores overtake it.
 *	- An exchange is not a fence: its store may be delayed likewise, though
 *	  nobody else can change the word in the meantime.
 *	- System calls on a descriptor take its lock: stores before the earlier
 *	  call are visible after the later one.
 *
 * The worst case is assumed for the data that a poster stores before a post: it
 * becomes visible only with the poster's next fence.  Since nothing but
 * handlers reads it, this leaves out no execution that matters.
 *
 * Seeded bugs, each of which has to be caught:
 *
 *	NO_FENCE_A		a post that finds the bit set has no fence A
 *	NO_FENCE_B		a loop reads the bits without fence B
 *	NO_FENCE_C		a loop takes a bit and has no fence before it
 *				calls the handler
 *	NO_FENCE_D		a forked loop has no fence between `foreign' and
 *				reading the bits
 *	NO_ORDER_AFTER_BIT	the state is read before the bit that the post
 *				sets is visible
 *	SKIP_ON_BIT		a post that finds the bit set returns, whatever
 *				the state is
 *	STATE_BEFORE_BIT	a post reads the state first, then the bit
 *	RUNG_BEFORE_WRITE	RUNG is set before the descriptor is written
 *	RUNG_OF_ANY_EPOCH	RUNG is set in a later sleep
 *	HANDLER_BEFORE_TAKE	the handler runs, then the bit is taken
 *	CHECK_BEFORE_ASLEEP	a loop checks the bits, then sets ASLEEP
 *	NOT_FOREIGN		a forked loop does not set `foreign'
 *	NO_FOREIGN_CHECK	a post that has set the bit does not read
 *				`foreign'
 *	NO_FOREIGN_CHECK_IF_SET	a post that finds the bit set does not read
 *				`foreign'
 *	NO_TAKE_OVER		a forked loop ignores bits that are set already
 *	TAKE_OVER_WITHOUT_RING	a forked loop calls the handlers for these bits
 *				instead of ringing
 *	RING_IS_PLAIN		a doorbell is taken for a plain post
 *	PLAIN_IF_FOREIGN	a post that has set the bit writes a plain 1
 *	NOT_GONE		a stale copy sets RUNG for a descriptor that no
 *				loop waits for
 *	GONE_LATER		the same, as the loop sets `gone' after ASLEEP
 *	TAKE_ALL		a loop takes bits of objects that it has
 *				unregistered
 *	FULL_IS_RINGS		a read that fills the buffer, and finds nothing
 *				but doorbells, is not taken for a plain post
 */

#ifndef POSTS
#define POSTS	2
#endif

#define PARENT	0
#define CHILD	1


/*
 * The board.  A prepared object's board has no owner at first, and is AWAKE.
 */
#define AWAKE	0
#define ASLEEP	1
#define RUNG	2

byte mode = AWAKE;
/*
 * This stands for the epoch.  Per poster: the loop has not changed the state
 * since this poster read it.
 */
bool same_epoch[2];
bool foreign;
bool owned;
byte posted, gone;		/* a bit per object */

#define bit(o)	(1 << (o))

/* Stores that others do not see yet. */
chan modes = [2] of { byte };	/* by the owner, to `mode' */
byte marking_gone;		/* by the owner, to `gone' */
bool marking_foreign;		/* by the other loop, to `foreign' */
byte taking[2];			/* per loop: bits that it clears */
byte setting[2];		/* per poster: a bit that it sets */

#define owner_drained	(len(modes) == 0 && marking_gone == 0)
#define exclusive	(taking[PARENT] == 0 && taking[CHILD] == 0 && \
			 setting[0] == 0 && setting[1] == 0)


/*
 * Descriptors.  Doorbells write `rings', outsiders write `plains'.  An eventfd
 * tells only whether there was any of each.  A pipe has room for two records,
 * and a read may take one of them.
 */
#ifdef PIPE
byte rings[2], plains[2];
#define readable(o)	(rings[o] + plains[o] > 0)
#define full(o)		(rings[o] + plains[o] == 2)
#ifdef FULL_IS_RINGS
#define may_lack_plain(o)	false
#else
#define may_lack_plain(o)	full(o)
#endif
#define ring(o)		if :: full(o) :: else -> rings[o]++ fi
#define plain(o)	if :: full(o) :: else -> plains[o]++ fi
#else
bool rings[2], plains[2];
#define readable(o)	(rings[o] || plains[o])
#define ring(o)		rings[o] = true
#define plain(o)	plains[o] = true
#endif


/* State for the checks. */
byte posts;			/* by both posters */
byte object[2];			/* per poster: the object that it posts to */
bool visible[2];		/* per poster: its data is visible */
bool relies[2];			/* per poster: it relies on the bit */
bool seen[2];			/* per poster: a handler has seen its data */
byte serves[2];			/* per loop: its objects */
bool waits[2];			/* per loop: it waits */

/* Per poster and object: is a handler run owed to a post that has returned? */
#define NOTHING		0
#define VISIBLE		1
#define INVISIBLE	2	/* and its data is not visible yet */
byte owed[4];
/*
 * Per loop, too: the loop has taken such a post, and has yet to call the
 * handler.  `takes' is the same for posts that have not returned yet.
 */
bool took[8], takes[4];

#define OWED(p, o)	owed[2 * (p) + (o)]
#define TOOK(l, p, o)	took[4 * (l) + 2 * (p) + (o)]
#define TAKES(l, p)	takes[2 * (l) + (p)]

byte excess_posts[2];		/* per object: posts minus handler runs */

#define can_read(l) \
	(((serves[l] & bit(0)) && readable(0)) || \
	 ((serves[l] & bit(1)) && readable(1)))

#define is_unseen(l, p, o) \
	((serves[l] & bit(o)) && OWED(p, o) && !TOOK(1 - (l), p, o))

/* The same for the outsider, which posts to one object, once. */
#ifdef OUTSIDER
bool outsider_owed, outsider_took[2];

#ifdef ADOPT
#define OUTSIDERS	0
#else
#define OUTSIDERS	1
#endif

#define outsider_is_unseen(l) \
	((serves[l] & bit(OUTSIDERS)) && outsider_owed && \
	 !outsider_took[1 - (l)])

inline takes_outsiders(l, o)
{
	outsider_took[l] = outsider_owed && o == OUTSIDERS
}

inline sees_outsider(o)
{
	if
	:: o == OUTSIDERS ->
		outsider_owed = false;
		outsider_took[1 - me] = false
	:: else
	fi
}
#else
#define outsider_is_unseen(l)	false
#define takes_outsiders(l, o)	skip
#define sees_outsider(o)	skip
#endif

#define lost(l) \
	(waits[l] && !can_read(l) && \
	 (is_unseen(l, 0, 0) || is_unseen(l, 0, 1) || \
	  is_unseen(l, 1, 0) || is_unseen(l, 1, 1) || outsider_is_unseen(l)))

#define stuck \
	(waits[PARENT] && waits[CHILD] && !relies[0] && !relies[1] && \
	 !can_read(PARENT) && !can_read(CHILD) && \
	 (posted & (serves[PARENT] | serves[CHILD])))

/* Names for the verifier's messages. */
hidden byte post_is_lost, bit_is_stuck, more_runs_than_posts;

/* This takes a step only in a bad state, so a good model has no more states. */
active proctype checks()
{
end:	if
	:: d_step {
		lost(PARENT) || lost(CHILD) ->
		post_is_lost = true; assert(!post_is_lost)
	   }
	:: d_step {
		stuck ->
		bit_is_stuck = true; assert(!bit_is_stuck)
	   }
	fi
}

inline takes_from(l, p, o)
{
	TOOK(l, p, o) = TOOK(l, p, o) || OWED(p, o) != NOTHING;
	TAKES(l, p) = TAKES(l, p) || (relies[p] && object[p] == o)
}

inline takes_nothing_of(l, p, o)
{
	TOOK(l, p, o) = false;
	TAKES(l, p) = TAKES(l, p) && object[p] != o
}

inline sees(l, p, o)
{
	if
	:: OWED(p, o) == VISIBLE ->
		OWED(p, o) = NOTHING;
		TOOK(1 - l, p, o) = false
	:: else
	fi;
	seen[p] = seen[p] || (visible[p] && object[p] == o);
	takes_nothing_of(l, p, o)
}

inline bits_are_taken(l)
{
	if
	:: taking[l] & bit(0) -> takes_from(l, 0, 0); takes_from(l, 1, 0)
	:: else
	fi;
	if
	:: taking[l] & bit(1) -> takes_from(l, 0, 1); takes_from(l, 1, 1)
	:: else
	fi;
	posted = posted & (3 - taking[l]);
	taking[l] = 0
}

#ifdef GONE_LATER
#define mode_may_be_seen	(len(modes) > 0)
#else
#define mode_may_be_seen	(len(modes) > 0 && marking_gone == 0)
#endif

/* The hardware.  Stores of a process that was killed become visible, too. */
active proctype store_buffers()
{
end:	do
	:: d_step {
		mode_may_be_seen ->
		modes ? mode; same_epoch[0] = false; same_epoch[1] = false
	   }
	:: d_step {
		marking_gone != 0 ->
		gone = gone | marking_gone; marking_gone = 0
	   }
	:: d_step { marking_foreign -> foreign = true; marking_foreign = false }
#ifdef NO_FENCE_C
	:: d_step { taking[PARENT] != 0 -> bits_are_taken(PARENT) }
	:: d_step { taking[CHILD] != 0 -> bits_are_taken(CHILD) }
#endif
#ifdef NO_ORDER_AFTER_BIT
	:: d_step {
		setting[0] != 0 ->
		posted = posted | setting[0]; setting[0] = 0
	   }
	:: d_step {
		setting[1] != 0 ->
		posted = posted | setting[1]; setting[1] = 0
	   }
#endif
	od
}


/* A loop. */

/* iv_board_take_bit(): fetch_and, and fence C */
inline take(bits)
{
	atomic {
		exclusive;
		taking[me] = posted & bits;
		taken = taking[me];
#ifndef NO_FENCE_C
		d_step { bits_are_taken(me) }
#endif
	}
}

inline handler(o)
{
	d_step {
#ifndef PIPE
		more_runs_than_posts = excess_posts[o] == 0;
		assert(!more_runs_than_posts);
		excess_posts[o]--;
#endif
		sees_outsider(o);
		sees(me, 0, o);
		sees(me, 1, o)
	}
}

inline drain(o)
{
	atomic {
		readable(o) && (serves[me] & bit(o)) ->
		if
#ifdef PIPE
		:: got_plain = plains[o] > 0 || may_lack_plain(o);
		   rings[o] = 0; plains[o] = 0
		:: full(o) && rings[o] > 0 ->
		   got_plain = plains[o] > 0 || may_lack_plain(o); rings[o]--
		:: full(o) && plains[o] > 0 -> got_plain = true; plains[o]--
#else
		:: got_plain = plains[o]; rings[o] = false; plains[o] = false
#endif
		fi;
		d_step {
#ifdef RING_IS_PLAIN
			got_plain = true;
#endif
			takes_outsiders(me, o);
			takes_from(me, 0, o);
			takes_from(me, 1, o)
		}
	}
}

inline got_event(o)
{
	drain(o);
#ifdef HANDLER_BEFORE_TAKE
	taken = posted & bit(o);
#else
	take(bit(o));
#endif
	atomic {
		if
		:: got_plain || taken -> handler(o)
		:: else ->
			takes_nothing_of(me, 0, o);
			takes_nothing_of(me, 1, o)
		fi;
		got_plain = false;
		taken = 0;
		takes_outsiders(me, 2)
	}
#ifdef HANDLER_BEFORE_TAKE
	;
	take(bit(o));
	taken = 0
#endif
}

#ifdef TAKE_ALL
#define takes_from_all	(bit(0) + bit(1))
#else
#define takes_from_all	serves[me]
#endif

inline take_and_serve(o)
{
#ifdef HANDLER_BEFORE_TAKE
	posted & bit(o) & takes_from_all -> handler(o);
	take(bit(o));
	taken = 0
#else
	atomic { posted & bit(o) & takes_from_all -> take(bit(o)) };
	atomic {
		if
		:: taken & serves[me] -> handler(o)
		:: else ->
			takes_nothing_of(me, 0, o);
			takes_nothing_of(me, 1, o)
		fi;
		taken = 0
	}
#endif
}

/* iv_board_take() */
inline take_posted()
{
	if
	:: take_and_serve(0)
	:: take_and_serve(1)
	:: !(posted & serves[me])
	fi
}

/* Serves a descriptor that is readable, unless another loop was faster. */
inline iv_fd_run()
{
	if
	:: got_event(0)
	:: got_event(1)
	:: !can_read(me)
	fi
}

/* iv_board_leave() */
inline unregister_first()
{
	atomic {
		serves[me] == bit(0) + bit(1) ->
		serves[me] = bit(1);
#ifndef NOT_GONE
		marking_gone = bit(0)
#endif
	}
}

#define check_bits	waits[me] = !(posted & serves[me])

inline fall_asleep()
{
#ifdef CHECK_BEFORE_ASLEEP
	check_bits;
	modes ! ASLEEP
#else
	modes ! ASLEEP;
	atomic {
#ifndef NO_FENCE_B
		owner_drained;			/* fence B */
#endif
		check_bits
	}
#endif
}

inline run_as_owner()
{
	do
	:: take_and_serve(0)
	:: take_and_serve(1)
	:: unregister_first()
	:: fall_asleep();
	   if
	   :: waits[me] ->
endwait:	atomic {
			owner_drained && can_read(me) ->
			waits[me] = false;
			modes ! AWAKE
		};
		iv_fd_run()
	   :: else ->
		modes ! AWAKE;
		take_posted()
	   fi
	od
}

inline ring_if_posted(o)
{
	if
	:: posted & bit(o) -> atomic { ring(o) }
	:: else
	fi
}

/* iv_board_make_foreign(), iv_board_abandon() */
inline take_over()
{
#ifndef NOT_FOREIGN
	marking_foreign = true;
#ifndef NO_FENCE_D
	!marking_foreign;			/* fence D */
#endif
#endif
#if defined(TAKE_OVER_WITHOUT_RING)
	if
	:: posted & bit(0) -> handler(0)
	:: else
	fi;
	if
	:: posted & bit(1) -> handler(1)
	:: else
	fi
#elif !defined(NO_TAKE_OVER)
	ring_if_posted(0);
	ring_if_posted(1)
#endif
}

/* The copy checks no board: it takes a bit after it has drained. */
inline run_as_copy()
{
	take_over();
	do
	:: atomic { !marking_foreign; waits[me] = true };
endcopy:   atomic { can_read(me) -> waits[me] = false };
	   iv_fd_run()
	od
}

proctype loop(byte me)
{
	byte taken;
	bool got_plain;

	if
#ifdef ADOPT
	:: d_step { me == PARENT -> owned = true; serves[me] = bit(0) } ->
		run_as_owner()
	:: d_step { me == CHILD && owned -> serves[me] = bit(0) } ->
		run_as_copy()
#else
	:: me == PARENT -> run_as_owner()
	:: me == CHILD -> run_as_copy()
#endif
	fi
}


/* A poster. */

inline fence()
{
	d_step {
		setting[me] == 0 ->
		visible[me] = true;
		if
		:: OWED(me, 0) == INVISIBLE -> OWED(me, 0) = VISIBLE
		:: else
		fi;
		if
		:: OWED(me, 1) == INVISIBLE -> OWED(me, 1) = VISIBLE
		:: else
		fi
	}
}

inline relies_on_bit_no_more()
{
	d_step {
		relies[me] = false;
		TAKES(PARENT, me) = false;
		TAKES(CHILD, me) = false
	}
}

/* The post is complete: from here on, the loops have to serve it. */
inline is_posted()
{
	d_step {
		if
		:: seen[me]
		:: else ->
			OWED(me, o) = (visible[me] -> VISIBLE : INVISIBLE);
			TOOK(PARENT, me, o) = TAKES(PARENT, me);
			TOOK(CHILD, me, o) = TAKES(CHILD, me)
		fi;
		TAKES(PARENT, me) = false;
		TAKES(CHILD, me) = false;
		relies[me] = false;
		seen[me] = false;
		visible[me] = false
	}
}

/* Resets the local state, so that fewer states differ. */
#define forget \
	d_step { \
		asleep = false; is_foreign = false; same_epoch[me] = false; \
		object[me] = 0; o = 0 \
	}

/*
 * The second of the two loads of the bit.  The first may happen at any time
 * before, and decides only whether there is a second one, so it is left out.
 */
inline check_bit()
{
	atomic {
#ifndef NO_FENCE_A
		fence();			/* fence A */
#endif
		if
		:: posted & bit(o) -> relies[me] = true
		:: else -> goto sets
		fi
	}
}

inline check_state()
{
	atomic {
		if
		:: mode == ASLEEP -> relies_on_bit_no_more(); goto sets
		:: else
		fi
	}
}

inline set_rung()
{
	if
#ifdef RUNG_OF_ANY_EPOCH
	:: mode == ASLEEP -> mode = RUNG
#else
	:: mode == ASLEEP && same_epoch[me] -> mode = RUNG
#endif
	:: else
	fi
}

#define read_mode() \
	d_step { asleep = mode == ASLEEP; same_epoch[me] = asleep }

#ifdef NO_FOREIGN_CHECK
#define read_foreign()	skip
#else
#define read_foreign()	is_foreign = foreign
#endif

inline return_if_awake()
{
	if
	:: !asleep && !is_foreign -> is_posted(); forget; goto returns
	:: else
	fi
}

/* iv_event_raw_post() */
inline post()
{
#ifdef STATE_BEFORE_BIT
	check_state();
	check_bit();
#else
	check_bit();
#ifndef SKIP_ON_BIT
	check_state();
#endif
#endif
	atomic {
		if
#ifndef NO_FOREIGN_CHECK_IF_SET
		:: foreign -> relies_on_bit_no_more(); goto sets
#endif
		:: else -> is_posted(); forget; goto returns
		fi
	};
sets:	atomic {
		exclusive;
		fence();
#ifdef NO_ORDER_AFTER_BIT
		setting[me] = bit(o);
#else
		posted = posted | bit(o);
#endif
		relies[me] = true
	};
	if
	:: read_mode(); atomic { read_foreign(); return_if_awake() }
	:: read_foreign(); atomic { read_mode(); return_if_awake() }
	fi;
	/* write_if_needed() */
	atomic {
		if
		:: !is_foreign && (gone & bit(o)) ->
			is_posted(); forget; goto returns
		:: else
		fi
	};
#ifdef RUNG_BEFORE_WRITE
	atomic {
		if
		:: is_foreign
		:: else -> set_rung()
		fi
	};
#endif
	atomic {
		setting[me] == 0;
#ifdef PLAIN_IF_FOREIGN
		if
		:: is_foreign -> plain(o)
		:: else -> ring(o)
		fi;
#else
		ring(o);
#endif
		is_posted();
		if
		:: is_foreign -> forget; goto returns
		:: else
		fi
	};
#ifndef RUNG_BEFORE_WRITE
	atomic { set_rung(); forget; goto returns }
#else
	atomic { forget; goto returns }
#endif
}

proctype poster(byte me)
{
	byte o;
	bool asleep, is_foreign;

returns:
	/* The posters are alike, so the first one makes the first post. */
	do
	:: atomic {
		posts < POSTS && (me == 0 || posts > 0) ->
		posts++;
		if
		:: o = 0
#ifndef ADOPT
		:: o = 1
#endif
		fi;
		object[me] = o;
#ifndef PIPE
		excess_posts[o]++
#endif
	   };
	   post()
	:: posts == POSTS -> break
	od
}

#ifdef OUTSIDER
active proctype outsider()
{
	atomic {
		plain(OUTSIDERS);
#ifndef PIPE
		excess_posts[OUTSIDERS]++;
#endif
		outsider_owed = true
	}
}
#endif

init {
	atomic {
#ifndef ADOPT
		serves[PARENT] = bit(0) + bit(1);
#ifdef NO_CHILD
		waits[CHILD] = true;
#else
		serves[CHILD] = bit(0) + bit(1);
#endif
#endif
		run poster(0);
		run poster(1);
		run loop(PARENT);
#ifndef NO_CHILD
		run loop(CHILD)
#endif
	}
}
