#!/bin/sh
# libivykis: the headers declare no more foreign names than those of 0.43, since
# programs have functions and variables of their own; and C++ classes of any
# layout may contain the library's objects; and each header in src/ compiles by
# itself.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: CC, CXX, TOP_SRCDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
# shellcheck source=test/system_library.sh
. "$TOP_SRCDIR/test/system_library.sh"
cd "$dir" || exit 1

: "${CXX:=c++}"
include=$TOP_SRCDIR/src/include
strict="-Wall -Wextra -pedantic -Werror"

ours()
{
	(cd "$include" && printf '%s\n' *.h)
}

# text_of HEADER: prints what the header of 0.43 includes, and what defines NULL
# and size_t if our header needs them.
text_of()
{
	case $1 in
	iv_fd_pump.h | iv_popen.h | iv_thread.h) return ;;
	iv_avl.h | iv_list.h) need=NULL ;;
	iv_tls.h) need="NULL size_t" ;;
	*) need= ;;
	esac
	if [ -n "$need" ]; then
		for name in $need; do
			echo "#define __need_$name"
		done
		printf '#include <%s>\n' stddef.h inttypes.h
		return
	fi
	for name in errno sys/socket sys/time sys/types unistd; do
		echo "#include <$name.h>"
	done
	case $1 in
	iv_event.h | iv_work.h) echo "#include <inttypes.h>" ;;
	iv_inotify.h) printf '#include <%s>\n' inttypes.h sys/inotify.h ;;
	iv_signal.h) printf '#include <%s>\n' inttypes.h signal.h ;;
	iv_wait.h)
		printf '#include <%s>\n' inttypes.h sys/resource.h sys/wait.h
		;;
	esac
}

# brings COMPILER... <TEXT: prints the files that the text includes and the
# macros that it defines, without those of this library.
brings()
{
	cat >text.c &&
	"$@" -M text.c >files && "$@" -E -dM text.c >macros || return 1
	tr -s ' \\' '\n\n' <files | grep '\.h$' | grep -v '/iv[_a-z]*\.h$'
	sed 's/^#define \([A-Za-z0-9_]*\).*/\1/' macros |
		grep -vE '^(__|INIT_)?(IV|iv)_'
}

# brings_no_more COMPILER...
brings_no_more()
{
	for header in $(ours); do
		text_of "$header" | brings "$@" | sort -u >allowed &&
		echo "#include <$header>" | brings "$@" -I"$include" |
			sort -u >found || return 1
		[ -s found ] && comm -13 allowed found >extra || return 1
		if [ -s extra ]; then
			echo "$header declares, and that of 0.43 does not:"
			cat extra
			return 1
		fi
	done
}

# The same, compared with the installed headers.  NULL, size_t and reserved
# names do not matter.
brings_what_the_systems_do()
{
	for header in $(ours); do
		echo "#include <$header>" >one
		brings "$@" -I"$system/include" <one | sort -u >theirs &&
		brings "$@" -I"$include" <one | sort -u >found || return 1
		if diff theirs found | grep '^[<>]' |
		     grep -vE '/stddef\.h$|> NULL$|^[<>] _[A-Z_]'; then
			echo "$header"
			return 1
		fi
	done
}

# Names that no header of 0.43 declares, as variables of a program.
own_names()
{
	ours | sed 's/.*/#include <&>/'
	for name in asctime clock clone ctime daylight difftime getcpu gmtime \
		localtime max_align_t mktime nanosleep offsetof \
		sched_yield setns time timer_create timezone tzname \
		tzset unshare; do
		echo "int $name;"
	done
}

# leaves_names SUFFIX COMPILER...
leaves_names()
{
	own_names >"names.$1" &&
	"$2" "$3" -D_GNU_SOURCE $strict -I"$include" -fsyntax-only "names.$1"
}

# A program may define macros that have the names of those added in 0.45.
own_list_macros()
{
	names="iv_list_first_entry iv_list_for_each_entry
		iv_list_for_each_entry_safe iv_list_for_each_prev
		iv_list_is_singular iv_list_last_entry iv_list_move
		iv_list_move_tail iv_list_next_entry iv_list_prev_entry
		iv_list_replace"
	{
		echo '#define IV_LIST_HEAD(x) int x = 1'
		for name in $names; do
			echo "#define $name(x) (x)"
		done
		echo '#include <iv_list.h>'
		echo 'int main(void) { IV_LIST_HEAD(sum);'
		for name in $names; do
			echo "sum += $name(1);"
		done
		echo 'return sum != 12; }'
	} >own_list.c
	"$@" $strict -I"$include" own_list.c -o own_list && ./own_list
}

# A program may also define functions of these names, of any storage class.
own_list_functions()
{
	cat >own_list.c <<-END
	#include <iv_list.h>
	#define TWO struct iv_list_head *a, struct iv_list_head *b

	int sum;

	static inline void iv_list_move(TWO) { sum += a == b; }
	static void iv_list_move_tail(TWO) { sum += a == b; }
	void iv_list_replace(TWO);
	void iv_list_replace(TWO) { sum += a == b; }
	static inline int iv_list_is_singular(const struct iv_list_head *a)
	{
		return a == (void *)0;
	}

	int main(void)
	{
		iv_list_move(0, 0);
		iv_list_move_tail(0, 0);
		iv_list_replace(0, 0);
		return sum + iv_list_is_singular(0) != 4;
	}
	END
	"$@" $strict -I"$include" own_list.c -o own_list && ./own_list
}

# Classes that contain objects.
write_classes()
{
	cat >classes.cc <<-END
	#include <iv_list.h>
	#define SAME(x) (x)

	struct base {
		base() : x(1) {}
		virtual ~base() {}
		int x;
	};
	struct inner {
		int x;
		struct iv_list_head list;
	};
	class item : public base {
	public:
		struct iv_list_head list;
		struct inner nested;

		static item *of(struct iv_list_head *l)
		{
			return iv_container_of(l, item, list);
		}
	};

	template <class T> T *of(const struct iv_list_head *l)
	{
		return iv_list_entry(l, T, list);
	}

	int main()
	{
		item i;
		struct iv_list_head *l = &i.list;

		return item::of(l) == &i && of<item>(l) == &i &&
			iv_container_of(&i.nested.list, item,
					nested.list) == &i &&
			SAME(iv_container_of(&iv_container_of(l, item, list)->
					     list, item, list)) == &i ? 0 : 1;
	}
	END
}

# classes COMPILER...: compiles them, and also what the preprocessor has made of
# them, as distcc does.
classes()
{
	write_classes &&
	"$@" $strict -I"$include" classes.cc -o classes && ./classes &&
	"$@" $strict -I"$include" -E classes.cc -o classes.ii &&
	"$@" $strict classes.ii -o classes && ./classes
}

# The program fails if the sanitizer finds anything.
sanitized()
{
	classes "$@" -fsanitize=undefined -fno-sanitize-recover=all
}

# size_of_time_t EXPRESSION COMPILER...
size_of_time_t()
{
	size=$1
	shift
	echo "#include <iv.h>" >time_t.c
	"$@" $strict -I"$include" "-DIV_SIZEOF_TIME_T=($size)" -fsyntax-only \
		time_t.c
}

other_time_t_is_noticed()
{
	size_of_time_t "sizeof(time_t)" "$@" &&
	! size_of_time_t "sizeof(time_t) + 4" "$@" >errors 2>&1 &&
	grep 'iv_time_t_of_the_library_is_another' errors
}

# The private headers, which are not installed.
stand_alone()
{
	for header in "$TOP_SRCDIR"/src/*.h; do
		printf '#include "%s"\nextern int x;\n' "$header" >one.c
		"$@" $defs $strict -I"$include" -fsyntax-only one.c || return
	done
}

have_an_order()
{
	(cd "$TOP_SRCDIR/src" && grep '^#include "' ./*.h) |
		sed 's/^\.\///; s/:#include//; s/"//g' | tsort
}

verdict "C headers declare no more than those of 0.43" brings_no_more $CC
verdict "C headers declare no more than those of 0.43 with _GNU_SOURCE" \
	brings_no_more $CC -std=c11 -D_GNU_SOURCE
verdict "C++ headers declare no more than those of 0.43" \
	brings_no_more $CXX -x c++
if find_system; then
	verdict "the headers declare what the system's libivykis does" \
		brings_what_the_systems_do $CC -D_GNU_SOURCE
else
	skip "the headers declare what the system's libivykis does" \
		"libivykis-dev 0.43 or before is not installed"
fi
verdict "C programs may use all names that 0.43 leaves to them" \
	leaves_names c $CC -std=gnu11
verdict "C++ programs may use all names that 0.43 leaves to them" \
	leaves_names cc $CXX -std=gnu++17
verdict "list macros of a C program replace those of the header" \
	own_list_macros $CC -std=c99
verdict "list macros of a C++ program replace those of the header" \
	own_list_macros $CXX -x c++
for cc in $CC clang; do
	if ! command -v $cc >/dev/null; then
		skip "list functions of a C program ($cc)" \
			"$cc is not installed"
		continue
	fi
	verdict "list functions of a C program replace those of the header ($cc)" \
		own_list_functions $cc -std=c99
done
verdict "a C program with another time_t does not compile" \
	other_time_t_is_noticed $CC -std=c99
verdict "a C++ program with another time_t does not compile" \
	other_time_t_is_noticed $CXX -x c++
for cxx in $CXX clang++; do
	if ! command -v $cxx >/dev/null; then
		skip "objects in C++ classes of any layout" \
			"$cxx is not installed"
		continue
	fi
	for std in c++98 c++11 c++20; do
		verdict "objects in C++ classes of any layout ($cxx, $std)" \
			classes $cxx -std=$std
	done
	verdict "objects in C++ classes, under a sanitizer ($cxx)" \
		sanitized $cxx
done
verdict "each header in src/ compiles by itself" stand_alone $CC -std=gnu11
verdict "no header in src/ includes one that includes it" have_an_order
echo "1..$num"
