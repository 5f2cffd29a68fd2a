#!/bin/sh
# libivykis: the manual in HTML.  `html.sh DIRECTORY' converts each page in
# man3/ to a file there, and makes an index.  In the index, an alias is a link
# to the page that it names.  SPDX-License-Identifier: LGPL-2.1-or-later
set -eu

doc=$(cd "$(dirname "$0")" && pwd)
pages=$(cd "$doc/../man3" && pwd)
version=$(sed -n 's/^AC_INIT(\[ivykis\], \[\([^]]*\)\].*/\1/p' \
	"$doc/../configure.ac")
mkdir -p "$1"
cd "$1"

# Prints each name of the manual, the page that explains it, and its section.
names()
{
	for file in "$pages"/*.[1-9]; do
		name=${file##*/}
		target=$(sed -n 's|^\.so man[1-9]/\(.*\)$|\1|p' "$file")
		target=${target:-$name}
		echo "${name%.*} ${target%.*} ${target##*.}"
	done
}

# Prints the one-line description of a page as a sentence.
line_of()
{
	sed -n 's/^\.Nd //p' "$pages/$1" |
	sed 's/&/\&amp;/g; s/</\&lt;/g; s/$/./' |
	awk '{ print toupper(substr($0, 1, 1)) substr($0, 2) }'
}

# Pages that mandoc finds beside this one are linked to; others are on the web.
convert()
{
	(cd "$pages" && mandoc -Thtml -O "$(printf %s \
		'style=manual.css,man=%N.html;' \
		'https://manpages.debian.org/%N.%S')" "$1")
}

head_of()
{
	cat <<-END
	<!DOCTYPE html>
	<html lang="en">
	<head>
	  <meta charset="utf-8"/>
	  <meta name="viewport" content="width=device-width, initial-scale=1.0"/>
	  <link rel="stylesheet" href="manual.css" type="text/css"/>
	  <title>Manual of libivykis $version</title>
	</head>
	<body class="index">
	<main class="manual-text">
	<h1 class="title">Manual of libivykis $version</h1>
	<p>libivykis is a library of event loops for C and C++.  Start with
	<a href="ivykis.html">ivykis(3)</a>, which also explains the terms.</p>
	END
}

# Lists the pages in the order in which ivykis(3) presents them.
objects()
{
	echo ivykis 3
	awk '/^\.Ss Pages/ { inside = 1; next }
	     /^\.S[hs]/ { inside = 0 }
	     inside && /^\.It Xr/ { print $3, $4 }' "$pages/ivykis.3"
}

index_of_pages()
{
	head_of
	echo '<dl class="pages">'
	objects | while read -r page section; do
		echo "<dt><a href=\"$page.html\">$page($section)</a></dt>" \
			"<dd>$(line_of "$page.$section")</dd>"
	done
	echo '</dl>'
	echo '<h2 class="Ss">All names</h2>'
	echo '<ul class="names">'
	while read -r name page section; do
		echo "<li><a href=\"$page.html#$name\">$name</a></li>"
	done <names.tmp
	printf '</ul>\n</main>\n</body>\n</html>\n'
}

names >names.tmp
names | while read -r name page section; do
	test "$name" = "$page" || continue
	convert "$page.$section" >page.tmp
	awk -v page="$page" -v section="$section" -v version="$version" \
		-f "$doc/html.awk" names.tmp page.tmp >"$page.html"
done
index_of_pages >index.html
rm names.tmp page.tmp
cp "$doc/manual.css" manual.css
