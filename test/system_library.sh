# libivykis: finds the libivykis that the system has installed, and builds test
# programs with its headers, in $dir/system.  Sourced after tap.sh.
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=sh disable=SC2154

system=$dir/system

# Returns 1, without a message, if no older libivykis is installed.
find_system()
{
	[ -d "$system" ] && return
	lib=$(dpkg-query -L libivykis0 2>/dev/null | grep '\.so\.0$') &&
	headers=$(dpkg-query -L libivykis-dev 2>/dev/null | grep '/iv.*\.h$') ||
		return 1
	# A package made from this tree does not count.
	nm -D "$lib" | grep -q iv_event_raw_export && return 1

	mkdir -p "$system/include" &&
	ln -s "$lib" "$system/libivykis.so" &&
	ln -s "$lib" "$system/libivykis.so.0" || return 1
	for header in $headers; do
		ln -s "$header" "$system/include"
	done
}

# Lists the test programs, except those that wrap functions of the libc, which
# are linked statically.
all_programs()
{
	for source in "$TOP_SRCDIR"/test/*.c; do
		grep -q 'return check_main(' "$source" &&
			! grep -q '__real_' "$source" && basename "$source" .c
	done
	true
}

# The old headers need another one before them, and lack newer functions that
# some tests call.
write_newer()
{
	cat >"$system/newer.h" <<-END
	#include <stddef.h>
	struct iv_event_raw;
	struct iv_work_item;
	struct iv_work_pool;
	int iv_event_raw_export(const struct iv_event_raw *);
	int iv_event_raw_post_fd(int);
	void iv_work_pool_submit_continuation(struct iv_work_pool *,
					      struct iv_work_item *);
	END
}

# compile_system SOURCE OBJECT FLAG...
compile_system()
{
	[ -f "$system/newer.h" ] || write_newer
	source=$1
	object=$2
	shift 2
	# shellcheck disable=SC2086 # one word each
	$CC -std=gnu11 -D_GNU_SOURCE $defs -O1 -g -I"$system/include" \
		-I"$TOP_BUILDDIR/test" -include "$system/newer.h" "$@" -c "$source" -o "$object"
}

# build_system PROGRAM FLAG...: the flags are for the linker.
build_system()
{
	program=$1
	shift
	for object in check check_linux "$program"; do
		[ -f "$system/$object.o" ] ||
		compile_system "$TOP_SRCDIR/test/$object.c" \
			"$system/$object.o" || return 1
	done
	$CC "$system/$program.o" "$system/check.o" \
		"$system/check_linux.o" "$@" -pthread \
		-o "$system/$program"
}
