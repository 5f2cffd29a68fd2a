#!/bin/sh
# The manual as HTML: `html.sh DIRECTORY' makes a file of each page in man3/ there,
# and an index; a name that another object's page explains leads to that.
set -eu

pages=$(cd "$(dirname "$0")/../man3" && pwd)
style=$(cd "$(dirname "$0")" && pwd)/manual.css
mkdir -p "$1"
cd "$1"

names()
{
	(cd "$pages" && printf '%s\n' *.3) | sed 's/\.3$//'
}

# The name of the page that explains a name.
page_of()
{
	target=$(sed -n 's|^\.so man3/\(.*\)\.3$|\1|p' "$pages/$1.3")
	echo "${target:-$1}"
}

# What a page says of itself in a line.
line_of()
{
	sed -n 's/^\.Nd //p' "$pages/$1.3" | sed 's/&/\&amp;/g; s/</\&lt;/g'
}

# mandoc leads to pages that it finds beside this one; others are on the net.
convert()
{
	(cd "$pages" && mandoc -Thtml -O "$(printf %s \
		'style=manual.css,man=%N.html;' \
		'https://manpages.debian.org/%N.%S')" "$1.3")
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
	  <title>The manual of libivykis</title>
	</head>
	<body>
	<main class="manual-text">
	<h1 class="Sh">The manual of libivykis</h1>
	END
}

# In the order in which ivykis(3) presents them.
objects()
{
	echo ivykis
	awk '/^\.Ss Pages/ { inside = 1; next }
	     /^\.S[hs]/ { inside = 0 }
	     inside && /^\.It Xr/ { print $3 }' "$pages/ivykis.3"
}

index_of_pages()
{
	head_of
	echo '<table class="index">'
	objects | while read -r name; do
		echo "<tr><td><a href=\"$name.html\">$name</a></td>" \
			"<td>$(line_of "$name")</td></tr>"
	done
	echo '</table>'
	echo '<h1 class="Sh">All names</h1>'
	echo '<ul class="names">'
	names | while read -r name; do
		echo "<li><a href=\"$(page_of "$name").html\">$name</a></li>"
	done
	printf '</ul>\n</main>\n</body>\n</html>\n'
}

names | while read -r name; do
	page=$(page_of "$name")
	test "$name" = "$page" ||
		echo "s|href=\"$name\.html\"|href=\"$page.html\"|g"
done >links.sed

home='<nav><a href="index.html">All pages</a></nav>'
names | while read -r name; do
	test "$name" = "$(page_of "$name")" || continue
	convert "$name" >page.tmp
	sed -f links.sed -e 's|^<html>|<html lang="en">|' \
		-e "s|^<body>|&$home|" page.tmp >"$name.html"
done
rm links.sed page.tmp
index_of_pages >index.html
cp "$style" manual.css
