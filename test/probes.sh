#!/bin/sh
# libivykis: the static probes: each has a note in the library and is a nop in
# its code, and gdb sees a program reach them in the right order.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, ENABLE_PROBES (no: configured without), TOP_SRCDIR,
# TOP_BUILDDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"

if [ "${ENABLE_PROBES:-no}" = no ]; then
	echo '1..0 # SKIP configured without --enable-probes'
	exit 0
fi

lib=$TOP_BUILDDIR/src/.libs

# One line per probe: name location semaphore number-of-arguments.
notes()
{
	readelf -n "$lib/libivykis.so" | awk '
	$1 == "Provider:"	{ provider = $2 }
	$1 == "Name:"		{ name = $2 }
	$1 == "Location:"	{ where = $2; semaphore = $NF }
	$1 == "Arguments:" && provider == "ivykis" {
		print name, where, semaphore, NF - 1
	}' | tr -d , | sort
}

# There are exactly these probes, some of them in two places.  None has a
# semaphore, which every post would have to read.
has_the_notes()
{
	cat >"$dir/wanted" <<-END
	loop_polled 0x 2
	loop_sleep 0x 2
	loop_wake 0x 1
	raw_delivered 0x 1
	raw_doorbell 0x 1
	raw_skipped 0x 1
	raw_written 0x 1
	END
	notes | awk '{ print $1, $3, $4 }' | sed 's/0x0*/0x/' |
		sort -u | diff "$dir/wanted" -
}

# The nop is a single byte on x86, and other instructions elsewhere.
are_nops()
{
	objdump -d --no-show-raw-insn "$lib/libivykis.so" >"$dir/code"
	test -n "$(notes)" &&
	notes | while read -r probe where _; do
		address=$(echo "$where" | sed 's/^0x0*//')
		grep -Eq "^ *$address:[[:space:]]+nop *$" "$dir/code" || {
			echo "$probe: no nop at $address"
			exit 1
		}
	done
}

are_in_the_manual()
{
	test -n "$(notes)" &&
	notes | while read -r probe _; do
		grep -q "^\.It .*$probe" "$TOP_SRCDIR/man3/ivykis.3" || {
			echo "$probe: not in ivykis(3)"
			exit 1
		}
	done
}

# Three posts to a loop that is awake write nothing and are delivered once.
# Then a signal handler rings for the loop, once a child has seen it sleep.
build_program()
{
	cat >"$dir/posts.c" <<-END
	#include <iv_event_raw.h>
	#include <signal.h>
	#include <stdio.h>
	#include <string.h>
	#include <sys/wait.h>

	static struct iv_event_raw raw;

	static void post(int sig)
	{
		(void)sig;
		iv_event_raw_post(&raw);
	}

	static void signal_sleeper(pid_t pid)
	{
		char name[64], line[512] = "";
		FILE *f;

		snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
		while (strstr(line, ") S ") == NULL) {
			usleep(1000);
			f = fopen(name, "r");
			if (f == NULL || fgets(line, sizeof(line), f) == NULL)
				_exit(1);
			fclose(f);
		}
		kill(pid, SIGUSR1);
	}

	int main(void)
	{
		pid_t self = getpid();

		iv_init();
		IV_EVENT_RAW_INIT(&raw);
		raw.cookie = &raw;
		raw.handler = (void (*)(void *))iv_event_raw_unregister;
		if (iv_event_raw_register(&raw) < 0)
			return 1;
		iv_event_raw_post(&raw);
		iv_event_raw_post(&raw);
		iv_event_raw_post(&raw);
		iv_main();

		signal(SIGUSR1, post);
		if (iv_event_raw_register(&raw) < 0)
			return 1;
		if (fork() == 0) {
			signal_sleeper(self);
			_exit(0);
		}
		iv_main();
		wait(NULL);
		iv_deinit();
		return 0;
	}
	END
	# CC may be several words.
	# shellcheck disable=SC2086
	$CC -I"$TOP_SRCDIR/src/include" "$dir/posts.c" -o "$dir/posts" \
		-L"$lib" -livykis -Wl,-rpath,"$lib"
}

are_reached_in_order()
{
	build_program &&
	{
		echo 'set breakpoint pending off'
		echo 'handle SIGUSR1 nostop noprint pass'
		echo 'break main'
		echo 'run'
		for probe in $(notes | cut -d' ' -f1 | sort -u); do
			echo "break -probe-stap ivykis:$probe"
			echo 'commands'
			echo 'silent'
			printf 'echo probe %s\\n\n' "$probe"
			echo 'continue'
			echo 'end'
		done
		echo 'continue'
	} >"$dir/script" &&
	gdb -nx -batch -x "$dir/script" "$dir/posts" >"$dir/trace" 2>&1 &&
	cat "$dir/trace" &&
	grep '^probe' "$dir/trace" | diff - "$dir/order"
}

cat >"$dir/order" <<END
probe raw_skipped
probe raw_skipped
probe raw_skipped
probe raw_delivered
probe loop_sleep
probe raw_written
probe loop_wake
probe raw_delivered
END

verdict "each probe has a note, and none has a semaphore" has_the_notes
verdict "each probe is a nop" are_nops
verdict "each probe is in the manual" are_in_the_manual
if command -v gdb >/dev/null; then
	verdict "a program reaches the probes in order" are_reached_in_order
else
	skip "a program reaches the probes in order" "gdb is not installed"
fi
echo "1..$num"
