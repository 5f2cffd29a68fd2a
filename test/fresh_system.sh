# A fresh Debian system to try things in.  Sourced, it makes $work, a directory
# that is removed at the end, and $root, the system's, which is below it unless
# the environment's CHROOT names another one, which is kept.  Needs root,
# debootstrap and a mirror of Debian.  SUITE is the release.
# shellcheck shell=sh

suite=${SUITE:-bookworm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
root=${CHROOT:-$work/root}

# inside COMMAND...: runs it in the system; its processes and mounts end with
# it.
inside()
{
	unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
		chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"
}

# step WHAT COMMAND...: quiet unless it fails.
step()
{
	what=$1
	shift
	if ! ("$@") >"$work/log" 2>&1; then
		tail -n 40 "$work/log"
		echo "failed: $what" >&2
		exit 1
	fi
	echo "$what"
}

make_root()
{
	test -e "$root/usr/bin/apt-get" || debootstrap --variant=minbase \
		"$suite" "$root" || return 1
	cp /etc/resolv.conf /etc/hosts "$root/etc" &&
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" &&
	chmod +x "$root/usr/sbin/policy-rc.d" &&
	inside apt-get update
}

get()
{
	inside apt-get install -y --no-install-recommends "$@"
}
