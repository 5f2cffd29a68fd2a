#!/bin/sh
# libivykis: checks of the manual.  mandoc(1) has no complaints, apropos(1)
# finds each page, an alias leads to a page that names it, and each exported
# function has a page that declares it like its header and says what it returns.
# The output is TAP.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#	man_lint.sh			all
#	man_lint.sh WORD		verdicts whose name contains WORD
#
# Environment: CC, MAN_DIR, TOP_SRCDIR, VERSION_SCRIPT.

TOP_SRCDIR=$(cd "${TOP_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 1
: "${MAN_DIR:=$TOP_SRCDIR/man3}"
: "${VERSION_SCRIPT:=$TOP_SRCDIR/src/libivykis.ver}" "${CC:=cc}"

if ! command -v mandoc >/dev/null; then
	echo '1..0 # SKIP mandoc is not installed'
	exit 0
fi

# Relative to the caller's directory, which is left below.
script=$(cd "$(dirname "$VERSION_SCRIPT")" && pwd)/${VERSION_SCRIPT##*/}
include=$(cd "$TOP_SRCDIR/src/include" && pwd)
cd "$MAN_DIR" || exit 1

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

only=${1-}
n=0
bad=0
# verdict NAME COMMAND...: passes if the command has no complaints.
verdict()
{
	subject=$1
	shift
	case $subject in *"$only"*) ;; *) return ;; esac
	n=$((n + 1))
	complaints=$("$@")
	if [ -z "$complaints" ]; then
		echo "ok $n - $subject"
	else
		echo "not ok $n - $subject"
		echo "$complaints" | sed 's/^/# /'
		bad=$((bad + 1))
	fi
}

# skip NAME PROGRAM
skip()
{
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2 is not installed"
}

# each COMMAND: runs it for each page.
each()
{
	for page in $(pages); do
		"$1" "$page"
	done
}

# Pages of the system that ours refer to need not be installed.  By default
# mandoc also applies the rules of NetBSD and OpenBSD for their own pages, such
# as an .Os without a name.
lint()
{
	mandoc -Tlint -Wstyle "$1" 2>/dev/null |
	sed '/referenced manual not found: Xr iv/!{
		/referenced manual not found/d
	}'
}

alias_complaint()
{
	target=$(sed -n 's|^\.so man3/\(.*\)$|\1|p' "$1")

	[ -f "$target" ] && ! grep -q '^\.so ' "$target" &&
	grep -q "^\.Nm ${1%.[0-9]}\( ,\)*\$" "$target" &&
	return
	echo "$1: leads to $target, which does not name it"
}

exported()
{
	sed -n 's/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\);$/\1/p' "$script" |
	grep -vx -e __iv_now_location -e __iv_now_location_valid
}

# Lists the pages that are not aliases.
pages()
{
	grep -L '^\.so ' ./*.3 | sed 's,^\./,,'
}

rendered()
{
	mandoc -Tutf8 "$1" 2>/dev/null | sed 's/.\x08//g'
}

# Enclosing macros extend to the end of the line, which gives [A, [B]] instead
# of [A], [B].
nested_brackets()
{
	rendered "$1" | sed -n '/^ERRORS/,/^[A-Z]/p' |
	grep '\[[^]]*\[' | sed "s/^/$1: nested brackets: /"
}

# section PAGE NAME
section()
{
	awk -v name="$2" '
	/^\.Sh/	{ inside = substr($0, 5) == name; next }
	inside	{ print }
	' "$1"
}

# In ERRORS each item is one errno that exists.  Items are in alphabetical
# order, the last one has an explanation, and a function is named before each
# list.
errors_complaint()
{
	section "$1" ERRORS | awk -v page="$1" -v known="$errnos" '
	function complain(text) { print page ": ERRORS: " text }
	/^\.Fn/			{ function_named = 1 }
	/^\.Bl/			{ last = "" }
	/^\.El/			{
		if (last != "" && !explained)
			complain(last " is not explained")
		last = ""
		function_named = 0
	}
	/^\.It Bq Er/	{
		if (last == "" && !function_named)
			complain("no function before " $4)
		if ($0 !~ /^\.It Bq Er E[A-Z0-9]+$/)
			complain("not one errno: " $0)
		else if (!index(known, " " $4 " "))
			complain("no such errno: " $4)
		if ($4 "" <= last "")
			complain($4 " after " last)
		last = $4
		explained = 0
	}
	/^[^.]/			{ explained = 1 }
	'
}

# The names of errno in a file's text or comments.
errnos_in()
{
	grep -o '\<E[A-Z0-9]\{3,\}\>' "$1" | sort -u | while read -r name; do
		case $errnos in *" $name "*) echo "$name" ;; esac
	done
}

# Each errno that a header names is also on a page of its functions.
header_errors_complaint()
{
	for header in "$include"/iv*.h; do
		grep -l "^\.In ${header##*/}\$" $(pages) | while read -r page; do
			section "$page" "RETURN VALUES"
			section "$page" ERRORS
		done >"$tmp/errors"
		for name in $(errnos_in "$header"); do
			grep -qw "$name" "$tmp/errors" ||
				echo "${header##*/}: $name is on no page"
		done
	done
}

# Prints type<TAB>name(arguments) for each function of a synopsis.  Macros that
# are statements have no type; those with one have "type *".
synopsis()
{
	section "$1" SYNOPSIS | awk '
	function unquoted(text) {
		gsub(/"/, "", text)
		return text
	}
	function arguments(text,	list) {
		while (match(text, /^ *("[^"]*"|[^ ]+)/)) {
			list = list (list == "" ? "" : ", ") \
				unquoted(substr(text, RSTART, RLENGTH))
			text = substr(text, RSTART + RLENGTH)
		}
		gsub(/ +/, " ", list)
		sub(/^ /, "", list)
		return list
	}
	function put(name, list) {
		gsub(/, +/, ", ", list)
		if (type != "" && type != "type *")
			printf "%s\t%s(%s)\n", type, name, list
		type = ""
	}
	/^\.Ft/	{ type = unquoted(substr($0, 5)) }
	/^\.Fn/	{
		rest = substr($0, 5)
		name = rest
		sub(/ .*/, "", name)
		put(name, arguments(substr(rest, length(name) + 1)))
	}
	/^\.Fo/	{ name = $2; list = "" }
	/^\.Fa/	{
		list = list (list == "" ? "" : ", ") \
			arguments(substr($0, 5))
	}
	/^\.Fc/	{ put(name, list) }
	'
}

# Lists the functions and macros of a synopsis.
synopsis_names()
{
	section "$1" SYNOPSIS | sed -n 's/^\.F[no] \([^ ]*\).*/\1/p' | sort -u
}

# Declares each function as the page does, after including its header, so that a
# C compiler compares the two.  Macros cannot be compared.
write_declarations()
{
	sed -n 's/^\.In \(iv.*\)$/#include <\1>/p' "$1"
	echo '#include <stdarg.h>'
	synopsis "$1" | while IFS='	' read -r type function; do
		name=${function%%(*}
		cat <<-END
		#ifndef $name
		extern __typeof__($name) $name;
		$type ($name)(${function#*(};
		#endif
		END
	done
}

synopsis_complaint()
{
	write_declarations "$1" >"$tmp/synopsis.c"
	[ "$(synopsis "$1" | wc -l)" = \
		"$(section "$1" SYNOPSIS | grep '^\.Ft' | grep -vc '"type \*"')" ] ||
		echo "$1: a function of the synopsis was not understood"
	$CC -std=gnu11 -I"$include" -w -fsyntax-only "$tmp/synopsis.c" 2>&1 |
		grep 'error' | sed "s/^/$1: /"
}

# Lists the functions of a synopsis whose type is not void.
returning()
{
	synopsis "$1" | sed -n '/^void	/!s/^[^	]*	\([^(]*\)(.*/\1/p'
}

# RETURN VALUES says what each function returns; if that involves errno, the
# page also says which values it may have.
returns_complaint()
{
	section "$1" "RETURN VALUES" >"$tmp/returns"
	section "$1" ERRORS >"$tmp/errors"
	for function in $(returning "$1"); do
		grep -q "^\.Fn $function\( [,.]\)*\$" "$tmp/returns" ||
			echo "$1: RETURN VALUES has no $function"
	done
	grep -q '^\.Va errno' "$tmp/returns" || return 0
	grep -q '^\.Er E' "$tmp/returns" ||
	grep -q '^\.It Bq Er E' "$tmp/errors" ||
		echo "$1: RETURN VALUES has errno, and ERRORS has none"
}

# Pages without functions, which have sections of their own.
other_pages='iv_examples ivykis'

is_other()
{
	for name in $other_pages; do
		[ "$name" != "$1" ] || return 0
	done
	return 1
}

# The sections of a page, in order.  A name ending in `?' may be missing.  As on
# Linux, errors come before the example; mandoc wants EXAMPLES to come first, so
# the section has another name.
sections='NAME
LIBRARY
SYNOPSIS
DESCRIPTION
RETURN VALUES?
ENVIRONMENT?
FILES?
ERRORS?
THREAD SAFETY
NOTES?
EXAMPLE PROGRAM
SEE ALSO
HISTORY?
CAVEATS?'

# Complains about sections that are missing, out of order or not in the list,
# and about functions for which THREAD SAFETY has no line.
structure_complaint()
{
	sed -n 's/^\.Sh //p' "$1" | sed 's/^EXAMPLE PROGRAMS$/EXAMPLE PROGRAM/' |
	awk -v page="$1" -v list="$sections" '
	BEGIN { num = split(list, name, "\n") }
	{
		while (++at <= num && name[at] != $0 && name[at] != $0 "?") {
			if (name[at] !~ /\?$/)
				print page ": no " name[at] " before " $0
		}
		if (at > num) {
			print page ": out of order or unknown: " $0
			exit
		}
	}'
	section "$1" "THREAD SAFETY" | sed -n 's/^\.It \(.*\) Ta .*/\1/p' \
		>"$tmp/threads"
	for function in $(synopsis_names "$1"); do
		grep -qw -e "$function" -e 'all functions' "$tmp/threads" ||
			echo "$1: THREAD SAFETY has no line for $function"
	done
}

# Lists the functions that signal handlers may call.
signal_safe()
{
	each signal_safe_of | sort -u
}

signal_safe_of()
{
	section "$1" "THREAD SAFETY" |
		sed -n 's/^\.It Fn \(iv[a-z_]*\) Ta .* Ta AS-Safe$/\1/p'
}

# ivykis(3) lists the same functions.
signal_safe_complaint()
{
	signal_safe >"$tmp/safe"
	awk '
	/^\.S[hs]/	{ inside = $0 == ".Ss Signals" }
	inside && /^\.Fn/ && $2 != "iv_main" { print $2 }
	' ivykis.3 | sort -u | diff "$tmp/safe" - |
		sed -n 's/^[<>]/ivykis.3: Signals: AS-Safe here, not there:/p'
}

# Prints function<TAB>1 if the header's comment says that signal handlers may
# call it, else function<TAB>0.
header_functions()
{
	awk '
	/^\/\*/		{ comment = ""; inside = 1 }
	inside		{
		inside = !/\*\/$/
		sub(/^ \*/, "")
		comment = comment " " $0
		next
	}
	/^$/		{ comment = "" }
	/^(#define )?[a-z].*\(/ && match($0, /(iv|IV)_[A-Za-z_]*\(/) {
		print substr($0, RSTART, RLENGTH - 1) "\t" \
			(comment ~ /signal +handlers/)
	}
	' "$include"/iv*.h | sort
}

# The headers say the same as THREAD SAFETY.
header_safety_complaint()
{
	header_functions >"$tmp/header_functions"
	for page in $(pages); do
		section "$page" "THREAD SAFETY" | sed -n \
			's/^\.It Fn \([A-Za-z_]*\) Ta .* Ta AS-\(.*\)$/\1 \2/p'
	done | while read -r name safe; do
		case $safe in Safe) says=1 ;; *) says=0 ;; esac
		grep -qx "$name	$says" "$tmp/header_functions" ||
			echo "$name: its header differs from AS-$safe"
	done
}

# Prints version<TAB>function for each function that 0.43 does not have.
new_functions()
{
	awk '
	/^IVYKIS_/	{ version = substr($1, 8) }
	/^\t[a-z_]*;$/ && version > "0.43" {
		print version "\t" substr($1, 1, length($1) - 1)
	}
	' "$script"
	sed -n 's/^#ifndef \(IV_LIST_HEAD\|iv_[a-z_]*\).*/0.45	\1/p' \
		"$include/iv_list.h"
}

page_of()
{
	sed -n 's|^\.so man3/||p' "$1.3" | grep . || echo "$1.3"
}

# HISTORY says in which version they appeared.
history_complaint()
{
	new_functions | while IFS='	' read -r version function; do
		page=$(page_of "$function")
		section "$page" HISTORY | tr '\n' ' ' |
		grep -q "\.Fn $function .*version $version\>" ||
			echo "$page: HISTORY: no $function, version $version"
	done
}

# Searches, and the page that each has to find.  Every page has one.
searches()
{
	cat <<-END
	binary search tree	iv_avl
	busy poll	iv_set_busy_poll
	child process	iv_wait
	copy a stream	iv_fd_pump
	create .* event loop	iv_init
	current time	iv_time
	deferred	iv_task
	directory change	iv_inotify
	embed	iv_loop_fd
	event loop	ivykis
	event-driven	iv_examples
	fatal error	iv_fatal
	file descriptor	iv_fd
	inotify	iv_inotify
	iteration	iv_main_once
	linked list	iv_list
	pipe	iv_popen
	relative timeout	iv_timer
	run an event loop	iv_main
	run a command	iv_popen
	signal	iv_signal
	splice	iv_fd_pump
	stop an event loop	iv_quit
	thread-local	iv_tls
	thread pool	iv_work
	threads	iv_thread
	timer	iv_timer
	timer	iv_timer_register_in_ms
	wake up	iv_event
	wake up	iv_event_raw
	END
}

# Makes a database that has only these pages.
make_database()
{
	mkdir -p "$tmp/man/man3" &&
	cp ./*.3 "$tmp/man/man3" &&
	printf '%s\n' "MANDATORY_MANPATH $tmp/man" "SECTION 3" \
		"MANDB_MAP $tmp/man $tmp/man" >"$tmp/man_db.conf" &&
	mandb -c -q -C "$tmp/man_db.conf"
}

apropos_complaint()
{
	make_database 2>&1
	searches >"$tmp/searches"
	while IFS='	' read -r words name; do
		apropos -C "$tmp/man_db.conf" -M "$tmp/man" "$words" 2>&1 |
			grep -q "^$name (3) " ||
			echo "apropos \"$words\" does not find $name"
	done <"$tmp/searches"
	for page in $(pages); do
		grep -q "	${page%.3}\$" "$tmp/searches" ||
			echo "no search for $page"
	done
}

# The pages of the system that ours may refer to.  They need not be installed.
system_pages='_exit.2 abort.3 accept.2 attributes.7 chroot.2 clock_gettime.2
close.2 connect.2 dlclose.3 dlopen.3 dup2.2 epoll.7 epoll_ctl.2 epoll_pwait2.2
epoll_wait.2 eventfd.2 execve.2 execvp.3 exit.3 fcntl.2 fork.2 fstat.2
getaddrinfo.3 getsockopt.2 gettid.2 inotify.7 inotify_add_watch.2 io_uring.7
kill.2 kqueue.2 listen.2 longjmp.3 open.2 perf.1 pidfd_open.2 pipe.2 pipe2.2
pkg-config.1 poll.2 popen.3 ppoll.2 prctl.2 printf.3 ps.1 pthread_atfork.3
pthread_create.3 pthread_exit.3 pthread_join.3 pthread_key_create.3
pthread_setname_np.3 pthreads.7 raise.3 read.2 secure_getenv.3 shutdown.2
sigaction.2 sigaltstack.2 siglongjmp.3 signal-safety.7 signal.7 splice.2 sysfs.5
syslog.3 system.3 timerfd_create.2 timerfd_settime.2 top.1 unix.7 wait.2 wait4.2
waitpid.2 write.2'

# Lists the pages that a page refers to, including those after another macro.
references()
{
	sed -n '/^\./{ :a
		s/^\(.*[. ]\)Xr \([^ ]*\) \([0-9]\)\(.*\)/\1\4\n\2.\3/
		ta
		p
	}' "$1" | grep '^[^. ][^ ]*\.[0-9]$' | sort -u
}

# Each page that another one refers to exists.
references_complaint()
{
	references "$1" | while read -r target; do
		case $target in
		iv*) [ -f "$target" ] && continue ;;
		*) echo "$system_pages" | tr ' ' '\n' | grep -qxF "$target" &&
			continue ;;
		esac
		echo "$1: refers to $target"
	done
	section "$1" "SEE ALSO" | grep -q '^\.Xr iv' ||
		echo "$1: SEE ALSO names no page of the manual"
	section "$1" "SEE ALSO" | grep "^\.Xr ${1%.3} 3" |
		sed "s/^/$1: SEE ALSO names the page itself: /"
}

programs_complaint()
{
	grep -l '^int main(' "$TOP_SRCDIR"/examples/*.c \
		"$TOP_SRCDIR"/examples/*.cc | while read -r program; do
		grep -q "^\.It Pa.* ${program##*/}\( \|\$\)" iv_examples.3 ||
			echo "iv_examples.3: does not know ${program##*/}"
	done
}

structure_of()
{
	if ! is_other "${1%.3}"; then
		structure_complaint "$1"
	elif [ -z "$(structure_complaint "$1")" ]; then
		echo "$1: has the structure, and is in other_pages"
	fi
}

# What groff and mandoc put above and below a page names the project.
frame_complaint()
{
	grep -q '^\.ds doc-volume-operating-system libivykis\\"' "$1" &&
	grep -qx '\.Os libivykis' "$1" ||
		echo "$1: header or footer does not name libivykis"
}

alias_complaints()
{
	for page in *.[0-9]; do
		if grep -q '^\.so ' "$page"; then
			alias_complaint "$page"
		fi
	done
}

exported_complaint()
{
	[ -n "$(exported)" ] || echo "$script: no function found"
	each synopsis | sed 's/.*	\([^(]*\)(.*/\1/' | sort >"$tmp/declared"
	for function in $(exported); do
		[ -f "$function.3" ] || echo "$function: no page"
		grep -qx "$function" "$tmp/declared" ||
			echo "$function: in no synopsis"
	done
}

errnos=" $(echo '#include <errno.h>' | $CC -E -dM -x c - |
	sed -n 's/^#define \(E[A-Z0-9]*\) .*/\1/p' | tr '\n' ' ')"

for page in $(pages); do
	verdict "$page" lint "$page"
done
verdict 'headers and footers' each frame_complaint
verdict 'nested brackets' each nested_brackets
verdict 'lists of errors' each errors_complaint
verdict 'headers name errors of their pages' header_errors_complaint
verdict 'functions are declared as in the headers' each synopsis_complaint
verdict 'what functions return' each returns_complaint
verdict 'structure' each structure_of
verdict 'ivykis(3) lists what signal handlers may call' signal_safe_complaint
verdict 'headers and pages agree about signal handlers' header_safety_complaint
verdict 'the history of new functions' history_complaint
verdict 'references' each references_complaint
verdict 'programs in examples/' programs_complaint
verdict 'aliases' alias_complaints
verdict 'exported functions' exported_complaint
if command -v mandb >/dev/null && command -v apropos >/dev/null; then
	verdict 'apropos' apropos_complaint
else
	skip 'apropos' man-db
fi
echo "1..$n"
[ "$bad" -eq 0 ]
