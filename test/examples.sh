#!/bin/sh
# Runs the examples as a user does.
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

# counts FILE...: pwc counts them as wc does, in this locale.
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
	# Wherever a block ends, some character continues in the next one.
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

# When the signal arrives, the worker is waiting for more from the pipe.
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
	# A line of progress per second; when it comes, the words were counted.
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

prints_posts()
{
	"$examples/pwc" "$dir/cut" 2>&1 >"$dir/pwc" |
		grep -Eq '^[0-9]+ posts, [0-9]+ of them by a system call, [0-9]+ handler runs$'
}

# Once a single child is left, the other file's worker has ended.
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

# wait_notified N: waits until listen has been notified N times.
wait_notified()
{
	until test "$(grep -c notified "$dir/listen")" = "$1"; do
		kill -0 $listen || return 1
		sleep 0.1
	done
}

# is_listening PID: the socket exists before the process listens on it, and the
# process listens before its loop sleeps for the first time.
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
	"$examples/notify" "$dir/socket" && wait_notified 1 &&
	"$examples/notify" "$dir/socket" 2 && wait_notified 3 &&
	kill $listen && wait $listen && test ! -e "$dir/socket" &&
	! "$examples/notify" "$dir/socket"
}

# start NAME ARGUMENT...: starts an example, whose output goes to $dir/NAME.
start()
{
	name=$1
	shift
	: >"$dir/$name"
	"$examples/$name" "$@" >"$dir/$name" 2>&1 &
	example=$!
	running="$running $example"
}

# prints N REGEX: the example that was started last prints N such lines.
prints()
{
	until_true "$example" has_printed "$@"
}

has_printed()
{
	test "$(grep -c "$2" "$dir/$name")" -ge "$1"
}

# ends PROCESS: it ends with status 0 on SIGTERM.
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

# listens NAME: the example has printed on which port it listens.
listens()
{
	prints 1 port && port=$(sed -n "s/^$1: port //p" "$dir/$1")
}

# Three clients of $port at once, one of which sends little, and one nothing.
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

# pauses NAME COMMAND...: the example that was started last has no descriptor
# for a second.  The command is a client, and succeeds after that.  A listener
# that pauses causes few iterations, compared to the number of timers.
pauses()
{
	name=$1
	shift
	former=$("$dir/nofile" $example 0) || return 1
	"$@" <"$dir/utf8" >"$dir/client" &
	client=$!
	sleep 1
	test ! -s "$dir/client" && kill -0 $client &&
	"$dir/nofile" $example "$former" && wait $client && ends $example &&
	passes=$(sed -n 's/.* passes=\([0-9]*\) .*/\1/p' "$dir/$name") &&
	timers=$(sed -n 's/.* timers=\([0-9]*\) .*/\1/p' "$dir/$name") &&
	echo "$passes iterations, $timers timers" &&
	test "$timers" -ge 1 && test "$passes" -le $((4 * timers + 20))
}

echo_pauses()
{
	IV_STATS=1 start echo 0
	listens echo && pauses echo "$dir/tcp_client" "$port" &&
	cmp "$dir/utf8" "$dir/client"
}

proxy_pauses()
{
	start echo 0
	server=$example
	listens echo || return 1
	IV_STATS=1 start proxy 0 127.0.0.1 "$port"
	listens proxy && pauses proxy "$dir/tcp_client" "$port" &&
	cmp "$dir/utf8" "$dir/client" && ends "$server"
}

# Waits for the line, as a post that is pending at a SIGTERM may have no effect.
notify_and_wait()
{
	"$examples/notify" "$dir/socket" &&
	until_true $example has_printed 1 '^notified'
}

listen_pauses()
{
	IV_STATS=1 start listen "$dir/socket"
	until_true $example is_listening $example &&
	pauses listen notify_and_wait
}

reloads()
{
	printf '# settings\n\na 1\nb 2\n' >"$dir/settings"
	start reload "$dir/settings"
	prints 1 'settings: 2 settings' &&
	echo 'c 3' >>"$dir/settings" && kill -HUP $example &&
	prints 1 'settings: 3 settings' &&
	rm "$dir/settings" && kill -HUP $example &&
	prints 1 'still 3 settings' && grep -q 'No such file' "$dir/reload" &&
	ends $example && grep -q '^ending' "$dir/reload"
}

# ring_is_right FILE MESSAGES: the output is complete, and has at least as many
# posts as messages and answers.
ring_is_right()
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
	ring_is_right "$dir/ring" 100000 && test ! -s "$dir/err" &&
	"$examples/ring" 5 3 >"$dir/ring" && ring_is_right "$dir/ring" 3
}

rings_on_one_cpu()
{
	cpu=$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')
	taskset -c "$cpu" "$examples/ring" 2 100000 >"$dir/ring" &&
	ring_is_right "$dir/ring" 100000
}

# has_workers NUMBER: stores the processes of ring's workers in $workers.
has_workers()
{
	case $(readlink "/proc/$ring/exe") in
	*ring) ;;
	*) return 1 ;;
	esac
	workers=$(cat "/proc/$ring/task/$ring/children") &&
	test "$(echo "$workers" | wc -w)" = "$1"
}

# This many messages take longer than the test.
ring_worker_killed()
{
	"$examples/ring" 3 2000000000 >"$dir/ring" 2>"$dir/err" &
	ring=$!
	until_true $ring has_workers 3 || return 1
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
	prints 3 'exited with 3: exit 3' && prints 1 'started: exec sleep' &&
	kill -KILL "$(sed -n 's/: started: exec.*//p' "$dir/supervise")" &&
	prints 1 'killed by signal 9: exec' && prints 2 'started: exec sleep' &&
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
	prints 1 '^watching' &&
	echo x >"$dir/here/file" && prints 1 'here/file: created' &&
	prints 1 'here/file: written' &&
	mv "$dir/here/file" "$dir/there" && prints 1 'here/file: moved away' &&
	prints 1 'there/file: moved here' &&
	rm "$dir/there/file" && prints 1 'there/file: deleted' &&
	mkdir "$dir/here/sub" && prints 1 'here/sub/: created' &&
	rm -r "$dir/here" && prints 1 'here: deleted' &&
	rmdir "$dir/there" && wait $example &&
	mkdir "$dir/here" && start watch "$dir/here" && prints 1 '^watching' &&
	ends $example
}

# get NUMBER: asks httpd for that many bytes, and prints how many came.
get()
{
	printf 'GET /%d HTTP/1.0\r\n\r\n' "$1" | "$dir/tcp_client" "$port" |
		tr -d '\r' | sed '1,/^$/d' | wc -c
}

httpd_answers()
{
	start httpd 0
	listens httpd && test "$(get 0)" = 0 && test "$(get 1)" = 1 &&
	test "$(get 5000000)" = 5000000 &&
	test -z "$("$dir/tcp_client" "$port" <"$dir/cut")" && ends $example
}

# The client sends the rest of its request too late.  Even if the server is
# late, too, the timer that is due runs first.
httpd_loses_patience()
{
	start httpd 0 1
	listens httpd || return 1
	{
		printf 'GET /10 HTTP/1.0\r\n'
		sleep 3
		printf '\r\n'
	} | "$dir/tcp_client" "$port" >"$dir/client"
	test ! -s "$dir/client" && test "$(get 3)" = 3 && ends $example
}

# has_sockets PROCESS NUMBER
has_sockets()
{
	test "$(readlink "/proc/$1/fd"/* | grep -c '^socket')" = "$2"
}

refuses()
{
	! "$dir/tcp_client" "$port" </dev/null 2>/dev/null
}

# The rest of a request is sent when no other client can connect any more.
httpd_finishes()
{
	mkfifo "$dir/fifo.late"
	start httpd 0
	listens httpd || return 1
	"$dir/tcp_client" "$port" <"$dir/fifo.late" >"$dir/client" &
	client=$!
	exec 3<>"$dir/fifo.late"
	printf 'GET /10 HTTP/1.0\r\n' >&3
	until_true $example has_sockets $example 2 && kill -TERM $example &&
	until_true $example refuses &&
	printf '\r\n' >&3 &&
	exec 3>&- && wait $client && grep -q 'Length: 10' "$dir/client" &&
	wait $example
}

httpd_pauses()
{
	IV_STATS=1 start httpd 0
	listens httpd && pauses httpd "$dir/tcp_client" "$port"
}

# gets NUMBER REGEX: this client of chat gets such a line.  chat may end before
# its client has written the file.
gets()
{
	until_true "${clients%% *}" grep -q "$2" "$dir/client.$1"
}

# start_chat ARGUMENT...: with one client, which sends what is written to 3.
start_chat()
{
	start chat 0 "$@"
	chat=$example
	rm -f "$dir/fifo.1" "$dir/fifo.2"
	listens chat && mkfifo "$dir/fifo.1" "$dir/fifo.2" || return 1
	exec 3<>"$dir/fifo.1" 4<>"$dir/fifo.2"
	"$dir/tcp_client" "$port" <"$dir/fifo.1" >"$dir/client.1" 3>&- 4>&- &
	clients=$!
	running="$running $!"
	gets 1 '^\* 1 is here$'
}

# A second client sends what is written to 4.
join_chat()
{
	"$dir/tcp_client" "$port" <"$dir/fifo.2" >"$dir/client.2" 3>&- 4>&- &
	clients="$clients $!"
	running="$running $!"
	gets 1 '^\* 2 is here$'
}

# The web server is stopped while chat ends, so an answer is still missing.
chats()
{
	start httpd 0
	listens httpd || return 1
	web="127.0.0.1 $port"
	server=$example
	start_chat && join_chat &&
	echo "hello, all" >&3 && gets 2 '^1: hello, all$' &&
	echo "/get $web /5" >&4 &&
	gets 1 "^\* $web /5: HTTP/1.1 200 OK\$" &&
	gets 2 "^\* $web /5: HTTP/1.1 200 OK\$" &&
	echo "/get 127.0.0.1 1 /5" >&4 && gets 1 '1 /5: Conn.* refused$' &&
	kill -STOP $server &&
	echo "/get $web /6" >&4 && until_true $chat has_sockets $chat 4 &&
	kill -TERM $chat && gets 1 'the end is near' &&
	refuses && kill -CONT $server &&
	gets 1 "^\* $web /6: HTTP/1.1 200 OK\$" && wait $chat &&
	ends $server || return 1
	exec 3>&- 4>&-
	# shellcheck disable=SC2086 # two of them
	wait $clients
	! grep -q hello "$dir/client.1"
}

chat_loses_patience()
{
	start_chat 1 && until_true $chat has_sockets $chat 1 || return 1
	exec 3>&- 4>&-
	wait "$clients" && ends $chat
}

# First the sockets' buffers are filled, which may be tens of megabytes.
chat_drops_slow_client()
{
	start_chat && join_chat && kill -STOP $! || return 1
	yes "$(printf '%0500d' 0)" >&3 &
	flood=$!
	running="$running $flood"
	gets 1 '^\* 2 is gone$' && kill $flood && ends $chat || return 1
	exec 3>&- 4>&-
}

resolves()
{
	long=$(printf '%0300d' 0 | tr 0 a)
	"$examples/resolve" 127.0.0.1 ::1 localhost "$long" 127.0.0.2 \
		>"$dir/found" 2>"$dir/err"
	test $? = 1 && grep -q "^resolve: $long: " "$dir/err" &&
	grep -qx '127.0.0.1: 127.0.0.1' "$dir/found" &&
	grep -qx '127.0.0.2: 127.0.0.2' "$dir/found" &&
	grep -qx '::1: ::1' "$dir/found" &&
	grep -Eq '^localhost:.* (127\.0\.0\.1|::1)( |$)' "$dir/found"
}

resolves_many()
{
	seq -f '127.0.1.%.0f' 100 >"$dir/names" &&
	xargs "$examples/resolve" <"$dir/names" >"$dir/found" &&
	sed 's/.*/&: &/' "$dir/names" | sort >"$dir/wanted" &&
	sort "$dir/found" | diff "$dir/wanted" -
}

# One of the addresses has no server.
fetches()
{
	start httpd 0
	listens httpd || return 1
	url=http://127.0.0.1:$port
	"$examples/fetch" "$url/5" "$url/5000000" "$url/" http://127.0.0.1:1/ \
		>"$dir/fetched" 2>"$dir/err"
	test $? = 1 && grep -q '^fetch: http://127.0.0.1:1/: ' "$dir/err" &&
	sort "$dir/fetched" >"$dir/sorted" && diff - "$dir/sorted" <<-END &&
	$url/5000000: 200, 5000000 bytes
	$url/5: 200, 5 bytes
	$url/: 200, 0 bytes
	END
	seq -f "$url/%.0f" 200 | xargs "$examples/fetch" >"$dir/fetched" &&
	test "$(wc -l <"$dir/fetched")" = 200 && ends $example
}

make_certificate()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
		-subj /CN=localhost -days 2 -keyout "$dir/key" -out "$dir/cert"
}

# tls_talk FILE FLAG...: starts a client, which does not end by itself.
tls_talk()
{
	file=$1
	shift
	openssl s_client -connect "127.0.0.1:$port" -CAfile "$dir/cert" \
		-verify_return_error -quiet "$@" <"$dir/$file" \
		>"$dir/tls.$file" 2>"$dir/tls.$file.err" &
	clients="$clients $!"
	running="$running $!"
}

tls_came_back()
{
	cmp -s "$dir/$1" "$dir/tls.$1"
}

# One of the clients does not speak TLS.
tls_echoes()
{
	make_certificate || return 1
	start tls_echo 0 "$dir/cert" "$dir/key"
	listens tls_echo || return 1
	clients=
	tls_talk cut -tls1_3
	tls_talk utf8 -tls1_2
	tls_talk rubbish -tls1_2
	"$dir/tcp_client" "$port" <"$dir/utf8" >/dev/null
	for file in cut utf8 rubbish; do
		until_true $example tls_came_back $file || return 1
	done
	# shellcheck disable=SC2086 # several of them
	kill $clients && until_true $example has_sockets $example 1 &&
	kill $example
}

tls_pauses()
{
	IV_STATS=1 start tls_echo 0 "$dir/cert" "$dir/key"
	listens tls_echo && tls_echo=$example &&
	former=$("$dir/nofile" $example 0) && clients= && tls_talk utf8 &&
	sleep 1 && test ! -s "$dir/tls.utf8" &&
	"$dir/nofile" $example "$former" && until_true $example tls_came_back utf8
}

start_bus()
{
	cat >"$dir/bus.conf" <<-END
	<busconfig>
	  <listen>unix:path=$dir/bus</listen>
	  <policy context="default">
	    <allow send_destination="*"/><allow own="*"/>
	    <allow eavesdrop="true"/>
	  </policy>
	</busconfig>
	END
	dbus-daemon --config-file="$dir/bus.conf" --nofork --print-address \
		>"$dir/bus.address" &
	bus=$!
	running="$running $bus"
	export DBUS_SESSION_BUS_ADDRESS="unix:path=$dir/bus"
	until_true $bus test -s "$dir/bus.address"
}

# reversed TEXT
reversed()
{
	dbus-send --session --print-reply=literal --dest=org.example.Ivykis / \
		org.example.Ivykis.Reverse "string:$1" | tr -d ' '
}

serves_on_bus()
{
	start_bus && start dbus_service && prints 1 serving &&
	test "$(reversed abc)" = cba || return 1
	callers=
	for i in 1 2 3 4 5 6 7 8 9; do
		reversed "a$i" >"$dir/reversed.$i" &
		callers="$callers $!"
	done
	# shellcheck disable=SC2086 # several of them
	wait $callers
	for i in 1 2 3 4 5 6 7 8 9; do
		test "$(cat "$dir/reversed.$i")" = "${i}a" || return 1
	done
	ends $example && test -z "$(reversed abc)"
}

ends_with_bus()
{
	start dbus_service
	prints 1 serving && kill $bus && ! wait $example &&
	prints 1 '^dbus_service: '
}

redis_pings()
{
	"$examples/redis" "$dir/redis.socket" PING | grep -q PONG
}

talks_to_redis()
{
	# The path of a socket has to be short.
	redis-server --port 0 --unixsocket "$dir/redis.socket" --save '' \
		--appendonly no --daemonize no --logfile "$dir/redis.log" &
	server=$!
	running="$running $server"
	until_true $server redis_pings &&
	test "$("$examples/redis" "$dir/redis.socket" SET a "b c")" = OK &&
	test "$("$examples/redis" "$dir/redis.socket" GET a)" = "b c" &&
	test "$("$examples/redis" "$dir/redis.socket" STRLEN a)" = 3 &&
	test "$("$examples/redis" "$dir/redis.socket" GET b)" = "(nil)" &&
	! "$examples/redis" "$dir/redis.socket" NONSENSE &&
	! "$examples/redis" "$dir/none" PING
}

# The channel's name and the number of channels come first.
subscribes_to_redis()
{
	start redis "$dir/redis.socket" SUBSCRIBE news
	prints 1 '^1$' &&
	for i in 1 2 3; do
		"$examples/redis" "$dir/redis.socket" PUBLISH news "item $i" ||
			return 1
	done &&
	prints 3 '^item' && kill $server && ! wait $example && wait $server
}

# recipe PROGRAM PACKAGE NAME COMMAND: skipped if the program was not built.
recipe()
{
	if test -x "$examples/$1"; then
		verdict "$3" "$4"
	else
		skip "$3" "$2 is not installed"
	fi
}

# Runs with each poll method that can be embedded, and fails with others.
lives_in()
{
	for without in "" epoll-timerfd; do
		IV_EXCLUDE_POLL_METHOD=$without "$examples/$1" >"$dir/out" &&
		diff "$dir/want" "$dir/out" || return 1
	done
	! IV_EXCLUDE_POLL_METHOD="epoll-timerfd epoll" "$examples/$1" \
		>"$dir/out" 2>"$dir/err" &&
	grep -q "^$1: iv_loop_fd: " "$dir/err"
}

lives_in_glib()
{
	cat >"$dir/want" <<-END
	ivykis: all posts are seen
	glib: idle
	ivykis: the time is over
	END
	lives_in embed_glib
}

lives_in_uv()
{
	cat >"$dir/want" <<-END
	line 1
	line 2
	line 3
	libuv: timers ran, too
	END
	lives_in embed_uv
}

# recipe_with TOOL PACKAGE-OF-TOOL PROGRAM PACKAGE NAME COMMAND
recipe_with()
{
	if command -v "$1" >/dev/null; then
		shift 2
		recipe "$@"
	else
		skip "$5" "$2 is not installed"
	fi
}

make_files
verdict "hello prints what was posted" hello
verdict "pwc counts as wc does, bytes for characters" in_locale C
verdict "pwc counts as wc does, characters of several bytes" in_locale C.UTF-8
verdict "pwc counts more files than it runs workers" many_files
verdict "pwc reports what it cannot read, counts the rest, and exits with 1" \
	unreadable
verdict "pwc prints the totals so far on SIGINT" stopped INT 130
verdict "pwc prints the totals so far on SIGTERM" stopped TERM 143
verdict "pwc reports a worker that was killed" worker_killed
verdict "pwc prints the numbers of posts, system calls and handler runs" \
	prints_posts
verdict "notify posts to listen, an unrelated program" \
	notify_listen
verdict "the clients for the next tests compile" build_talk
verdict "echo sends back to each client what it sent" echoes
verdict "proxy relays between clients and a server until that ends" relays
verdict "echo pauses while it has no free descriptor" echo_pauses
verdict "proxy pauses while it has no free descriptor" proxy_pauses
verdict "listen pauses while it has no free descriptor" listen_pauses
verdict "reload reads its file again on SIGHUP, and ends on SIGTERM" reloads
verdict "ring gets all answers, even from more workers than messages" rings
if command -v taskset >/dev/null; then
	verdict "ring gets all answers on a single processor" \
		rings_on_one_cpu
else
	skip "ring gets all answers on a single processor" \
		"taskset is not installed"
fi
verdict "ring ends with its workers, and exits with 1, when one is killed" \
	ring_worker_killed
verdict "supervise restarts what ended, and stops all on SIGTERM" supervises
verdict "checksums prints the same as cksum" checksums
what="watch reports changes until no directory is left"
if [ -x "$TOP_BUILDDIR/examples/watch" ]; then
	verdict "$what" watches
else
	skip "$what" "the library was built without inotify(7)"
fi
verdict "httpd sends as many bytes as it is asked for" httpd_answers
verdict "httpd closes a connection on which nothing moves" httpd_loses_patience
verdict "httpd finishes what was begun before it ends" httpd_finishes
verdict "httpd pauses while it has no free descriptor" httpd_pauses
verdict "chat relays lines and answers, and ends after the last one" chats
verdict "chat disconnects a client that sends nothing" chat_loses_patience
verdict "chat disconnects a client that does not read" chat_drops_slow_client
verdict "resolve prints addresses, and reports names that have none" resolves
verdict "resolve looks up more names than it has threads" resolves_many
if grep -qw -e -DHAVE_EPOLL "$TOP_BUILDDIR/Makefile"; then
	recipe embed_glib libglib2.0-dev \
		"embed_glib runs the loop in that of GLib" lives_in_glib
	recipe embed_uv libuv1-dev \
		"embed_uv runs the loop in that of libuv" lives_in_uv
else
	skip "the loop is embedded in another one" \
		"no poll method of this build can be embedded"
fi
recipe fetch libcurl4-openssl-dev "fetch gets all pages, and reports what fails" fetches
recipe_with openssl openssl tls_echo libssl-dev \
	"tls_echo sends back to each client what it sent" tls_echoes
recipe_with openssl openssl tls_echo libssl-dev \
	"tls_echo pauses while it has no free descriptor" tls_pauses
recipe_with dbus-daemon dbus-daemon dbus_service libsystemd-dev \
	"dbus_service answers all callers" serves_on_bus
recipe_with dbus-daemon dbus-daemon dbus_service libsystemd-dev \
	"dbus_service ends with its bus" ends_with_bus
recipe_with redis-server redis-server redis libhiredis-dev \
	"redis sends commands and prints the replies" talks_to_redis
recipe_with redis-server redis-server redis libhiredis-dev \
	"redis prints what it subscribed to, until the server ends" \
	subscribes_to_redis
echo "1..$num"
