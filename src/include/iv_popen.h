/*
 * libivykis: commands run as child processes, with a pipe.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_POPEN_H
#define __IV_POPEN_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Set file to the program, which is searched for in PATH, and argv to its
 * arguments, followed by NULL.  If type is "r", the caller reads the program's
 * standard output; if it is "w", the caller writes its standard input.  The
 * program's other standard descriptors are /dev/null.
 */
struct iv_popen_request {
	char		*file;
	char		**argv;
	char		*type;

	void		*child;			/* private */
};

/*
 * Does nothing, even to a request that has been submitted.  May be called from
 * any thread and from signal handlers.
 */
static inline void IV_POPEN_REQUEST_INIT(struct iv_popen_request *r)
{
	(void)r;
}

/*
 * Runs the program, with the calling thread as the owner.  Returns the caller's
 * end of the pipe, which is in blocking mode, close-on-exec and none of the
 * standard descriptors, and which the caller closes.  Returns -1 with errno set
 * and nothing left behind on failure (EINVAL: type; EAGAIN, EMFILE, ENFILE,
 * ENOMEM, ENOSPC).  A program that cannot be executed is a child that exits
 * with status 1.  The child keeps iv_main() running until it has terminated.  A
 * program of an earlier submission that is still running keeps running, and can
 * no longer be closed.  May be called from any thread that has a loop.  The
 * private member need not be initialised.
 */
int iv_popen_request_submit(struct iv_popen_request *r);

/*
 * Gives up the program: while it runs, it is sent SIGTERM up to five times in
 * 20 seconds, and then SIGKILL, until it terminates or a signal cannot be sent.
 * Does not close the descriptor.  Does nothing if the submission failed, the
 * program has terminated or the request has been closed.  The memory may be
 * freed at once.  May be called from the owner, including any of its handlers.
 */
void iv_popen_request_close(struct iv_popen_request *r);

#ifdef __cplusplus
}
#endif

#endif
