# libivykis: improves a page that mandoc(1) has converted to HTML.  Functions
# are links, there is a table of contents, and each prototype is one line, which
# may be broken.  SPDX-License-Identifier: LGPL-2.1-or-later
#
# awk -v page=NAME -v section=N -v version=V -f html.awk names page.html
# Each line of "names" has a name of the manual and its page.

FNR == NR {
	page_of[$1] = $2
	next
}
{ text = text $0 "\n" }

function is_here(name) {
	return name in page_of && page_of[name] == page
}

# Returns the text without tags, as one line.
function plain(html) {
	gsub(/<[^>]*>/, "", html)
	gsub(/[ \n]+/, " ", html)
	return html
}

# Removes the anchors of names, which mandoc puts where a name occurs first.
function drop_anchors(	out, id) {
	while (match(text, / id="[^"]*"/)) {
		id = substr(text, RSTART + 5, RLENGTH - 6)
		sub(/~.*/, "", id)
		out = out substr(text, 1, RSTART - 1)
		if (!(id in page_of))
			out = out substr(text, RSTART, RLENGTH)
		text = substr(text, RSTART + RLENGTH)
	}
	text = out text
}

function last_of(html, what,	at, i) {
	while ((i = index(substr(html, at + 1), what)) > 0)
		at += i
	return at
}

# Returns the HTML for the n-th function that the page mentions.
function shown(name, n,	is_anchor) {
	if (!(name in page_of))
		return "<code class=\"Fn\">" name "</code>"
	is_anchor = is_here(name) && place[name] == n
	return "<a class=\"Fn\" href=\"" \
		(is_here(name) ? "" : page_of[name] ".html") "#" name \
		"\"><code class=\"Fn\"" (is_anchor ? " id=\"" name "\"" : "") \
		">" name "</code></a>"
}

# A function's anchor is the item of a list that it heads, or its prototype.
function choose_place(name, before, n) {
	if (!is_here(name))
		return
	if (last_of(before, "<dt") > last_of(before, "</dt>")) {
		if (!described[name]++)
			place[name] = n
	} else if (!(name in place) && before ~ /id="SYNOPSIS"/) {
		place[name] = n
	}
}

function each_function(choose,	out, rest, name, n) {
	rest = text
	while (match(rest, /(<a class="permalink" href="#[^"]*">)?<code class="Fn">[^<]*<\/code>(<\/a>)?/)) {
		name = plain(substr(rest, RSTART, RLENGTH))
		out = out substr(rest, 1, RSTART - 1)
		n++
		if (choose) {
			choose_place(name, out, n)
			out = out substr(rest, RSTART, RLENGTH)
		} else {
			out = out shown(name, n)
		}
		rest = substr(rest, RSTART + RLENGTH)
	}
	text = out rest
}

# Names that are not functions, such as iv_now, have their anchor in NAME.
function each_name(	out, rest, name) {
	rest = text
	while (match(rest, /<code class="Nm">[^<]*<\/code>/)) {
		name = plain(substr(rest, RSTART, RLENGTH))
		out = out substr(rest, 1, RSTART - 1)
		if (is_here(name) && out !~ /id="SYNOPSIS"/)
			out = out "<a class=\"Nm\" href=\"#" name "\"><code class=\"Nm\"" \
				(name in place ? "" : " id=\"" name "\"") \
				">" name "</code></a>"
		else
			out = out substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH)
	}
	text = out rest
}

# Links to other pages may use any of their names.
function each_reference(	out, name) {
	while (match(text, /href="[A-Za-z0-9_-]+\.html"/)) {
		name = substr(text, RSTART + 6, RLENGTH - 12)
		out = out substr(text, 1, RSTART - 1) "href=\"" \
			(name in page_of ? page_of[name] : name) ".html" \
			(name in page_of && page_of[name] != name ? \
			 "#" name : "") "\""
		text = substr(text, RSTART + RLENGTH)
	}
	text = out text
}

function contents(	rest, out, id, level, title, deep) {
	rest = text
	while (match(rest, /<h[12] class="S[hs]" id="[^"]*">/)) {
		level = substr(rest, RSTART + 2, 1)
		id = substr(rest, RSTART, RLENGTH)
		sub(/.* id="/, "", id)
		sub(/".*/, "", id)
		rest = substr(rest, RSTART + RLENGTH)
		title = plain(substr(rest, 1, index(rest, "</h" level ">") - 1))
		if (level == 2 && !deep) {
			out = out "<ul>\n"
		} else if (out != "") {
			out = out "</li>\n"
			if (level == 1 && deep)
				out = out "</ul></li>\n"
		}
		deep = level == 2
		out = out "<li><a href=\"#" id "\">" title "</a>"
	}
	return "<nav class=\"toc\" aria-label=\"Contents\">\n<ul>\n" out \
		(deep ? "</li></ul>" : "") "</li>\n</ul>\n</nav>\n"
}

# Keeps the closing parenthesis with the last argument.
function keep_ends(part,	out) {
	while (match(part, /<var class="Fa">[^<]*<\/var>\);/)) {
		out = out substr(part, 1, RSTART - 1) "<span class=\"last\">" \
			substr(part, RSTART, RLENGTH) "</span>"
		part = substr(part, RSTART + RLENGTH)
	}
	return out part
}

# Puts type and function on one line, which is broken where necessary.
function join_prototypes(	start, end, part) {
	start = index(text, "id=\"SYNOPSIS\"")
	end = index(text, "id=\"DESCRIPTION\"")
	if (!start || !end)
		return
	part = substr(text, start, end - start)
	gsub(/<p class="Pp">[ \n]*<br\/>[ \n]*/, "<p class=\"Pp\">", part)
	gsub(/\*<\/var>[ \n]*<br\/>[ \n]*/, "*</var>", part)
	gsub(/<\/var>[ \n]*<br\/>[ \n]*/, "</var> ", part)
	gsub(/ style="white-space: nowrap;"/, "", part)
	text = substr(text, 1, start - 1) keep_ends(part) substr(text, end)
	sub(/<section class="Sh">[ \n]*<h1 class="Sh" id="SYNOPSIS"/,
	    "<section class=\"Sh synopsis\">\n<h1 class=\"Sh\" id=\"SYNOPSIS\"",
	    text)
}

# Lets names in tables be broken at their underlines where lines are short.
function break_names(	out, rest, name, end) {
	rest = text
	while (match(rest, /<table class="Bl-column[^>]*>/)) {
		out = out substr(rest, 1, RSTART + RLENGTH - 1)
		rest = substr(rest, RSTART + RLENGTH)
		end = index(rest, "</table>")
		while (match(rest, />[A-Z_]*[Ii][Vv]_[A-Za-z_]*</) &&
		       RSTART < end) {
			name = substr(rest, RSTART, RLENGTH)
			gsub(/_/, "_<wbr/>", name)
			out = out substr(rest, 1, RSTART - 1) name
			end -= RSTART + RLENGTH - 1
			rest = substr(rest, RSTART + RLENGTH)
		}
	}
	text = out rest
}

function frame(	name, start, end) {
	name = page "(" section ")"
	sub(/<html>/, "<html lang=\"en\">", text)
	sub(/<title>[^<]*</, "<title>" name " - libivykis<", text)
	start = index(text, "<table class=\"head\">")
	end = index(text, "<div class=\"manual-text\">")
	text = substr(text, 1, start - 1) \
		"<header><a href=\"index.html\">libivykis " version \
		"</a> <span>" name "</span></header>\n" contents() \
		substr(text, end)
	sub(/<div class="manual-text">/, "<main class=\"manual-text\">", text)
	# The tag that ends it is the last one before the foot.
	start = index(text, "<table class=\"foot\">")
	end = last_of(substr(text, 1, start), "</div>")
	text = substr(text, 1, end - 1) "</main>" substr(text, end + 6)
}

END {
	drop_anchors()
	each_function(1)
	each_function(0)
	each_name()
	each_reference()
	join_prototypes()
	break_names()
	frame()
	printf "%s", text
}
