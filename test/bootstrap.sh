#!/bin/sh
# Tests what `./bootstrap' does with its arguments, and what `make help' prints.
# The configure here records its arguments, and its makefile builds nothing, as
# `make check' has built everything already.
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
# Every package is installed, unless there is a file of its name.
cat >bin/dpkg-query <<'END'
#!/bin/sh
for package; do :; done
test -f "$package" || printf installed
END
printf '#!/bin/sh\nrm -f make\n' >bin/apt-get
printf '#!/bin/sh\necho 0\n' >bin/id
chmod +x configure bin/*
PATH=$dir/bin:$PATH

# configures WANTED ARGUMENT...: compares WANTED with the arguments of
# configure, which are - if it was not run.
configures()
{
	wanted=$1
	shift
	rm -f configured
	./bootstrap "$@" >printed 2>&1 || {
		cat printed
		return 1
	}
	[ "$(cat configured 2>/dev/null || echo -)" = "$wanted" ] ||
		{ echo "configure: $(cat configured)"; return 1; }
}

configures_once()
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

takes_other_options()
{
	rm -f cleaned
	configures '<--prefix=/opt/y>' --check -- --prefix=/opt/y &&
	[ "$(wc -l <cleaned)" = 1 ] &&
	grep -qx '1 passed, 0 failed' printed &&
	configures '<--prefix=/opt/x>' -- --prefix=/opt/x &&
	configures '<>' -- && configures - --
}

# Installed packages may change what configure finds.
installs_and_keeps_options()
{
	configures '<--prefix=/opt/x><--with-uring>' \
		-- --prefix=/opt/x --with-uring && : >"make" &&
	configures '<--prefix=/opt/x><--with-uring>' && [ ! -f make ] &&
	grep -qx 'Missing packages: make' printed && configures - --check
}

# refuses ARGUMENT...
refuses()
{
	./bootstrap "$@" >printed 2>&1
	[ $? = 2 ] && grep -q '^usage: ' printed
}

refuses_nonsense()
{
	refuses --prefix=/opt/x && refuses --chek && refuses '' &&
	refuses --check --demo && refuses --demo --prefix=/opt/x
}

helps()
{
	./bootstrap --help >printed && grep -q '^usage: ' printed
}

# Each target of .PHONY has a line.
makefile_helps()
{
	"${MAKE:-make}" -s -C "$TOP_BUILDDIR" help >help || return 1
	awk '{ print $1 }' help | sort >helped
	sed -n '/^\.PHONY:/,/[^\\]$/p' "$TOP_SRCDIR/Makefile.am" |
		tr -s ' \\\t' '\n' | grep -v '^\.PHONY:\|^help$\|^$' |
		sort >targets
	[ -s targets ] && ! comm -13 helped targets | grep . &&
	! awk '{ print length }' help | grep -v '^[1-9]$\|^[1-7][0-9]$'
}

verdict "bootstrap configures once" configures_once
verdict "options after -- go to configure, once" takes_options
verdict "with other options, bootstrap configures and builds again" \
	takes_other_options
verdict "bootstrap configures again if it has installed packages" \
	installs_and_keeps_options
verdict "bootstrap rejects arguments that it does not know" refuses_nonsense
verdict "bootstrap --help prints how to use it" helps
verdict "make help has a line for each target" makefile_helps
echo "1..$num"
