#!/bin/sh
# Pastes the commands of README.md, its indented lines, into a shell of a fresh
# Debian system, one by one, and checks what they print.  Environment: HERE=1
# takes this system instead; QUICK=1 leaves out the tests and the benchmarks.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=test/fresh_system.sh
. "$top/test/fresh_system.sh"
[ -z "${HERE-}" ] || root=$work

# The manual and the benchmarks need these.
packages="man-db python3"

commands()
{
	awk '/^```/ { fence = !fence }
	     !fence && /^    [^ ]/ { print substr($0, 5) }' "$top/README.md" |
		if [ -n "${QUICK-}" ]; then
			grep -v 'bootstrap --check\|build bench'
		else
			cat
		fi
}

# Copies what is in the repository, and nothing that was built.
copy_sources()
{
	mkdir -p "$root/root/libivykis" && cd "$top" &&
	git ls-files -z | tar -cf - --null -T - |
		tar -xf - -C "$root/root/libivykis"
}

# The script ends at the first failure.  QUICK=1 shortens the benchmarks.
make_script()
{
	echo 'set -e; cd "$HOME/libivykis"; export QUICK=1'
	commands | while read -r line; do
		quoted=$(printf '%s\n' "$line" | sed "s/'/'\\\\''/g")
		printf "echo '>>> %s'; begin=\$(date +%%s)\n%s\n" \
			"$quoted" "$line"
		printf 'echo "<<< $(($(date +%%s) - begin)) s"\n'
	done
}

paste()
{
	if [ -n "${HERE-}" ]; then
		env HOME="$root/root" sh "$root/root/paste.sh" </dev/null
	else
		inside env HOME=/root sh /root/paste.sh </dev/null
	fi
}

# prints REGEX: checks that a line of the output matches as a whole.
prints()
{
	grep -Eqx "$1" "$work/pasted" || {
		echo "README.md: its commands do not print: $1" >&2
		exit 1
	}
}

if [ -z "${HERE-}" ]; then
	step "A fresh system is ready" make_root
	# shellcheck disable=SC2086 # several of them
	step "man-db and python3 are installed" get $packages
fi
step "The sources are copied" copy_sources
make_script >"$root/root/paste.sh"
paste >"$work/pasted" 2>&1 || {
	tail -n 60 "$work/pasted"
	echo "README.md: this command failed: $(sed -n 's/^>>> //p' \
		"$work/pasted" | tail -n 1)" >&2
	exit 1
}
awk '/^>>> / { line = substr($0, 5) } /^<<< / { printf "%4d s  %s\n", $2, line }' \
	"$work/pasted"

version=$(sed -n 's/^AC_INIT(\[[^]]*\], *\[\([^]]*\)\].*/\1/p' \
	"$top/configure.ac")
prints 'wc agrees on each of the [0-9]+ files\.'
[ -n "${QUICK-}" ] || prints '[0-9]+ passed, 0 failed(, [0-9]+ skipped)?'
prints 'hello, loop'
prints "$version"
prints '[[:space:]]*libivykis\.so\.0 => .*/root/ivykis/lib/libivykis\.so\.0 .*'
