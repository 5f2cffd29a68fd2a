#!/bin/sh
# libivykis: the checks of the manual and of other text notice mistakes.  All
# mistakes are made in one copy of the sources, and each causes its complaint.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, TOP_SRCDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
needs mandoc mandoc

copy=$dir/copy

make_copy()
{
	mkdir "$copy" &&
	(cd "$TOP_SRCDIR" && tar -c --exclude='*.o' --exclude='.libs' \
		README README.md CONTRIBUTING.md NEWS RELEASING.md SECURITY.md \
		COPYING bootstrap configure.ac src examples test doc man3 bench \
		packaging) | tar -x -C "$copy"
}

# mistake FILE SED COMPLAINT [PROGRAM]: noticing it needs the program.
mistake()
{
	cp "$copy/$1" "$dir/before" &&
	sed -i "$2" "$copy/$1" &&
	! cmp -s "$copy/$1" "$dir/before" || echo "$1: $2" >>"$dir/unchanged"
	printf '%s\t%s\t%s\n' "$1" "${4-mandoc}" "$3" >>"$dir/complaints"
}

make_mistakes()
{
	# man_lint.sh
	mistake man3/iv_task.3 "\$a .Foo" 'unknown macro: .Foo'
	mistake man3/iv_fd.3 's/^\.It Bq Er EPERM$/.It Bq Er EPERM , Bq Er EIO/' \
		'iv_fd.3: nested brackets'
	mistake man3/iv_signal.3 's/^\.It Bq Er ENFILE/.It Bq Er ENFIEL/' \
		'iv_signal.3: ERRORS: no such errno: ENFIEL'
	mistake man3/iv_popen.3 's/^\.It Bq Er EINVAL/.It Bq Er EACCES/' \
		'iv_popen.3: ERRORS: EACCES after EAGAIN'
	mistake man3/iv_event.3 '/^The user has reached/,/max_user_watches/d' \
		'iv_event.3: ERRORS: ENOSPC is not explained'
	mistake man3/iv_inotify.3 \
		'/^\.Fn iv_inotify_register$/{N;/\nfails with:$/d;}' \
		'iv_inotify.3: ERRORS: no function before EMFILE'
	mistake src/include/iv_signal.h 's/ENFILE, ENOMEM/ENOTTY, ENOMEM/' \
		'iv_signal.h: ENOTTY is on no page'
	mistake man3/iv_tls.3 's/^\.Fn iv_tls_user_ptr "const /.Fn iv_tls_user_ptr "/' \
		'iv_tls.3: .*conflicting types'
	mistake man3/iv_avl.3 '/^\.Sh RETURN/,$s/^\.Fn iv_avl_tree_max ,//' \
		'iv_avl.3: RETURN VALUES has no iv_avl_tree_max'
	mistake man3/iv_fatal.3 's/^\.Os .*/.Os/' \
		'iv_fatal.3: header or footer'
	mistake man3/iv_quit.3 's/^\.Sh THREAD SAFETY/.Sh THREADS/' \
		'iv_quit.3: no THREAD SAFETY'
	mistake man3/ivykis.3 '/^\.Fn iv_inited ,$/d' \
		'AS-Safe here, not there: iv_inited'
	mistake man3/iv_tls.3 's/ptr Ta MT-Safe Ta AS-Safe/ptr Ta MT-Safe Ta AS-Unsafe/' \
		'iv_tls_user_ptr: its header differs from AS-Unsafe'
	mistake man3/iv_loop_fd.3 's/in version 0\.45/in version 0.44/' \
		'iv_loop_fd.3: HISTORY: no iv_loop_fd, version 0.45'
	mistake man3/iv_main_once.3 's/^\.Xr iv_quit 3 ,$/.Xr iv_quitt 3 ,/' \
		'iv_main_once.3: refers to iv_quitt.3'
	mistake man3/iv_wait.3 's/see Xr prctl 2/see Xr prctrl 2/' \
		'iv_wait.3: refers to prctrl.2'
	mistake man3/iv_examples.3 's/^\.It Pa watch\.c/.It Pa wash.c/' \
		'does not know watch.c'
	mistake man3/iv_now.3 's/iv_time/iv_task/' 'iv_now.3: leads to iv_task.3'
	mistake src/libivykis.ver 's/^\tiv_quit;/&\n\tiv_quit_now;/' \
		'iv_quit_now: no page'
	mistake man3/iv_work.3 's/^\.Nd thread pool/.Nd pool of threads/' \
		'apropos "thread pool" does not find iv_work' mandb

	# text.sh
	mistake man3/iv_event.3 's/^An event lets/An event letts/' \
		'iv_event.3:letts' aspell
	mistake src/include/iv_wait.h 's/ whenever the child/ wheneva the child/' \
		'iv_wait.h:wheneva' aspell
	mistake README.md '1a The behavior of loops.' 'README.md:behavior' \
		aspell
	mistake packaging/debian/control 's/library/libary/' \
		'libary ==> library' codespell
	mistake man3/iv_avl.3 '$a >>>>>>> 0123456' 'iv_avl.3:.*>>>>>>> 0123456'
	mistake src/include/iv_tls.h '1a \ * See iv_tsl(3).' 'no page iv_tsl.3'
	mistake CONTRIBUTING.md 's,test/abi\.sh,test/aby.sh,' \
		'CONTRIBUTING.md: no file test/aby.sh'
	mistake src/README '1a iv_fdd.c is a file.' \
		'src/README: no file src/iv_fdd.c'
	mistake src/iv_main.c '1a \ * See iv_tme.c.' \
		'src/iv_main.c: no file iv_tme.c'
	mistake README.md 's/](NEWS)/](NEWZ)/' 'README.md: no file NEWZ'
	mistake README.md 's/](SECURITY\.md)/](SECURITY.md#nowhere)/' \
		'README.md: no heading SECURITY.md#nowhere'

	# html.sh
	mistake doc/html.awk 's/is_anchor = is_here/is_anchor = 0 \&\& is_here/' \
		'html#.*: no such place'
	mistake doc/html.sh 's/"<dd>\$(line_of/"<dd>x$(line_of/' \
		'not there: <a href'
	mistake doc/html.awk 's/^\tbreak_names()$//' \
		'not ok .*names in tables may be broken'
	test ! -e "$dir/unchanged" || {
		cat "$dir/unchanged"
		return 1
	}
}

run_checks()
{
	for check in man_lint text html; do
		TOP_SRCDIR=$copy VERSION_SCRIPT=$copy/src/libivykis.ver \
			"$copy/test/$check.sh"
	done >"$dir/says" 2>&1
	grep '^not ok' "$dir/says"
}

is_noticed()
{
	grep -q "$1" "$dir/says"
}

verdict "the sources are copied" make_copy
verdict "each mistake changes a file" make_mistakes
verdict "the checks fail" run_checks
while IFS='	' read -r file program complaint; do
	if command -v "$program" >/dev/null; then
		verdict "$file: $complaint" is_noticed "$complaint"
	else
		skip "$file: $complaint" "$program is not installed"
	fi
done <"$dir/complaints"
echo "1..$num"
