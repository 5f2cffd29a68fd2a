#!/bin/sh
# libivykis: checks of the manual in HTML.  Every page exists, and links lead to
# what they name.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: TOP_SRCDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
needs mandoc mandoc

html=$dir/html

make_it()
{
	"$TOP_SRCDIR/doc/html.sh" "$html"
}

# Lists the names of the manual, without those of pages if $1 is "functions".
names()
{
	for page in "$TOP_SRCDIR"/man3/*.[1-9]; do
		name=$(basename "${page%.*}")
		test "$1" != functions || grep -q '^\.so ' "$page" || continue
		echo "$name"
	done
}

all_pages_are_there()
{
	for page in "$TOP_SRCDIR"/man3/*.[1-9]; do
		grep -q '^\.so ' "$page" || basename "${page%.*}"
	done | LC_ALL=C sort >"$dir/wanted" &&
	(cd "$html" && printf '%s\n' *.html) | sed 's/\.html$//' |
		grep -vx index | LC_ALL=C sort | diff "$dir/wanted" -
}

version_is_named()
{
	version=$(sed -n 's/^AC_INIT(\[ivykis\], \[\([0-9.]*\)\].*/\1/p' \
		"$TOP_SRCDIR/configure.ac")
	test -n "$version" || return 1
	for file in "$html"/*.html; do
		grep -qF "libivykis $version<" "$file" || {
			echo "${file##*/}: not there: libivykis $version"
			return 1
		}
	done
}

all_names_are_in_the_index()
{
	for name in $(names all); do
		echo "<li><a href=\"[^\"]*#$name\">$name</a>"
		test ! -e "$html/$name.html" ||
			echo "<a href=\"$name.html\">$name([0-9])</a></dt> <dd>[A-Z].*\.</dd>"
	done >"$dir/patterns"
	while read -r pattern; do
		grep -q "$pattern" "$html/index.html" || {
			echo "not there: $pattern"
			return 1
		}
	done <"$dir/patterns"
}

pages_have_contents()
{
	for file in "$html"/*.html; do
		test "${file##*/}" != index.html || continue
		sed -n '/<nav class="toc"/,/<\/nav>/p' "$file" |
			grep -o 'href="#[^"]*"' >"$dir/contents"
		test "$(wc -l <"$dir/contents")" = \
			"$(grep -c '<h[12] class="S[hs]" id=' "$file")" || {
			echo "${file##*/}: the contents lack a section"
			return 1
		}
	done
}

# Functions are links wherever they are mentioned, except in literal text.
functions_are_links()
{
	names functions >"$dir/functions"
	for file in "$html"/*.html; do
		grep -o '[^>]*>\{0,1\}<code class="Fn"[^>]*>[^<]*' "$file" |
		sed 's/.*>\([^>]*\)$/\1 &/' | while read -r name rest; do
			grep -qx "$name" "$dir/functions" || continue
			case $rest in
			*"#$name\"><code"*) ;;
			*) echo "${file##*/}: $name is no link"; exit 1 ;;
			esac
		done || return 1
	done
}

# If an id occurred twice, links would lead to its first place.
ids_are_unique()
{
	for file in "$html"/*.html; do
		twice=$(grep -o ' id="[^"]*"' "$file" | sort | uniq -d)
		test -z "$twice" || {
			echo "${file##*/}: twice: $twice"
			return 1
		}
	done
}

# Prototypes may be broken between arguments where lines are short.
prototypes_may_be_broken()
{
	! sed '/id="DESCRIPTION"/q' "$html/iv_fd.html" | grep -n nowrap
}

# In a table that is wider than the screen, names are broken at underlines.
names_in_tables_may_be_broken()
{
	grep '<table class="Bl-column' "$html/iv_fd.html" &&
	grep '>iv_<wbr/>fd_<wbr/>register</code>' "$html/iv_fd.html"
}

# Prints file and target of each link, except those to other sites.
links()
{
	for file in "$html"/*.html; do
		grep -o 'href="[^"]*"' "$file" | cut -d'"' -f2 |
			sed "s|^|${file##*/} |; s|^\([^ ]*\) #|\1 \1#|"
	done | grep -v ' https:' | sort -u
}

links_lead_somewhere()
{
	test "$(links | wc -l)" -gt 500 &&
	links | while read -r file target; do
		page=${target%%#*}
		test -e "$html/$page" || {
			echo "$file: $target: no such file"
			exit 1
		}
		test "$page" = "$target" ||
		grep -qF "id=\"${target#*#}\"" "$html/$page" || {
			echo "$file: $target: no such place"
			exit 1
		}
	done
}

no_page_is_elsewhere()
{
	for name in $(names all); do
		! grep -n "https://[^\"]*/$name\.[0-9]" "$html"/*.html || return 1
	done
}

verdict "the manual is converted" make_it
verdict "each page exists" all_pages_are_there
verdict "each page names the version" version_is_named
verdict "each page and each name is in the index" all_names_are_in_the_index
verdict "each page has a table of contents" pages_have_contents
verdict "each function that is mentioned is a link to it" functions_are_links
verdict "each id is unique" ids_are_unique
verdict "prototypes may be broken into lines" prototypes_may_be_broken
verdict "names in tables may be broken" names_in_tables_may_be_broken
verdict "each link has its target" links_lead_somewhere
verdict "no page of this manual is linked to at another site" \
	no_page_is_elsewhere
echo "1..$num"
