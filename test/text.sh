#!/bin/sh
# libivykis: checks of documents, manual and comments.  Words are spelt in
# British English, and the files, pages and headings that are referred to exist.
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Environment: TOP_SRCDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
cd "$TOP_SRCDIR" || exit 1

documents="README.md CONTRIBUTING.md NEWS RELEASING.md SECURITY.md src/README
	test/kqueue/README"

sources()
{
	printf '%s\n' src/*.[ch] src/include/*.h examples/*.c examples/*.cc \
		test/*.[ch] test/*.cc test/fuzz/*.c test/kqueue/*.c bench/*.[ch]
}

# An archive of a release has no .ci.
scripts()
{
	printf '%s\n' bootstrap test/*.sh test/model/*.sh bench/run \
		doc/*.sh doc/*.awk
	test ! -e .ci/run || echo .ci/run
}

pages()
{
	grep -L '^\.so ' man3/*.3
}

# Prints one word per line, without identifiers, numbers and quotations.
words_in()
{
	sed "s/\`[^']*'//g
		s/[A-Za-z0-9.:-]*(\([^ )]*\))//g
		s/[^ (]*[0-9_/=<>\`@\\\\][^ ]*//g
		s/[a-z]*['-]th\>//g
		s/\"[^\"]*\"//g" |
	tr -c "A-Za-z0-9'.\n" ' ' | tr -s ' ' '\n' |
	sed "s/[.']*\$//; s/^'*//; s/'s\$//" |
	grep -x "[A-Za-z]\{0,1\}[a-z']\{2,\}"
}

# Prints the comments of a file, in C without the lines of code in them.
comments_of()
{
	case $1 in
	*.[ch] | *.cc)
		awk '
		{
			line = $0
			if (inside && line ~ /^ \*(\t|    )/ &&
			    line !~ /\*\//)
				next
			while (line != "") {
				if (!inside) {
					if (!(i = index(line, "/*")))
						break
					line = substr(line, i + 2)
					inside = 1
				}
				i = index(line, "*/")
				print i ? substr(line, 1, i - 1) : line
				line = i ? substr(line, i + 2) : ""
				if (i)
					inside = 0
			}
		}' "$1" ;;
	*)	sed -n 's/^[[:space:]]*#[# ]//p' "$1" ;;
	esac
}

# Prints the text of a file without programs and quoted code.
text_of()
{
	case $1 in
	man3/*)	awk '
		/^\.Bd -literal/ { literal = 1 }
		/^\.Ed/		{ literal = 0 }
		/^\.(Nd|Ss) /	{ sub(/^\.[A-Za-z]* /, ""); print; next }
		!literal && !/^\./ { print }' "$1" | sed 's/\\&//; s/\\-/-/' ;;
	*.md | *README)
		awk '/^```/ { literal = !literal; next }
		     !literal && !/^    / && !/^\t/' "$1" |
			sed 's/`[^`]*`//g' ;;
	NEWS)	sed 's/`[^'"'"']*'"'"'//g' "$1" ;;
	*)	comments_of "$1" ;;
	esac
}

all_files()
{
	printf '%s\n' $documents
	pages
	sources
	scripts
}

# Each word is in the dictionary or in test/words.
misspelt()
{
	all_files | while read -r file; do
		text_of "$file" | words_in | sort -u | sed "s|^|$file:|"
	done >"$dir/words"
	cut -d: -f2 "$dir/words" | sort -u |
		aspell list -l en_GB-ise --encoding utf-8 | sort -u |
		grep -vixF -f test/words >"$dir/unknown"
	test ! -s "$dir/unknown" || {
		while read -r word; do
			grep ":$word\$" "$dir/words"
		done <"$dir/unknown"
		echo "Add to test/words what is right."
		return 1
	}
}

# Includes what programs print.  "fo" and "nd" are macros of mdoc.
# shellcheck disable=SC2086 # several files
frequent_mistakes()
{
	codespell -q 3 -L fo,nd $documents man3 src examples doc packaging \
		bootstrap
}

# git marks a conflict in a file by such lines.
no_conflict_is_left()
{
	! all_files | xargs cat /dev/null | grep -q '^<<<<<<< \|^>>>>>>> ' || {
		all_files | xargs grep -n '^<<<<<<< \|^>>>>>>> '
		return 1
	}
}

# Pages are named like iv_main(3).
named_pages_exist()
{
	{
		printf '%s\n' $documents
		sources
	} | while read -r file; do
		text_of "$file" | grep -o '\<ivy\{0,1\}[a-z_]*([1-9])' |
		sort -u | sed 's/(\(.\))/.\1/' | while read -r page; do
			test -e "man3/$page" || echo "$file: no page $page"
		done
	done >"$dir/missing"
	cat "$dir/missing"
	test ! -s "$dir/missing"
}

# Files are named like src/iv_fd.c, or like iv_fd.c without a directory.
named_files_exist()
{
	for file in $documents; do
		grep -o '[A-Za-z0-9._/-]*' "$file" |
		sed 's/[.]*$//' | sort -u | while read -r name; do
			case $name in
			build/* | */build/* | /*) continue ;;
			bench/results.md) continue ;;	# made by make bench
			bench/* | doc/* | examples/* | include/* | man3/* | \
			packaging/* | src/* | test/*) ;;
			iv_*.[ch] | libivykis.ver) name=src/$name ;;
			*) continue ;;
			esac
			test -e "$name" || test -e "src/$name" ||
			test -e "src/include/${name#src/}" ||
				echo "$file: no file $name"
		done
	done >"$dir/missing"
	sources | while read -r file; do
		comments_of "$file" | grep -o '\<iv_[a-z_]*\.[ch]\>' |
		sort -u | while read -r name; do
			test -e "src/$name" || test -e "src/include/$name" ||
				echo "$file: no file $name"
		done
	done >>"$dir/missing"
	cat "$dir/missing"
	test ! -s "$dir/missing"
}

# Lists the anchors that the headings of a document have.
anchors()
{
	sed -n 's/^#\{1,\} //p' "$1" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9_\n-'
}

links_have_targets()
{
	for file in *.md; do
		grep -o '](\([^)]*\))' "$file" | sed 's/^](//; s/)$//' |
		grep -v '^https:' | while read -r link; do
			target=${link%%#*}
			: "${target:=$file}"
			test -e "$target" || {
				echo "$file: no file $target"
				continue
			}
			test "${link#*#}" = "$link" ||
			anchors "$target" | grep -qxF "${link#*#}" ||
				echo "$file: no heading $link"
		done
	done >"$dir/missing"
	cat "$dir/missing"
	test ! -s "$dir/missing"
}

if command -v aspell >/dev/null &&
   aspell dump dicts | grep -qx en_GB-ise; then
	verdict "words are in the dictionary" misspelt
else
	skip "words are in the dictionary" \
		"aspell, with aspell-en, is not installed"
fi
if command -v codespell >/dev/null; then
	verdict "there are no frequent mistakes" frequent_mistakes
else
	skip "there are no frequent mistakes" "codespell is not installed"
fi
verdict "no merge conflict is left" no_conflict_is_left
verdict "each page of the manual that is named exists" named_pages_exist
verdict "each file that is named exists" named_files_exist
verdict "each link in a document has its target" links_have_targets
echo "1..$num"
