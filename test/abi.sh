#!/bin/sh
# libivykis: the ABI of 0.43 is unchanged: the exported names with their
# versions, the types, and the layout of structures on other machines.  Test
# programs that are built with the headers and the library that the system has
# installed run on the library of this tree.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, TOP_SRCDIR, TOP_BUILDDIR; TEST_VARIANT: see check.h.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
# shellcheck source=test/system_library.sh
. "$TOP_SRCDIR/test/system_library.sh"
cd "$dir" || exit 1

ours=$TOP_BUILDDIR/src/.libs
: "${TEST_VARIANT=epoll-timerfd/eventfd eventfd}"
export TEST_VARIANT

# The version script is under test, so the names are not taken from there.
names_of_043()
{
	sed 's/$/@@IVYKIS_0.29/' <<-END
	IV_FD_INIT
	IV_TASK_INIT
	IV_TIMER_INIT
	__iv_now_location
	iv_avl_tree_delete
	iv_avl_tree_insert
	iv_avl_tree_next
	iv_avl_tree_prev
	iv_deinit
	iv_event_post
	iv_event_raw_post
	iv_event_raw_register
	iv_event_raw_unregister
	iv_event_register
	iv_event_unregister
	iv_fd_pump_destroy
	iv_fd_pump_init
	iv_fd_pump_is_done
	iv_fd_pump_pump
	iv_fd_register
	iv_fd_register_try
	iv_fd_registered
	iv_fd_set_handler_err
	iv_fd_set_handler_in
	iv_fd_set_handler_out
	iv_fd_unregister
	iv_init
	iv_inited
	iv_inotify_register
	iv_inotify_unregister
	iv_inotify_watch_register
	iv_inotify_watch_unregister
	iv_invalidate_now
	iv_main
	iv_poll_method_name
	iv_popen_request_close
	iv_popen_request_submit
	iv_quit
	iv_signal_register
	iv_signal_unregister
	iv_task_register
	iv_task_registered
	iv_task_unregister
	iv_thread_create
	iv_thread_list_children
	iv_thread_set_debug_state
	iv_timer_register
	iv_timer_registered
	iv_timer_unregister
	iv_tls_user_ptr
	iv_tls_user_register
	iv_validate_now
	iv_wait_interest_kill
	iv_wait_interest_register
	iv_wait_interest_register_spawn
	iv_wait_interest_unregister
	iv_work_pool_create
	iv_work_pool_put
	iv_work_pool_submit_work
	END
	cat <<-END
	iv_fatal@@IVYKIS_0.30
	iv_set_fatal_msg_handler@@IVYKIS_0.30
	iv_thread_get_id@@IVYKIS_0.33
	__iv_now_location_valid@@IVYKIS_0.40
	iv_get_thread_id@@IVYKIS_0.40
	iv_work_pool_submit_continuation@@IVYKIS_0.42
	END
}

exported()
{
	nm -D --defined-only "$1" | awk '$2 == "T" { print $3 }' | sort
}

exports_all()
{
	names_of_043 | sort >names
	test "$(wc -l <names)" = 65 &&
	exported "$ours/libivykis.so.0" | comm -23 names - >missing &&
	cat missing && test ! -s missing
}

# What later versions have added.
names_since_043()
{
	cat <<-END
	iv_event_raw_export@@IVYKIS_0.44
	iv_event_raw_post_fd@@IVYKIS_0.44
	iv_event_raw_adopt@@IVYKIS_0.45
	iv_event_raw_prepare@@IVYKIS_0.45
	iv_init_try@@IVYKIS_0.45
	iv_loop_fd@@IVYKIS_0.45
	iv_main_once@@IVYKIS_0.45
	iv_set_busy_poll@@IVYKIS_0.45
	iv_timer_register_in_ms@@IVYKIS_0.45
	iv_wait_interest_register_try@@IVYKIS_0.45
	END
}

exports_additions()
{
	names_since_043 | sort >since
	exported "$ours/libivykis.so.0" | comm -13 names - >added &&
	diff since added
}

system_exports_no_more()
{
	exported "$system/libivykis.so.0" | comm -13 names - >unknown &&
	cat unknown && test ! -s unknown
}

# layout.c compiles only if the layout is right.
has_layout()
{
	"$@" -std=gnu11 -D_GNU_SOURCE -fsyntax-only \
		-I"$TOP_SRCDIR/src/include" "$TOP_SRCDIR/test/layout.c"
}

layout_has_all()
{
	sed -n 's/^struct \(iv_[a-z_]*\) {.*/\1/p' \
		"$TOP_SRCDIR"/src/include/*.h >structures
	test -s structures || return 1
	while read -r structure; do
		grep -q -e "^SIZE($structure," \
			-e "^_Static_assert(sizeof(struct $structure) ==" \
			"$TOP_SRCDIR/test/layout.c" || {
			echo "$structure"
			return 1
		}
	done <structures
}

# layout MACHINE PACKAGE FLAG...
layout()
{
	compiler=$1-gcc
	package=$2
	shift 2
	subject="structures have their layout with $compiler $*"
	if command -v "$compiler" >/dev/null; then
		verdict "$subject" has_layout "$compiler" "$@"
	else
		skip "$subject" "$package is not installed"
	fi
}

# types_by HEADERS LIBRARY: compiles variables that have the functions' types.
types_by()
{
	{
		for header in "$system"/include/*.h; do
			echo "#include <${header##*/}>"
		done
		exported "$system/libivykis.so.0" | sed 's/@.*//' |
		# A header declares these without (void), or not at all.
		grep -v -e '^__iv_now_location' -e '^iv_validate_now$' |
		sed 's/.*/extern __typeof__(\&&) type_of_&; \
			__typeof__(\&&) type_of_& = \&&;/'
	} >types.c
	$CC -std=gnu11 -g -shared -fPIC -w -include stddef.h -I"$1" types.c \
		-o "$2"
}

# Most members of these two are private; layout.c tests the others.
same_types()
{
	cat >private <<-END
	[suppress_type]
	name_regexp = ^iv_(inotify|wait_interest)\$
	END
	types_by "$system/include" system.so &&
	types_by "$TOP_SRCDIR/src/include" ours.so &&
	abidiff --suppressions private system.so ours.so
}

nothing_removed()
{
	abidiff --no-added-syms "$system/libivykis.so.0" "$ours/libivykis.so.0"
}

by_system_headers()
{
	build_system layout -L"$system" -livykis &&
	compile_system "$TOP_SRCDIR/test/check.c" system/depend.o \
		-MD -MF depend &&
	grep -q "$system/include/iv.h" depend &&
	! grep -q "$TOP_SRCDIR/src" depend
}

on_our_library()
{
	LD_LIBRARY_PATH=$ours LD_TRACE_LOADED_OBJECTS=1 "$system/layout" |
		tee loaded
	grep -q "libivykis.so.0 => $ours/libivykis.so.0 " loaded
}

# Tests of newer functions need the library of this tree.
build_any()
{
	build_system "$1" -L"$system" -livykis 2>errors ||
	build_system "$1" -L"$ours" -livykis || {
		cat errors
		return 1
	}
}

runs()
{
	build_any "$1" || return 1
	LD_LIBRARY_PATH=$ours "$system/$1" >verdicts 2>&1
	status=$?
	grep -v '^ok' verdicts
	grep -q '^1\.\.[1-9]' verdicts && [ $status = 0 ]
}

system_tests()
{
	verdict "the system's library exports no other functions" \
		system_exports_no_more
	if command -v abidiff >/dev/null; then
		verdict "abidiff finds nothing removed" nothing_removed
		verdict "abidiff finds no type changed" same_types
	else
		skip "abidiff finds nothing removed, and no type changed" \
			"abigail-tools is not installed"
	fi
	verdict "programs compile with the system's headers" by_system_headers
	verdict "these programs run on the library of this tree" on_our_library
	for program in $(all_programs); do
		# inotify_none is for other systems; list tests macros that the
		# system's header lacks; process runs set-user-id copies, which
		# ignore LD_LIBRARY_PATH; steps contains the library.
		case $program in
		inotify_none | list | process | steps) continue ;;
		esac
		verdict "$program passes, compiled with the system's headers" \
			runs "$program"
	done
}

verdict "the 65 functions of 0.43 are exported, each with its version" \
	exports_all
verdict "0.44 and 0.45 export their additions, and nothing else" \
	exports_additions
verdict "the layout of each structure is tested" layout_has_all
for flags in '' '-D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64'; do
	# shellcheck disable=SC2086 # several flags
	layout i686-linux-gnu 'gcc-i686-linux-gnu' $flags
done
layout aarch64-linux-gnu gcc-aarch64-linux-gnu
if find_system; then
	system_tests
else
	skip "programs of 0.43 run on this library" \
		"libivykis-dev 0.43 or before is not installed"
fi
echo "1..$num"
