#!/bin/sh
# Tests of the manual as HTML: every page is there, and links lead somewhere.
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

all_pages_are_there()
{
	for page in "$TOP_SRCDIR"/man3/*.3; do
		grep -q '^\.so ' "$page" || basename "$page" .3
	done >"$dir/wanted" &&
	(cd "$html" && printf '%s\n' *.html) | sed 's/\.html$//' |
		grep -vx index | diff "$dir/wanted" -
}

all_names_are_in_the_index()
{
	for page in "$TOP_SRCDIR"/man3/*.3; do
		name=$(basename "$page" .3)
		echo "<li><a href=\"[^\"]*\">$name</a>"
		test ! -e "$html/$name.html" ||
			echo "<td><a href=\"$name.html\">$name</a>"
	done >"$dir/patterns"
	while read -r pattern; do
		grep -q "$pattern" "$html/index.html" || {
			echo "not there: $pattern"
			return 1
		}
	done <"$dir/patterns"
}

# file target, a link a line; those to other sites left out.
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

ours_are_not_elsewhere()
{
	for page in "$TOP_SRCDIR"/man3/*.3; do
		name=$(basename "$page" .3)
		! grep -n "https://[^\"]*/$name\.3" "$html"/*.html || return 1
	done
}

verdict "it is made" make_it
verdict "each page is there" all_pages_are_there
verdict "each page and each name is in the index" all_names_are_in_the_index
verdict "each link leads somewhere" links_lead_somewhere
verdict "no link to another site is for a page of ours" ours_are_not_elsewhere
echo "1..$num"
