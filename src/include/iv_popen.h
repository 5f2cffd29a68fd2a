/*
 * libivykis: a program run with a pipe to it.
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#ifndef __IV_POPEN_H
#define __IV_POPEN_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The program file, searched for in PATH, and its arguments, ended by NULL.
 * type "r": the caller reads its standard output; "w": the caller writes its
 * standard input.  Its other standard descriptors are /dev/null.
 */
struct iv_popen_request {
	char		*file;
	char		**argv;
	char		*type;

	void		*child;			/* private */
};

/* Does nothing, also to a request that was submitted.  Any thread. */
static inline void IV_POPEN_REQUEST_INIT(struct iv_popen_request *r)
{
	(void)r;
}

/*
 * Run the program.  Returns the caller's end of the pipe, blocking,
 * close-on-exec, none of the standard descriptors and the caller's to close; or
 * -1 with errno and nothing left behind (EINVAL: type; EAGAIN, EMFILE, ENFILE,
 * ENOMEM, ENOSPC).  A program that cannot be executed is a child that exits
 * with 1.  Loop thread; iv_main() does not return by itself before the child
 * was waited for.  The child of an earlier submission that still lives is left
 * to itself.
 */
int iv_popen_request_submit(struct iv_popen_request *r);

/*
 * Give the child up; if it lives it gets SIGTERM, up to five times in 20
 * seconds, and then SIGKILL, unless a signal is refused.  Does not close the
 * descriptor; does nothing after a failed submit or a second time.  The memory
 * may be freed at once.  Owner, any handler.
 */
void iv_popen_request_close(struct iv_popen_request *r);

#ifdef __cplusplus
}
#endif

#endif
