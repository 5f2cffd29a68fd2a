#!/bin/sh
# libivykis: hiredis and its adapter for this library, with a redis server: all
# replies arrive in order, and the loop ends with the connection.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, TOP_SRCDIR, TOP_BUILDDIR; COMMANDS: how many for each method.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
cd "$dir" || exit 1

lib=$TOP_BUILDDIR/src/.libs
: "${COMMANDS:=200000}"

if ! [ -f /usr/include/hiredis/adapters/ivykis.h ]; then
	echo "1..0 # SKIP libhiredis-dev is not installed"
	exit 0
fi
needs redis-server redis-server

build()
{
	$CC -std=gnu11 -O2 -g -Wall -Werror -I"$TOP_SRCDIR/src/include" \
		"$TOP_SRCDIR/test/hiredis_client.c" -o client \
		-L"$lib" -Wl,-rpath,"$lib" -livykis -lhiredis
}

uses_ours()
{
	LD_TRACE_LOADED_OBJECTS=1 ./client | tee loaded
	grep -q "libivykis.so.0 => $lib/libivykis.so.0 " loaded
}

ping()
{
	redis-cli -s redis ping 2>&1 | grep -q PONG
}

# The socket's path is relative, as an absolute one may be too long.
start_server()
{
	redis-server --port 0 --unixsocket redis --save '' --appendonly no \
		--daemonize no --logfile server.log &
	server=$!
	running=$server
	until_true $server ping || {
		cat server.log
		return 1
	}
}

# commands METHODS: with these poll methods excluded.
commands()
{
	redis-cli -s redis flushall &&
	IV_EXCLUDE_POLL_METHOD=$1 ./client redis "$COMMANDS"
}

server_ends()
{
	./client redis && wait "$server"
}

verdict "the adapter compiles with these headers, without a warning" build
verdict "the client runs on the library that was built" uses_ours
verdict "a redis server starts" start_server
verdict "$COMMANDS commands are answered in order (epoll-timerfd)" \
	commands ""
verdict "$COMMANDS commands are answered in order (epoll)" \
	commands "epoll-timerfd"
verdict "$COMMANDS commands are answered in order (ppoll)" \
	commands "epoll-timerfd epoll"
verdict "$COMMANDS commands are answered in order (poll)" \
	commands "epoll-timerfd epoll ppoll"
verdict "the loop ends with the server" server_ends
running=
echo "1..$num"
