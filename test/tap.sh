# What the test scripts share.  Sourced, it makes $dir, which is removed at the
# end, when the processes named in $running are killed, too.  The verdicts are
# written as TAP.
# shellcheck shell=sh disable=SC2034

# A script that takes half an hour has hung.  It runs in its own process group,
# of which all processes are killed: at this limit, and when this shell is
# killed.
if [ -z "${TAP_LIMITED-}" ]; then
	export TAP_LIMITED=1
	env --default-signal=INT,QUIT \
		timeout -k 10 "${TAP_LIMIT:-1800}" "$0" "$@" &
	trap 'kill $! 2>/dev/null' HUP INT TERM
	wait $! && exit
	status=$?
	# A signal may have interrupted the wait, so the script may still run.
	wait $! 2>/dev/null
	exit $status
fi

: "${TOP_BUILDDIR:=$TOP_SRCDIR/build}" "${CC:=cc}"
# What configure has found, which programs that use check.h need.
defs=$(sed -n 's/^IV_DEFS = //p' "$TOP_BUILDDIR/Makefile" 2>/dev/null)
# Libraries that programs need if they are linked with the archive.
uring=$(sed -n 's/^URING_LIBS = //p' "$TOP_BUILDDIR/Makefile" 2>/dev/null)
dir=$(mktemp -d) || exit 1
running=
num=0

clean_up()
{
	# shellcheck disable=SC2086 # several of them
	[ -z "$running" ] || {
		kill -9 $running
		wait $running
	} 2>/dev/null
	rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# verdict NAME COMMAND...: the output of a command that fails is a comment.
verdict()
{
	subject=$1
	shift
	num=$((num + 1))
	if "$@" >"$dir/out" 2>&1; then
		echo "ok $num - $subject"
	else
		sed 's/^/# /' "$dir/out" >&2
		echo "not ok $num - $subject"
	fi
}

# skip NAME REASON
skip()
{
	num=$((num + 1))
	echo "ok $num - $1 # SKIP $2"
}

# needs COMMAND PACKAGE: without the command, the whole script is skipped.
needs()
{
	command -v "$1" >/dev/null && return
	echo "1..0 # SKIP $2 is not installed"
	exit 0
}

# until_true PID COMMAND...: repeats the command until it succeeds, the process
# has ended, or ten minutes have passed.  The command is tried once more after
# the process has ended.
until_true()
{
	pid=$1
	shift
	tries=0
	until "$@"; do
		kill -0 "$pid" 2>/dev/null || {
			"$@"
			return
		}
		tries=$((tries + 1))
		[ $tries -lt 6000 ] || return 1
		sleep 0.1
	done
}
