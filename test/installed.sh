#!/bin/sh
# Tests what is installed: the files, the exported names, the headers in C and
# C++, and programs built by pkg-config outside of the tree.
# Environment: CC, CXX, MAKE, TOP_SRCDIR, TOP_BUILDDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"

# verdict_with NEEDED NAME COMMAND...: skipped if the command NEEDED is missing.
verdict_with()
{
	needed=$1
	shift
	if command -v "$needed" >/dev/null; then
		verdict "$@"
	else
		skip "$1" "$needed is not installed"
	fi
}

install_it()
{
	"${MAKE:-make}" -C "$TOP_BUILDDIR" install DESTDIR="$dir/root"
}

# place VARIABLE: prints this directory of pkg-config, below DESTDIR.
place()
{
	echo "$dir/root$(PKG_CONFIG_PATH=$TOP_BUILDDIR/packaging \
		pkg-config --variable="$1" ivykis)"
}

lib=$(place libdir)
include=$(place includedir)
prefix=$(place prefix)
PKG_CONFIG_SYSROOT_DIR=$dir/root
PKG_CONFIG_PATH=$lib/pkgconfig
PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS PKG_CONFIG_ALLOW_SYSTEM_LIBS

has_library()
{
	test -f "$lib/libivykis.so.0.8.0" &&
	test "$(readlink "$lib/libivykis.so.0")" = libivykis.so.0.8.0 &&
	test "$(readlink "$lib/libivykis.so")" = libivykis.so.0.8.0 &&
	test -f "$lib/libivykis.a" &&
	readelf -d "$lib/libivykis.so" |
		grep -q 'SONAME.*\[libivykis.so.0\]'
}

needs_libc_alone()
{
	test "$(readelf -d "$lib/libivykis.so" | grep NEEDED |
		grep -cvE '\[lib(c|uring)\.')" = 0
}

is_never_unloaded()
{
	readelf -d "$lib/libivykis.so" | grep 'FLAGS.*NODELETE'
}

has_headers()
{
	(cd "$include" && ls) >"$dir/headers"
	(cd "$TOP_SRCDIR/src/include" && ls) | diff - "$dir/headers"
}

has_pages()
{
	find "$dir/root" -name '*.3' | sed 's,.*/,,' | sort >"$dir/pages"
	(cd "$TOP_SRCDIR/man3" && ls ./*.3 | sed 's,./,,' | sort) | diff - "$dir/pages"
}

# Compares name@version in the version script with those in the library.
exports_the_public()
{
	awk '/^IVYKIS/ { node = $1 }
	     /;/ && !/}/ && !/\*/ { sub(";", ""); print $1 "@" node }' "$TOP_SRCDIR/src/libivykis.ver" | sort >"$dir/wanted"
	nm -D --defined-only "$lib/libivykis.so" |
		awk '$2 == "T" { sub("@@", "@", $3); print $3 }
		     $2 !~ /[TA]/ { print }' | sort >"$dir/exported"
	diff "$dir/wanted" "$dir/exported"
}

# Every program that has static probes defines _.stapsdt.base.
archive_is_tidy()
{
	test "$(nm -g --defined-only "$lib/libivykis.a" |
		awk 'NF == 3 { print $3 }' |
		grep -cvE '^(iv_|__iv_|IV_|_\.stapsdt\.base$)')" = 0
}

cflags()
{
	pkg-config --cflags ivykis
}

# each_header SUFFIX COMPILER...: compiles each header alone, and all together.
each_header()
{
	suffix=$1
	shift
	rm -f "$dir/all.$suffix"
	for header in "$include"/*.h; do
		header=$(basename "$header")
		echo "#include <$header>" |
			tee -a "$dir/all.$suffix" >"$dir/one.$suffix"
		# A header may be included twice.
		echo "#include <$header>" >>"$dir/one.$suffix"
		echo 'typedef int use_it;' >>"$dir/one.$suffix"
		"$@" $(cflags) -c "$dir/one.$suffix" -o "$dir/one.o" || return 1
	done
	echo 'typedef int use_it;' >>"$dir/all.$suffix"
	"$@" $(cflags) -c "$dir/all.$suffix" -o "$dir/all.o"
}

strict="-Wall -Wextra -pedantic -Werror"

build_hello()
{
	$CC $strict -D_GNU_SOURCE -pthread $(cflags) \
		"$TOP_SRCDIR/examples/hello.c" -o "$dir/hello" \
		$(pkg-config --libs ivykis)
}

# says_hello PROGRAM
says_hello()
{
	test "$(LD_LIBRARY_PATH=$lib "$1")" = "hello, loop"
}

build_and_run_static()
{
	$CC -static -pthread $(cflags) "$TOP_SRCDIR/examples/hello.c" \
		-o "$dir/hello.static" $(pkg-config --static --libs ivykis) &&
	test "$("$dir/hello.static")" = "hello, loop"
}

build_and_run_cxx()
{
	$CXX -std=c++17 $strict $(cflags) "$TOP_SRCDIR/test/installed.cc" \
		-o "$dir/cxx" $(pkg-config --libs ivykis) &&
	LD_LIBRARY_PATH=$lib "$dir/cxx"
}

# The C++ program calls every function that is new since 0.44.
calls_the_new()
{
	for name in $(sed -n '/^IVYKIS_0.44/,$s/^	\(iv_.*\);/\1/p' \
			"$TOP_SRCDIR/src/libivykis.ver"); do
		grep -q "[^_a-z]$name(" "$TOP_SRCDIR/test/installed.cc" ||
			{ echo "$name is not called"; return 1; }
	done
}

# build_and_run_lambda COMPILER...
build_and_run_lambda()
{
	"$@" -std=c++17 $strict -pthread $(cflags) \
		"$TOP_SRCDIR/examples/lambda.cc" -o "$dir/lambda" \
		$(pkg-config --libs ivykis) &&
	test "$(LD_LIBRARY_PATH=$lib "$dir/lambda")" = 5736396
}

# command_of FILE: prints the command of the first comment that compiles it.
command_of()
{
	sed -n '/\*\//q; s/^ \*	//p' "$1" | awk '
		/^(cc|c\+\+) /	{ command = 1 }
		command		{ print }
		!/\\$/		{ command = 0 }'
}

# Does not use the sysroot, which would also apply to other libraries.
compiles_examples()
(
	mkdir "$dir/examples" "$dir/pc" &&
	cp "$TOP_SRCDIR"/examples/*.c "$TOP_SRCDIR"/examples/*.cc \
		"$TOP_SRCDIR"/examples/*.h "$dir/examples" &&
	sed "s,^\([a-z_]*=\)/,\1$dir/root/," "$lib/pkgconfig/ivykis.pc" \
		>"$dir/pc/ivykis.pc" && cd "$dir/examples" || return 1
	unset PKG_CONFIG_SYSROOT_DIR
	PKG_CONFIG_PATH=$dir/pc
	for file in $(grep -l '^int main(' *.c *.cc); do
		command_of "$file" >compile && [ -s compile ] ||
			{ echo "$file: no command"; return 1; }
		others=$(sed -n 's/.*--libs ivykis\([^)]*\)).*/\1/p' compile)
		[ -z "$others" ] || pkg-config --exists $others || {
			echo "$file: left out, as$others is not installed"
			continue
		}
		sh -e compile && [ -x "${file%.*}" ] || {
			echo "$file: $(cat compile)"
			return 1
		}
	done
)

# configured_for_32_bits DIRECTORY FLAG...
configured_for_32_bits()
{
	build32=$dir/$1
	shift
	mkdir "$build32" &&
	(cd "$build32" && "$TOP_SRCDIR/configure" -q --host=i686-linux-gnu \
		CC=i686-linux-gnu-gcc CPPFLAGS="$*")
}

# compile_for_32_bits FLAG...: by pkg-config, as configured last.
compile_for_32_bits()
{
	i686-linux-gnu-gcc $strict -I"$TOP_SRCDIR/src/include" \
		$(PKG_CONFIG_PATH=$build32/packaging pkg-config --cflags ivykis) \
		"$@" -fsyntax-only "$dir/time.c"
}

time64="-D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64"

time_t_of_32_bits()
{
	configured_for_32_bits time32 || return 1
	echo '#include <iv.h>' >"$dir/time.c"
	compile_for_32_bits &&
	! compile_for_32_bits $time64
}

time_t_of_64_bits()
{
	configured_for_32_bits time64 $time64 || return 1
	cat >"$dir/time.c" <<-END
	#include <iv.h>
	_Static_assert(sizeof(time_t) == 8, "that of the library");
	END
	compile_for_32_bits -std=c11 &&
	compile_for_32_bits -std=c11 $time64 &&
	! compile_for_32_bits -std=c11 -U_TIME_BITS
}

make_project()
{
	mkdir -p "$dir/project" &&
	cp "$TOP_SRCDIR/test/user_project/CMakeLists.txt" \
		"$TOP_SRCDIR/test/user_project/meson.build" \
		"$TOP_SRCDIR/examples/hello.c" "$dir/project"
}

# cmake_project BUILD-DIRECTORY VERSION
cmake_project()
{
	make_project &&
	cmake -S "$dir/project" -B "$1" -DWANTED="$2" \
		-DCMAKE_PREFIX_PATH="$prefix" &&
	cmake --build "$1"
}

build_and_run_cmake()
{
	cmake_project "$dir/cmake" 0.29 && says_hello "$dir/cmake/hello" &&
	readelf -d "$dir/cmake/hello" | grep -q 'NEEDED.*libivykis'
}

build_and_run_cmake_static()
{
	mv "$lib/libivykis.so" "$dir" || return 1
	cmake_project "$dir/cmake.static" 0.45 &&
	"$dir/cmake.static/hello" &&
	! readelf -d "$dir/cmake.static/hello" | grep 'NEEDED.*libivykis'
	status=$?
	mv "$dir/libivykis.so" "$lib"
	return $status
}

cmake_refuses_newer()
{
	! cmake_project "$dir/cmake.newer" 99.0 &&
	grep -q 'not accepted' "$dir/out"
}

build_and_run_meson()
{
	make_project &&
	meson setup "$dir/meson" "$dir/project" &&
	meson compile -C "$dir/meson" && says_hello "$dir/meson/hello"
}

uninstall_it()
{
	"${MAKE:-make}" -C "$TOP_BUILDDIR" uninstall DESTDIR="$dir/root" &&
	test -z "$(find "$dir/root" ! -type d)"
}

verdict "DESTDIR is honoured" install_it
verdict "the library has its file, its links and its soname" has_library
verdict "the library needs no library but libc and maybe liburing" \
	needs_libc_alone
verdict "the library is never unloaded" is_never_unloaded
verdict "all headers are installed" has_headers
verdict "all manual pages are installed" has_pages
verdict "exactly the public names are exported, each with its version" \
	exports_the_public
verdict "the archive defines no names without the library's prefixes" \
	archive_is_tidy
verdict "pkg-config has a version that programs for 0.43 accept" \
	pkg-config --atleast-version=0.43 ivykis
verdict "pkg-config validates its file" \
	pkg-config --validate ivykis
for std in c99 c11 c17 gnu11; do
	verdict "each header compiles alone and twice as $std" \
		each_header c $CC -std=$std $strict
done
for std in c++11 c++17 c++20; do
	verdict "each header compiles alone and twice as $std" \
		each_header cc $CXX -std=$std $strict
done
verdict "a C program is built by pkg-config" build_hello
verdict "the C program runs" says_hello "$dir/hello"
verdict "a C program is built with the archive and runs" build_and_run_static
verdict "a C++ program is built by pkg-config and runs" build_and_run_cxx
verdict "the C++ program calls all functions that are new since 0.44" \
	calls_the_new
verdict "examples compile by the commands in their comments" \
	compiles_examples
verdict "a C++ program with a lambda is built and runs" \
	build_and_run_lambda $CXX
verdict_with clang++ "a C++ program with a lambda is built by clang and runs" \
	build_and_run_lambda clang++
verdict_with i686-linux-gnu-gcc \
	"32 bits: a program with another time_t does not compile" \
	time_t_of_32_bits
verdict_with i686-linux-gnu-gcc \
	"32 bits: a program gets the library's time_t of 64 bits" \
	time_t_of_64_bits
verdict_with cmake "a CMake project finds the library, builds and runs" \
	build_and_run_cmake
verdict_with cmake "a CMake project finds the archive if it is alone" \
	build_and_run_cmake_static
verdict_with cmake "a CMake project that needs a later version is rejected" \
	cmake_refuses_newer
verdict_with meson "a Meson project finds the library, builds and runs" \
	build_and_run_meson
verdict "uninstalling leaves no file" uninstall_it
echo "1..$num"
