#!/bin/sh
# libivykis: a program loads a plugin that is linked with the library, shared or
# as an archive, and unloads it while a thread that had a loop in it still runs.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, TOP_SRCDIR, TOP_BUILDDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
cd "$dir" || exit 1

lib=$TOP_BUILDDIR/src/.libs
strict="-std=gnu11 -Wall -Wextra -Werror"

# part NAME FLAG...
part()
{
	name=$1
	shift
	$CC $strict -fPIC -shared -pthread -I"$TOP_SRCDIR/src/include" \
		"$TOP_SRCDIR/test/plugin_part.c" -o "$name.so" "$@"
}

# An archive that plugins may use is made of the shared library's objects.
build()
{
	ar rc libpic.a "$lib"/*.o &&
	$CC $strict -pthread "$TOP_SRCDIR/test/plugin_host.c" -o host -ldl &&
	part shared -L"$lib" -Wl,-rpath,"$lib" -livykis &&
	part shared_area -DWITH_AREA -L"$lib" -Wl,-rpath,"$lib" -livykis &&
	part archive libpic.a $uring &&
	part archive_area -DWITH_AREA libpic.a $uring
}

is_not_linked()
{
	! readelf -d host | grep ivykis
}

# host ROUNDS MODE PLUGIN...: with small stacks and one heap, so that anything
# that each round leaves behind shows in the number of pages.
host()
(
	# shellcheck disable=SC3045 # not in every sh
	ulimit -s 128
	MALLOC_ARENA_MAX=1 ./host "$@"
)

verdict "plugins are linked with the library and with its archive" build
verdict "the program is not linked with the library" is_not_linked
for kind in shared archive; do
	for mode in clean leave; do
		verdict "unloading before the thread ends ($kind, $mode)" \
			host 1 $mode ./$kind.so
		verdict "unloading a thousand times ($kind, $mode)" \
			host 1000 $mode ./$kind.so
	done
	verdict "unloading plugins with and without an iv_tls area ($kind)" \
		host 1000 leave ./${kind}_area.so ./$kind.so
done
verdict "unloading all of these plugins in turn" \
	host 100 leave ./shared_area.so ./archive_area.so ./shared.so \
	./archive.so
echo "1..$num"
