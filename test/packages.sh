#!/bin/sh
# The Debian packages: `packages.sh DIRECTORY' lets lintian check those that
# `make deb' has put there, and installs, uses and removes them in a fresh
# system.  Needs lintian, and what fresh_system.sh needs.
set -eu

debs=$(cd "$1" && pwd)
test=$(cd "$(dirname "$0")" && pwd)
debian=$test/../packaging/debian
examples=$test/../examples
# shellcheck source=test/fresh_system.sh
. "$test/fresh_system.sh"

version_of()
{
	inside dpkg -s "$1" | sed -n 's/^Version: //p'
}

# Runs a daemon that was built for the library of the distribution.
syslog_runs()
{
	cat >"$root/tmp/syslog.conf" <<-END
	@version: 3.38
	source in { unix-dgram("/tmp/in.sock"); internal(); };
	destination out { file("/tmp/out" flush-lines(1)); };
	log { source(in); destination(out); };
	END
	cat >"$root/tmp/syslog.sh" <<-'END'
	rm -f /tmp/out /tmp/in.sock
	syslog-ng -F --no-caps -f /tmp/syslog.conf -R /tmp/persist \
		-c /tmp/control -p /tmp/pid &
	daemon=$!
	until test -S /tmp/in.sock; do kill -0 $daemon || exit 1; sleep 0.1; done
	grep '/libivykis\.so' /proc/$daemon/maps
	for i in 1 2 3; do logger -u /tmp/in.sock "message $i"; done
	until grep 'message 3' /tmp/out; do kill -0 $daemon || exit 1; sleep 0.1; done
	kill $daemon && wait $daemon || exit 1
	test "$(grep -c 'message [123]$' /tmp/out)" = 3
	END
	inside timeout 60 sh /tmp/syslog.sh
}

upgrade()
{
	cp "$debs"/libivykis0_*.deb "$root/tmp/libivykis0.deb" &&
	cp "$debs"/libivykis-dev_*.deb "$root/tmp/libivykis-dev.deb" &&
	get /tmp/libivykis0.deb /tmp/libivykis-dev.deb &&
	test "$(version_of libivykis0)" = \
		"$(dpkg-parsechangelog -l "$debian/changelog" -S Version)"
}

own_test_passes()
{
	rm -rf "$root/tmp/src" && mkdir -p "$root/tmp/src" "$root/tmp/adt" &&
	cp -R "$examples" "$root/tmp/src/examples" &&
	cp "$debian/tests/hello" "$root/tmp/src" &&
	get gcc libc6-dev pkgconf &&
	inside env AUTOPKGTEST_TMP=/tmp/adt sh -c 'cd /tmp/src && ./hello'
}

removed_without_trace()
{
	inside dpkg -L libivykis0 libivykis-dev >"$work/files" &&
	inside apt-get purge -y libivykis0 libivykis-dev &&
	while read -r file; do
		test -d "$root$file" || ! ls -d "$root$file" || return 1
	done <"$work/files" &&
	! find "$root/usr" "$root/etc" "$root/var/lib/dpkg/info" \
		-name '*ivykis*' | grep .
}

step "lintian has no complaints" \
	lintian --allow-root --fail-on warning,error "$debs"/*.changes
step "a fresh system is ready" make_root
step "syslog-ng is installed with the library of the distribution" \
	get syslog-ng-core bsdutils
step "syslog-ng runs on that library" syslog_runs
step "the packages replace that library" upgrade
step "syslog-ng runs on this library" syslog_runs
step "programs are built with it, shared and static, and run" own_test_passes
step "the packages are removed without a trace" removed_without_trace
