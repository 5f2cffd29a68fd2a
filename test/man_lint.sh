#!/bin/sh
# The manual: mandoc finds nothing to say about a page, it renders as it is meant
# to, an alias leads to a page that names it, each exported function has one, is
# declared there as in its header, and what it returns is told.  Written as TAP.

TOP_SRCDIR=$(cd "${TOP_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 1
: "${MAN_DIR:=$TOP_SRCDIR/man3}"
: "${VERSION_SCRIPT:=$TOP_SRCDIR/src/libivykis.ver}" "${CC:=cc}"

if ! command -v mandoc >/dev/null; then
	echo '1..0 # SKIP mandoc is not installed'
	exit 0
fi

# Relative to the caller's directory, which is left below.
script=$(cd "$(dirname "$VERSION_SCRIPT")" && pwd)/${VERSION_SCRIPT##*/}
include=$(cd "$TOP_SRCDIR/src/include" && pwd)
cd "$MAN_DIR" || exit 1

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

n=0
bad=0
# verdict NAME COMPLAINTS: passes if there are none.
verdict()
{
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "$2" | sed 's/^/# /'
		bad=$((bad + 1))
	fi
}

# Of the pages that are referred to, ours are here; the system's may not be
# installed.  -Wbase would add what NetBSD and OpenBSD ask of their own pages, such
# as an .Os without a name.
lint()
{
	mandoc -Tlint -Wstyle "$1" 2>/dev/null |
	sed '/referenced manual not found: Xr iv/!{
		/referenced manual not found/d
	}'
}

alias_complaint()
{
	target=$(sed -n 's|^\.so man3/\(.*\)$|\1|p' "$1")

	[ -f "$target" ] && ! grep -q '^\.so ' "$target" &&
	grep -q "^\.Nm ${1%.3}\( ,\)*\$" "$target" &&
	return
	echo "$1: leads to $target, which does not name it"
}

exported()
{
	sed -n 's/^[[:space:]]*\([A-Za-z_][A-Za-z0-9_]*\);$/\1/p' "$script" |
	grep -vx -e __iv_now_location -e __iv_now_location_valid
}

# Pages that are no aliases.
pages()
{
	grep -L '^\.so ' ./*.3 | sed 's,^\./,,'
}

rendered()
{
	mandoc -Tutf8 "$1" 2>/dev/null | sed 's/.\x08//g'
}

# Enclosing macros last to the end of the line: [A, [B]] for [A], [B].
nested_brackets()
{
	rendered "$1" | sed -n '/^ERRORS/,/^[A-Z]/p' |
	grep '\[[^]]*\[' | sed "s/^/$1: nested brackets: /"
}

# section PAGE NAME
section()
{
	awk -v name="$2" '
	/^\.Sh/	{ inside = substr($0, 5) == name; next }
	inside	{ print }
	' "$1"
}

# type<TAB>name(arguments) for each function of a page's synopsis.  Macros that
# are statements have no type; those with one have "type *".
synopsis()
{
	section "$1" SYNOPSIS | awk '
	function unquoted(text) {
		gsub(/"/, "", text)
		return text
	}
	function arguments(text,	list) {
		while (match(text, /^ *("[^"]*"|[^ ]+)/)) {
			list = list (list == "" ? "" : ", ") \
				unquoted(substr(text, RSTART, RLENGTH))
			text = substr(text, RSTART + RLENGTH)
		}
		gsub(/ +/, " ", list)
		sub(/^ /, "", list)
		return list
	}
	function put(name, list) {
		gsub(/, +/, ", ", list)
		if (type != "" && type != "type *")
			printf "%s\t%s(%s)\n", type, name, list
		type = ""
	}
	/^\.Ft/	{ type = unquoted(substr($0, 5)) }
	/^\.Fn/	{
		rest = substr($0, 5)
		name = rest
		sub(/ .*/, "", name)
		put(name, arguments(substr(rest, length(name) + 1)))
	}
	/^\.Fo/	{ name = $2; list = "" }
	/^\.Fa/	{
		list = list (list == "" ? "" : ", ") \
			arguments(substr($0, 5))
	}
	/^\.Fc/	{ put(name, list) }
	'
}

# The functions and macros of a synopsis.
synopsis_names()
{
	section "$1" SYNOPSIS | sed -n 's/^\.F[no] \([^ ]*\).*/\1/p' | sort -u
}

# Declared twice, by the header, unless there it is a macro, and by the page: a C
# compiler compares them.
write_declarations()
{
	sed -n 's/^\.In \(iv.*\)$/#include <\1>/p' "$1"
	echo '#include <stdarg.h>'
	synopsis "$1" | while IFS='	' read -r type function; do
		name=${function%%(*}
		cat <<-END
		#ifndef $name
		extern __typeof__($name) $name;
		$type ($name)(${function#*(};
		#endif
		END
	done
}

synopsis_complaint()
{
	write_declarations "$1" >"$tmp/synopsis.c"
	[ "$(synopsis "$1" | wc -l)" = \
		"$(section "$1" SYNOPSIS | grep '^\.Ft' | grep -vc '"type \*"')" ] ||
		echo "$1: a function of the synopsis was not understood"
	$CC -std=gnu11 -I"$include" -w -fsyntax-only "$tmp/synopsis.c" 2>&1 |
		grep 'error' | sed "s/^/$1: /"
}

# Names of functions of a synopsis whose type is not void.
returning()
{
	synopsis "$1" | sed -n '/^void	/!s/^[^	]*	\([^(]*\)(.*/\1/p'
}

# What a function returns is told, and if that is errno, also which.
returns_complaint()
{
	section "$1" "RETURN VALUES" >"$tmp/returns"
	section "$1" ERRORS >"$tmp/errors"
	for function in $(returning "$1"); do
		grep -q "^\.Fn $function\( [,.]\)*\$" "$tmp/returns" ||
			echo "$1: RETURN VALUES has no $function"
	done
	grep -q '^\.Va errno' "$tmp/returns" || return 0
	grep -q '^\.Er E' "$tmp/returns" ||
	grep -q '^\.It Bq Er E' "$tmp/errors" ||
		echo "$1: RETURN VALUES has errno, and ERRORS has none"
}

# Pages without functions, which have sections of their own.
other_pages='iv_examples ivykis'

is_other()
{
	for name in $other_pages; do
		[ "$name" != "$1" ] || return 0
	done
	return 1
}

# The sections of a page, in this order.  A name ending in `?' may be missing.
# Errors come before the program, as Linux has it, where mandoc wants EXAMPLES to
# come first: hence its name.
sections='NAME
LIBRARY
SYNOPSIS
DESCRIPTION
RETURN VALUES?
ENVIRONMENT?
FILES?
ERRORS?
THREAD SAFETY
NOTES?
EXAMPLE PROGRAM
SEE ALSO
HISTORY?
CAVEATS?'

# Sections that are missing, in another order or not in the list; functions of
# which THREAD SAFETY has no line.
structure_complaint()
{
	grep -qx '\.Os libivykis' "$1" || echo "$1: not .Os libivykis"
	sed -n 's/^\.Sh //p' "$1" | sed 's/^EXAMPLE PROGRAMS$/EXAMPLE PROGRAM/' |
	awk -v page="$1" -v list="$sections" '
	BEGIN { num = split(list, name, "\n") }
	{
		while (++at <= num && name[at] != $0 && name[at] != $0 "?") {
			if (name[at] !~ /\?$/)
				print page ": no " name[at] " before " $0
		}
		if (at > num) {
			print page ": out of order or unknown: " $0
			exit
		}
	}'
	section "$1" "THREAD SAFETY" | sed -n 's/^\.It \(.*\) Ta .*/\1/p' \
		>"$tmp/threads"
	for function in $(synopsis_names "$1"); do
		grep -qw -e "$function" -e 'all functions' "$tmp/threads" ||
			echo "$1: THREAD SAFETY has no line for $function"
	done
}

# Each page of ours that another one refers to is there.
references_complaint()
{
	sed -n 's/^\.\(It \)\{0,1\}Xr \(i*v[a-z_]*\) \([0-9]\).*/\2.\3/p' "$1" |
	grep '^iv' | while read -r target; do
		[ -f "$target" ] || echo "$1: refers to $target"
	done
	section "$1" "SEE ALSO" | grep -q '^\.Xr iv' ||
		echo "$1: SEE ALSO names no page of the manual"
	section "$1" "SEE ALSO" | grep "^\.Xr ${1%.3} 3" |
		sed "s/^/$1: SEE ALSO names the page itself: /"
}

programs_complaint()
{
	grep -l '^int main(' "$TOP_SRCDIR"/examples/*.c \
		"$TOP_SRCDIR"/examples/*.cc | while read -r program; do
		grep -q "^\.It Pa.* ${program##*/}\( \|\$\)" iv_examples.3 ||
			echo "iv_examples.3: does not know ${program##*/}"
	done
}

# Macros of mdoc that look like misspelt words, and what programs print.
spelling()
{
	codespell -q 3 -L fo,nd ./*.3 ../README ../src/README \
		../src/include ../examples
}

for page in $(pages); do
	verdict "$page" "$(lint "$page")"
done
verdict 'lists of errors' "$(
	for page in $(pages); do
		nested_brackets "$page"
	done
)"
verdict 'functions are declared as in the headers' "$(
	for page in $(pages); do
		synopsis_complaint "$page"
	done
)"
verdict 'what functions return' "$(
	for page in $(pages); do
		returns_complaint "$page"
	done
)"
verdict 'structure' "$(
	for page in $(pages); do
		if ! is_other "${page%.3}"; then
			structure_complaint "$page"
		elif [ -z "$(structure_complaint "$page")" ]; then
			echo "$page: has the structure, and is in other_pages"
		fi
	done
)"
verdict 'references' "$(
	for page in $(pages); do
		references_complaint "$page"
	done
)"
verdict 'programs in examples/' "$(programs_complaint)"
verdict 'aliases' "$(
	for page in *.3; do
		grep -q '^\.so ' "$page" && alias_complaint "$page"
	done
)"
verdict 'exported functions' "$(
	[ -n "$(exported)" ] || echo "$script: no function found"
	for page in $(pages); do
		synopsis "$page"
	done | sed 's/.*	\([^(]*\)(.*/\1/' | sort >"$tmp/declared"
	for function in $(exported); do
		[ -f "$function.3" ] || echo "$function: no page"
		grep -qx "$function" "$tmp/declared" ||
			echo "$function: in no synopsis"
	done
)"
if command -v codespell >/dev/null; then
	verdict 'spelling' "$(spelling)"
else
	n=$((n + 1))
	echo "ok $n - spelling # SKIP codespell is not installed"
fi
echo "1..$n"
[ "$bad" -eq 0 ]
