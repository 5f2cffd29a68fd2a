#!/bin/sh
# Tests of the examples as a user runs them.
# Environment: CC, TOP_SRCDIR, TOP_BUILDDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"

examples=$TOP_BUILDDIR/examples

columns()
{
	awk '{ print $1, $2, $3, $4 }'
}

hello()
{
	test "$("$examples/hello")" = "hello, loop"
}

# counts FILE...: as wc counts them, in this locale.
counts()
{
	"$examples/pwc" "$@" 2>"$dir/err" | columns >"$dir/pwc" || return 1
	wc "$@" | columns | diff - "$dir/pwc"
}

make_files()
{
	printf 'one line, no end' >"$dir/open"
	: >"$dir/empty"
	printf '\n\n \t\n' >"$dir/blank"
	printf 'na\303\257ve caf\303\251\302\240au lait\n' >"$dir/utf8"
	# A character across each block's end, wherever that is.
	awk 'BEGIN { for (i = 0; i < 100000; i++) printf "\303\251\342\202\254 " }' \
		>"$dir/cut"
	printf '\200\201 \377\n\001 \002\342\202' >"$dir/rubbish"
}

in_locale()
{
	LC_ALL=$1 counts "$dir/open" "$dir/empty" "$dir/blank" "$dir/utf8" \
		"$dir/cut" "$dir/rubbish" "$examples/pwc.o"
}

many_files()
{
	mkdir "$dir/many"
	for i in 1 2 3 4 5 6 7 8 9; do
		for j in 1 2 3 4 5 6 7 8 9; do
			echo $i $j >"$dir/many/$i$j"
		done
	done
	counts "$dir"/many/*
}

unreadable()
{
	"$examples/pwc" "$dir/open" "$dir/none" "$dir" >"$dir/pwc" \
		2>"$dir/err"
	test $? = 1 &&
	grep -q 'none: No such file' "$dir/err" &&
	grep -q "$dir: Is a directory" "$dir/err" &&
	grep -q ' 0 *4 *16 .*/open' "$dir/pwc"
}

# The worker waits for more from the pipe when the signal comes.
stopped()
{
	mkfifo "$dir/fifo.$1"
	{
		echo two words
		exec sleep 1000
	} >"$dir/fifo.$1" &
	writer=$!
	: >"$dir/err"
	"$examples/pwc" "$dir/open" "$dir/fifo.$1" >"$dir/pwc" 2>"$dir/err" &
	pwc=$!
	# A line of progress a second; by then the words were counted.
	until grep -q ' 26 of 16 bytes' "$dir/err"; do
		kill -0 $pwc || return 1
		sleep 0.1
	done
	kill -s "$1" $pwc
	wait $pwc
	status=$?
	kill $writer
	test $status = "$2" && grep -q ' 1 *6 *26 total' "$dir/pwc"
}

says_posts()
{
	"$examples/pwc" "$dir/cut" 2>&1 >"$dir/pwc" |
		grep -Eq '^[0-9]+ posts, [0-9]+ of them by a system call, [0-9]+ handler runs$'
}

# The other file's worker has ended when a single child is left.
worker_killed()
{
	mkfifo "$dir/fifo.kill"
	sleep 1000 >"$dir/fifo.kill" &
	writer=$!
	: >"$dir/err"
	"$examples/pwc" "$dir/open" "$dir/fifo.kill" >"$dir/pwc" 2>"$dir/err" &
	pwc=$!
	until worker=$(cat /proc/$pwc/task/$pwc/children) &&
	      test "$(echo $worker | wc -w)" = 1 && grep -q . "$dir/err"; do
		kill -0 $pwc || return 1
		sleep 0.1
	done
	kill -9 $worker
	wait $pwc
	status=$?
	kill $writer
	test $status = 1 && grep -q 'fifo.kill: the worker was killed' "$dir/err"
}

# listened N: wait until listen has said so N times.
listened()
{
	until test "$(grep -c notified "$dir/listen")" = "$1"; do
		kill -0 $listen || return 1
		sleep 0.1
	done
}

# is_listening PID: the socket is there before somebody listens to it, and that
# is before the loop sleeps for the first time.
is_listening()
{
	grep -q " 00010000 .* $dir/socket\$" /proc/net/unix &&
	grep -q '^State:.S' "/proc/$1/status"
}

notify_listen()
{
	"$examples/listen" "$dir/socket" >"$dir/listen" &
	listen=$!
	until_true $listen is_listening $listen || return 1
	"$examples/notify" "$dir/socket" && listened 1 &&
	"$examples/notify" "$dir/socket" 2 && listened 3 &&
	kill $listen && wait $listen && test ! -e "$dir/socket" &&
	! "$examples/notify" "$dir/socket"
}

# start NAME ARGUMENT...: what it says is in $dir/NAME.
start()
{
	say=$1
	shift
	: >"$dir/$say"
	"$examples/$say" "$@" >"$dir/$say" 2>&1 &
	example=$!
	running="$running $example"
}

# said N WORDS: the example that was started last says so N times.
said()
{
	until_true "$example" has_said "$@"
}

has_said()
{
	test "$(grep -c "$2" "$dir/$say")" -ge "$1"
}

# ends PROCESS: on SIGTERM, with 0.
ends()
{
	kill -TERM "$1" && wait "$1"
}

build_talk()
{
	for tool in tcp_client nofile; do
		$CC -D_GNU_SOURCE -Wall -Wextra -Werror \
			"$TOP_SRCDIR/test/$tool.c" -o "$dir/$tool" || return 1
	done
}

# listens NAME: it has said on which port.
listens()
{
	said 1 port && port=$(sed -n "s/^$1: port //p" "$dir/$1")
}

# Three clients of port $port at once, one with little, one with nothing.
three_talk()
{
	clients=
	for file in cut utf8 empty; do
		"$dir/tcp_client" "$port" <"$dir/$file" >"$dir/back.$file" &
		clients="$clients $!"
	done
	for client in $clients; do
		wait "$client" || return 1
	done
	for file in cut utf8 empty; do
		cmp "$dir/$file" "$dir/back.$file" || return 1
	done
}

echoes()
{
	start echo 0
	listens echo && three_talk && ends $example
}

relays()
{
	start echo 0
	server=$example
	listens echo || return 1
	start proxy 0 127.0.0.1 "$port"
	listens proxy && three_talk && ends "$server" &&
	test -z "$("$dir/tcp_client" "$port" <"$dir/empty")" && ends $example
}

# rests NAME COMMAND...: the example that was started last can accept nothing for
# a second.  Then it can, and the command, a client all the while, succeeds.  A
# loop that rests has few passes, compared to the times it was woken up.
rests()
{
	say=$1
	shift
	former=$("$dir/nofile" $example 0) || return 1
	"$@" <"$dir/utf8" >"$dir/client" &
	client=$!
	sleep 1
	test ! -s "$dir/client" && kill -0 $client &&
	"$dir/nofile" $example "$former" && wait $client && ends $example &&
	passes=$(sed -n 's/.* passes=\([0-9]*\) .*/\1/p' "$dir/$say") &&
	timers=$(sed -n 's/.* timers=\([0-9]*\) .*/\1/p' "$dir/$say") &&
	echo "$passes passes, $timers timers" &&
	test "$timers" -ge 1 && test "$passes" -le $((4 * timers + 20))
}

echo_rests()
{
	IV_STATS=1 start echo 0
	listens echo && rests echo "$dir/tcp_client" "$port" &&
	cmp "$dir/utf8" "$dir/client"
}

proxy_rests()
{
	start echo 0
	server=$example
	listens echo || return 1
	IV_STATS=1 start proxy 0 127.0.0.1 "$port"
	listens proxy && rests proxy "$dir/tcp_client" "$port" &&
	cmp "$dir/utf8" "$dir/client" && ends "$server"
}

listen_rests()
{
	IV_STATS=1 start listen "$dir/socket"
	until_true $example is_listening $example &&
	rests listen "$examples/notify" "$dir/socket" &&
	grep -q '^notified' "$dir/listen"
}

reloads()
{
	printf '# settings\n\na 1\nb 2\n' >"$dir/settings"
	start reload "$dir/settings"
	said 1 'settings: 2 settings' &&
	echo 'c 3' >>"$dir/settings" && kill -HUP $example &&
	said 1 'settings: 3 settings' &&
	rm "$dir/settings" && kill -HUP $example &&
	said 1 'still 3 settings' && grep -q 'No such file' "$dir/reload" &&
	ends $example && grep -q '^ending' "$dir/reload"
}

# ring_says FILE MESSAGES: and no fewer posts than messages and answers.
ring_says()
{
	cat "$1"
	grep -Eq "^$2 messages and their answers in [0-9.]+ s: [0-9]+ per second$" \
		"$1" &&
	grep -Eq '^[0-9]+ posts, [0-9]+ of them by a system call, [0-9]+ handler runs$' \
		"$1" &&
	awk -v messages="$2" '/ posts, / {
		exit !($1 >= 2 * messages && $3 <= $1 && $10 <= $1)
	}' "$1"
}

rings()
{
	"$examples/ring" 3 100000 >"$dir/ring" 2>"$dir/err" &&
	ring_says "$dir/ring" 100000 && test ! -s "$dir/err" &&
	"$examples/ring" 5 3 >"$dir/ring" && ring_says "$dir/ring" 3
}

rings_on_one_cpu()
{
	cpu=$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')
	taskset -c "$cpu" "$examples/ring" 2 100000 >"$dir/ring" &&
	ring_says "$dir/ring" 100000
}

# ring_workers NUMBER: $workers, once it has so many.
ring_workers()
{
	case $(readlink "/proc/$ring/exe") in
	*ring) ;;
	*) return 1 ;;
	esac
	workers=$(cat "/proc/$ring/task/$ring/children") &&
	test "$(echo "$workers" | wc -w)" = "$1"
}

# One that has no end, or not on this day.
ring_worker_killed()
{
	"$examples/ring" 3 2000000000 >"$dir/ring" 2>"$dir/err" &
	ring=$!
	until_true $ring ring_workers 3 || return 1
	killed=${workers%% *}
	kill -9 "$killed"
	wait $ring
	test $? = 1 && test ! -s "$dir/ring" &&
	grep -q "^ring: worker $killed: Killed" "$dir/err" || return 1
	for worker in $workers; do
		! kill -0 "$worker" || return 1
	done
}

supervises()
{
	start supervise -d 0 'exec sleep 1000' 'exit 3'
	said 3 'exited with 3: exit 3' && said 1 'started: exec sleep' &&
	kill -KILL "$(sed -n 's/: started: exec.*//p' "$dir/supervise")" &&
	said 1 'killed by signal 9: exec' && said 2 'started: exec sleep' &&
	ends $example && grep -q 'killed by signal 15: exec' "$dir/supervise"
}

checksums()
{
	"$examples/checksums" "$dir"/many/* "$dir/cut" "$dir/empty" \
		"$dir/rubbish" "$dir/none" >"$dir/sums" 2>"$dir/err"
	test $? = 1 && grep -q 'none: No such file' "$dir/err" &&
	cksum "$dir"/many/* "$dir/cut" "$dir/empty" "$dir/rubbish" |
		sort >"$dir/sums.wanted" &&
	sort "$dir/sums" | cmp - "$dir/sums.wanted"
}

watches()
{
	mkdir "$dir/here" "$dir/there"
	start watch "$dir/here" "$dir/there"
	said 1 '^watching' &&
	echo x >"$dir/here/file" && said 1 'here/file: created' &&
	said 1 'here/file: written' &&
	mv "$dir/here/file" "$dir/there" && said 1 'here/file: moved away' &&
	said 1 'there/file: moved here' &&
	rm "$dir/there/file" && said 1 'there/file: deleted' &&
	mkdir "$dir/here/sub" && said 1 'here/sub/: created' &&
	rm -r "$dir/here" && said 1 'here: deleted' &&
	rmdir "$dir/there" && wait $example &&
	mkdir "$dir/here" && start watch "$dir/here" && said 1 '^watching' &&
	ends $example
}

make_files
verdict "hello says hello" hello
verdict "pwc counts as wc does, bytes for characters" in_locale C
verdict "pwc counts as wc does, characters of several bytes" in_locale C.UTF-8
verdict "pwc counts more files than it runs workers" many_files
verdict "pwc says what cannot be read, counts the rest, and exits with 1" \
	unreadable
verdict "pwc gives the totals so far on SIGINT" stopped INT 130
verdict "pwc gives the totals so far on SIGTERM" stopped TERM 143
verdict "pwc says when a worker was killed" worker_killed
verdict "pwc says how many posts, system calls and handler runs there were" \
	says_posts
verdict "notify posts to listen, a program that it shares nothing with" \
	notify_listen
verdict "a client for the next ones compiles, and so does what limits them" build_talk
verdict "echo gives each of its clients back what it sent" echoes
verdict "proxy relays between clients and a server, until it is gone" relays
verdict "echo rests while it can have no descriptor" echo_rests
verdict "proxy rests while it can have no descriptor" proxy_rests
verdict "listen rests while it can have no descriptor" listen_rests
verdict "reload reads its file on SIGHUP, ends on SIGTERM" reloads
verdict "ring has each message answered, by more workers than messages, too" rings
if command -v taskset >/dev/null; then
	verdict "ring has each message answered on a single processor" \
		rings_on_one_cpu
else
	skip "ring has each message answered on a single processor" \
		"taskset is not installed"
fi
verdict "ring ends with 1, and so do its workers, when one is killed" \
	ring_worker_killed
verdict "supervise starts what ended, ends what it started" supervises
verdict "checksums finds what cksum does" checksums
verdict "watch says what happens, until nothing is left to watch" watches
echo "1..$num"
