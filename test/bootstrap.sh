#!/bin/sh
# What `./bootstrap' makes of its arguments, and what `make help' says.  Here a
# configure that writes its arguments down stands for the real one, and the
# makefile that it makes has nothing to build: `make check' has built all.
# Environment: MAKE, TOP_SRCDIR, TOP_BUILDDIR.
set -u

: "${TOP_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}"
# shellcheck source=test/tap.sh
. "$TOP_SRCDIR/test/tap.sh"
cd "$dir" || exit 1

cp "$TOP_SRCDIR/bootstrap" .
mkdir bin
cat >configure <<'END'
#!/bin/sh
printf '<%s>' "$@" >>../configured
echo >>../configured
printf 'all:\ncheck:\n\t@echo "PASS: it"\nclean:\n\techo >>../cleaned\n' >Makefile
END
# Nothing is to be installed.
printf '#!/bin/sh\nprintf installed\n' >bin/dpkg-query
chmod +x configure bin/dpkg-query
PATH=$dir/bin:$PATH

# configures WANTED ARGUMENT...: what configure was run with; - for not at all.
configures()
{
	wanted=$1
	shift
	rm -f configured
	./bootstrap "$@" >said 2>&1 || {
		cat said
		return 1
	}
	[ "$(cat configured 2>/dev/null || echo -)" = "$wanted" ] ||
		{ echo "configure: $(cat configured)"; return 1; }
}

begins_and_stays()
{
	configures '<>' && configures - && configures - --check
}

takes_options()
{
	configures '<--prefix=/opt/x><CFLAGS=-O2 -g>' \
		-- --prefix=/opt/x 'CFLAGS=-O2 -g' &&
	configures - -- --prefix=/opt/x 'CFLAGS=-O2 -g' &&
	configures - --check
}

takes_others()
{
	rm -f cleaned
	configures '<--prefix=/opt/y>' --check -- --prefix=/opt/y &&
	[ "$(wc -l <cleaned)" = 1 ] &&
	grep -qx '1 passed, 0 failed' said &&
	configures '<--prefix=/opt/x>' -- --prefix=/opt/x &&
	configures '<>' -- && configures - --
}

# refuses ARGUMENT...
refuses()
{
	./bootstrap "$@" >said 2>&1
	[ $? = 2 ] && grep -q '^usage: ' said
}

refuses_nonsense()
{
	refuses --prefix=/opt/x && refuses --chek && refuses '' &&
	refuses --check --demo && refuses --demo --prefix=/opt/x
}

helps()
{
	./bootstrap --help >said && grep -q '^usage: ' said
}

# Each target that is no file has a line.
makefile_helps()
{
	"${MAKE:-make}" -s -C "$TOP_BUILDDIR" help >told || return 1
	awk '{ print $1 }' told | sort >helped
	sed -n '/^\.PHONY:/,/[^\\]$/p' "$TOP_SRCDIR/Makefile.am" |
		tr -s ' \\\t' '\n' | grep -v '^\.PHONY:\|^help$\|^$' |
		sort >targets
	[ -s targets ] && ! comm -13 helped targets | grep . &&
	! awk '{ print length }' told | grep -v '^[1-9]$\|^[1-7][0-9]$'
}

verdict "bootstrap configures once" begins_and_stays
verdict "what follows -- goes to configure, once" takes_options
verdict "other options configure anew, and build anew" takes_others
verdict "what bootstrap does not know is refused" refuses_nonsense
verdict "bootstrap --help says so" helps
verdict "make help has a line for each target" makefile_helps
echo "1..$num"
