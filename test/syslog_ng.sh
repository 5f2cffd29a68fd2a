#!/bin/sh
# libivykis: Debian's syslog-ng runs on the library of this tree: no message is
# lost, doubled or garbled while syslog-ng reloads again and again.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, TOP_SRCDIR, TOP_BUILDDIR; RELOADS: how many,
# RELOADS_MEMCHECK: how many under valgrind.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"

lib=$TOP_BUILDDIR/src/.libs
: "${RELOADS:=20}" "${RELOADS_MEMCHECK:=4}"

PATH=$PATH:/usr/sbin
needs syslog-ng syslog-ng-core
cd "$dir" || exit 1

build_sender()
{
	$CC -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror \
		"$TOP_SRCDIR/test/syslog_ng_sender.c" -o sender
}

# With flow-control, every message that was read is written.
write_config()
{
	version=$(syslog-ng --version | sed -n 's/^Config version: //p')
	cat >conf <<END
@version: $version
options { use-dns(no); dns-cache(no); stats-freq(0); time-reopen(1); };
source s {
	network(ip("127.0.0.1") port($1) transport("tcp")
		max-connections(20) log-iw-size(2000));
	unix-stream("$PWD/stream" max-connections(20) log-iw-size(2000));
	unix-dgram("$PWD/dgram");
};
destination d { file("$PWD/log" template("\$PRI \$MSGHDR\$MSG\\n")); };
log { source(s); destination(d); flags(flow-control); };
END
}

# start [COMMAND...]: runs syslog-ng, by this command if there is one.
start()
{
	rm -f log said sent.* persist
	for port in 15140 25140 35140 45140 55140; do
		write_config $((port + $$ % 1000))
		LD_LIBRARY_PATH=$lib MALLOC_PERTURB_=165 "$@" syslog-ng \
			--foreground --stderr --verbose --no-caps \
			--cfgfile=conf --persist-file=persist --control=ctl \
			--pidfile=pid --worker-threads=4 >said 2>&1 &
		server=$!
		running=$server
		until_true $server grep -q 'starting up' said && return
		grep -q 'Address already in use' said || break
	done
	cat said
	return 1
}

uses_ours()
{
	grep libivykis "/proc/$server/maps"
	test "$(awk '/libivykis/ { print $6 }' "/proc/$server/maps" | sort -u)" = \
		"$(readlink -f "$lib/libivykis.so.0")"
}

# send NAME NUM KIND ADDRESS
send()
{
	./sender "$@" >"sent.$1" 2>"sender.$1" &
	names="$names $1"
	senders="$senders $!"
	running="$running $!"
}

start_senders()
{
	names=
	senders=
	port=$(sed -n 's/.*port(\([0-9]*\)).*/\1/p' conf)
	send tcp0 0 tcp "$port"
	send tcp10 10 tcp "$port"
	send tcp3000 3000 tcp "$port"
	send stream0 0 stream stream
	send stream100 100 stream stream
	send dgram0 0 dgram dgram
	send dgram20 20 dgram dgram
}

each_has_sent()
{
	for who in $names; do
		grep -q "sender: $who " log || return 1
	done
}

has_workers()
{
	test "$(find "/proc/$server/task" -mindepth 1 -maxdepth 1 | wc -l)" -gt 3
}

reloaded()
{
	test "$(grep -c 'Configuration reload finished' said)" -ge "$1"
}

reload_under_load()
{
	start_senders
	until_true "$server" each_has_sent &&
	until_true "$server" has_workers || return 1

	reload=0
	while [ $reload -lt "$1" ]; do
		reload=$((reload + 1))
		kill -HUP "$server"
		until_true "$server" reloaded $reload || return 1
	done
	bad=
	for sender in $senders; do
		kill -TERM "$sender"
		wait "$sender" || bad=1
	done
	running=$server
	cat sender.*
	test -z "$bad"
}

all_is_written()
{
	test "$(wc -l <log)" -ge "$(cat sent.* | wc -l)"
}

# The log has what was acknowledged to each sender, once and in order, and
# nothing else.
log_is_right()
{
	until_true "$server" all_is_written
	for who in $names; do
		test -s "sent.$who" || return 1
		grep "sender: $who " log | cmp - "sent.$who" || return 1
	done
	test "$(wc -l <log)" = "$(cat sent.* | wc -l)"
}

# Senders still run only if something has failed.
ends()
{
	kill -TERM "$server"
	wait "$server"
	status=$?
	for process in $running; do
		[ "$process" = "$server" ] || kill -9 "$process"
	done
	running=
	tail -n 3 said
	test $status = 0
}

# Prints the errors whose innermost frame is in this library, apart from frames
# in the libc and in valgrind.
errors_of_ours()
{
	awk -F '[<>]' '
	/<error>/			{ judged = 0 }
	/<what>|<text>/			{ what = $3 }
	/<frame>/			{ obj = fn = file = line = "" }
	/<obj>/				{ obj = $3 }
	/<fn>/				{ fn = $3 }
	/<file>/			{ file = $3 }
	/<line>/			{ line = $3 }
	/<\/frame>/ && !judged && obj !~ /\/(libc|ld-linux|vgpreload)[^\/]*$/ {
		judged = 1
		others += obj !~ /libivykis/
		if (obj ~ /libivykis/)
			print what ": " fn " (" file ":" line ")"
	}
	END {
		print others + 0 " found elsewhere" >"elsewhere"
	}' memcheck
}

nothing_found()
{
	grep -q '</valgrindoutput>' memcheck || return 1
	errors_of_ours >ours
	cat ours
	test ! -s ours
}

verdict "the sender compiles" build_sender
verdict "syslog-ng starts" start
verdict "syslog-ng has loaded the library of this tree and no other" uses_ours
verdict "syslog-ng reloads $RELOADS times while seven senders send" \
	reload_under_load "$RELOADS"
verdict "the log has what was acknowledged, once and in order" log_is_right
echo "# $(wc -l <log) messages"
verdict "syslog-ng ends with status 0 on SIGTERM" ends

if command -v valgrind >/dev/null; then
	verdict "syslog-ng starts under memcheck" start valgrind \
		--xml=yes --xml-file=memcheck --leak-check=full \
		--show-leak-kinds=definite --num-callers=30 --
	verdict "syslog-ng reloads $RELOADS_MEMCHECK times under memcheck" \
		reload_under_load "$RELOADS_MEMCHECK"
	verdict "the log is right under memcheck" log_is_right
	echo "# $(wc -l <log) messages"
	verdict "syslog-ng ends with status 0 under memcheck" ends
	verdict "memcheck finds nothing in this library" nothing_found
	echo "# $(cat elsewhere)"
else
	skip "memcheck finds nothing in this library" \
		"valgrind is not installed"
fi
echo "1..$num"
