#!/bin/sh
# libivykis: build the library and run the tests on other machines.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Each platform has its own compiler and libc.  qemu's user mode runs what this
# machine's processor cannot.  The verdict of a platform counts what passed and,
# for each reason, what was skipped.
#
# qemu does not reproduce the memory order of the other processor, nor the
# kernel of the other machine.  It has no seccomp, no MADV_WIPEONFORK, no
# RLIMIT_AS or RLIMIT_DATA, and a program cannot execute its own file.  So cases
# that refuse a system call are skipped there.  For eventfd(2), the tests that
# use pipes run once more under a qemu to which the kernel refuses that call.
#
# qemu also has a race: it reads the handler of a signal twice.  If another
# thread sets it to SIG_DFL in between, the program dies of SIGSEGV.
#
#	cross.sh		all platforms
#	cross.sh NAME...	these platforms
#
# In the environment: TOP_SRCDIR; CROSS_TESTS: these test programs only, without
# the examples; QUICK=1: the most important tests, on one platform of each kind.
# Builds and logs stay in cross.build/NAME.

set -u
top=$(cd "${TOP_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 1
CC=${CC:-cc}
QUICK=${QUICK-}
CROSS_TESTS=${CROSS_TESTS-}
jobs=$(nproc)

all="i386 i386-time64 musl armhf arm64 riscv64 ppc64el s390x"
quick="i386 i386-time64 musl arm64 s390x"
quick_tests="event event_raw fd fork layout loop signal task timer"
quick_variants="epoll-timerfd/eventfd poll/pipe eventfd pipe"
pipe_tests="event event_raw event_raw_process fork signal wait"
pipe_variants="epoll-timerfd/pipe epoll/pipe ppoll/pipe poll/pipe pipe"

# musl's headers do not include those of the kernel.
kernel_headers() {
	mkdir kernel &&
	ln -s /usr/include/linux /usr/include/asm-generic kernel &&
	ln -s "/usr/include/$($CC -print-multiarch)/asm" kernel/asm
}

runs_here() {
	echo 'int main(void) { return 0; }' >conftest.c
	"$1" -static -o conftest conftest.c && ./conftest
}

# Lets programs find the libc of the cross compiler.  The old kind of run
# path also applies to the libraries that libraries need.
use_libc_of() {
	for ld in "/usr/$1/lib"/ld*.so.?; do
		echo "-Wl,--dynamic-linker=$ld -Wl,-rpath=/usr/$1/lib" \
			-Wl,--disable-new-dtags
	done
}

# A libc only reads locales of its machine's byte order.
make_locale() {
	locales=$PWD/locale
	mkdir "$locales" &&
	localedef --big-endian -i C -f UTF-8 "$locales/C.UTF-8"
}

# Does not use pkg-config, which would find this machine's libraries.
configure() {
	"$top/configure" -q PKG_CONFIG=false CFLAGS='-O2 -g -Werror' "$@"
}

# setup NAME: configures, and sets $emulator and $locales.
setup() {
	flags=
	case $1 in
	i386*) triplet=i686-linux-gnu ;;
	armhf) triplet=arm-linux-gnueabihf emulator=qemu-arm ;;
	arm64) triplet=aarch64-linux-gnu emulator=qemu-aarch64 ;;
	riscv64) triplet=riscv64-linux-gnu emulator=qemu-riscv64 ;;
	ppc64el) triplet=powerpc64le-linux-gnu emulator=qemu-ppc64le ;;
	s390x) triplet=s390x-linux-gnu emulator=qemu-s390x ;;
	musl)
		kernel_headers &&
		configure CC=musl-gcc CPPFLAGS="-I$PWD/kernel"
		return
		;;
	*)
		echo "$1 is none of: $all"
		return 1
		;;
	esac
	case $1 in
	i386*) runs_here $triplet-gcc || emulator=qemu-i386 ;;
	esac
	case $1 in
	*-time64) flags='-D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64' ;;
	s390x) [ -n "$tests" ] || make_locale || return ;;
	esac
	[ -z "$emulator" ] || "$emulator" --version || return
	configure --host=$triplet CC=$triplet-gcc CPPFLAGS="$flags" \
		LDFLAGS="$(use_libc_of $triplet)"
}

# make_tests ARGUMENT...: there are no wrapper scripts, which an emulator cannot
# run.  Each verdict has its own line, even if programs run in parallel.
make_tests() {
	LIMITS=${emulator:+few} make -s -j"$jobs" -Otarget -C test check \
		AM_LDFLAGS=-no-install check_SCRIPTS= \
		${tests:+check_PROGRAMS="$tests"} LOG_COMPILER="$emulator" "$@"
}

# Compiles a program that runs another one, to which the kernel refuses
# eventfd(2).
without_eventfd() {
	cat >without_eventfd.c <<-END
	#include <errno.h>
	#include <linux/filter.h>
	#include <linux/seccomp.h>
	#include <stddef.h>
	#include <sys/prctl.h>
	#include <sys/syscall.h>
	#include <unistd.h>

	int main(int argc, char **argv)
	{
		struct sock_filter rules[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
				 offsetof(struct seccomp_data, nr)),
	#ifdef SYS_eventfd
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_eventfd, 1, 0),
	#endif
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_eventfd2, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog prog = { sizeof(rules) / sizeof(*rules), rules };

		if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
			return 1;
		execvp(argv[1], argv + 1);
		return 1;
	}
	END
	"$CC" -o without_eventfd without_eventfd.c
}

build() {
	rm -rf "cross.build/$1"
	mkdir -p "cross.build/$1"
	cd "cross.build/$1" &&
	setup "$1" >build.log 2>&1 &&
	make -s -j"$jobs" AM_LDFLAGS=-no-install >>build.log 2>&1 &&
	make_tests TESTS= >>build.log 2>&1
}

# Makes the scripts that test/examples.sh runs instead of the examples.
emulated_examples() {
	mkdir -p emulated/examples
	for file in examples/*.o; do
		name=$(basename "$file" .o)
		ln -s "$PWD/$file" emulated/examples
		printf '#!/bin/sh\n%s exec %s "%s" "$@"\n' \
			"${locales:+LOCPATH=\"$locales\"}" "$emulator" \
			"$PWD/examples/$name" >"emulated/examples/$name"
		chmod +x "emulated/examples/$name"
	done
}

run_examples() {
	emulated_examples
	make -s -C test check-TESTS TESTS=examples CC="$CC" \
		abs_top_builddir="$PWD/emulated" >>check.log 2>&1
}

run_programs() {
	make_tests TESTS="\$(check_PROGRAMS)" >check.log 2>&1
}

run() {
	run_programs
	status=$?
	[ -n "$tests" ] || run_examples || status=1
	return $status
}

logs() {
	find test -name '*.log' ! -name test-suite.log -exec cat {} +
}

count() {
	grep -c "$1" check.log
}

row() {
	printf '%-14s %-16s %7s %7s %7s %7s\n' "$@"
}

# Prints the verdicts, and the messages of those that failed.
report() {
	row "$1" "${emulator:-this processor}" "$(count '^PASS: ')" \
		"$(count '^\(FAIL\|ERROR\): ')" "$(count '^SKIP: ')" \
		$(($(date +%s) - start)) >>../table
	echo "$1:"
	sed -n 's/^SKIP: .* # SKIP /skipped: /p' check.log | sort | uniq -c
	logs | sed -n '/^# .*:[0-9]*: /p; /^# did not end/p; /^# [A-Z]/p' |
		sed 's/^/	/'
	sed -n '/^\(FAIL\|ERROR\): /s/^/	/p' check.log
	[ "$(count '^\(FAIL\|ERROR\): ')" = 0 ] && [ "$(count '^PASS: ')" -gt 0 ]
}

# words A B: the words of A that are in B, too.
words() {
	for word in $1; do
		case " $2 " in
		*" $word "*) printf '%s ' "$word" ;;
		esac
	done
}

run_with_pipes() {
	tests=$(words "$pipe_tests" "${tests:-$pipe_tests}")
	[ -n "$tests" ] || return 0
	start=$(date +%s)
	find test -name '*.log' -exec rm {} + -o -name '*.trs' -exec rm {} +
	without_eventfd || return
	TEST_VARIANT=$(words "$pipe_variants" \
		"${TEST_VARIANT:-$pipe_variants}")
	export TEST_VARIANT
	emulator="../without_eventfd $emulator"
	run_programs
	status=$?
	emulator=${emulator#* }
	report "$1, pipes" && return $status
}

platform() (
	start=$(date +%s)
	emulator=
	locales=
	if ! build "$1"; then
		tail -n 20 build.log
		row "$1" "not built" - - - - >>../table
		exit 1
	fi
	run
	status=$?
	report "$1" || status=1
	if [ -n "$emulator" ]; then
		run_with_pipes "$1" || status=1
	fi
	exit $status
)

tests=$CROSS_TESTS
if [ -n "$QUICK" ]; then
	all=$quick
	tests=${tests:-$quick_tests}
	export TEST_VARIANT="${TEST_VARIANT-$quick_variants}"
fi
# shellcheck disable=SC2086 # one word per name
[ $# -gt 0 ] || set -- $all
mkdir -p cross.build
row platform "run by" passed failed skipped seconds >cross.build/table
failed=0
for name in "$@"; do
	platform "$name" || failed=1
done
cat cross.build/table
exit $failed
