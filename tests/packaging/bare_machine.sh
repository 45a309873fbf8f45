#!/usr/bin/env bash
# Tries the committed checkout on a bare Debian, as its README says: `make bare`.
#
#   bare_machine.sh FOLDER SUITE [TARGET...]
#
# FOLDER/SUITE becomes the root of a Debian that has only its essential packages (debootstrap, minbase). A clone of the checkout is in
# its /opt/ninezero, and each TARGET of make runs there. REUSE=1 keeps a root with what earlier runs installed, and updates the clone.
#
# Where packages come from is the configuration of this machine: the mirrors of apt, the certificates, the settings of pip and Maven.
# All mounts and processes are in namespaces of their own. The kernel removes them when this script ends, also when it is killed.
set -euo pipefail

die() {
	echo "$*" >&2
	exit 1
}

if [ "${1:-}" != --inside ]; then
	[ "$(id -u)" = 0 ] || die "a bare root needs root: sudo make bare"
	[ $# -ge 2 ] || die "usage: $0 FOLDER SUITE [TARGET...]"
	setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child -- "$0" --inside "$@" &
	inside=$!
	trap 'kill -KILL $inside 2>/dev/null || true' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	wait $inside
	exit
fi

mkdir -p "$2"
folder=$(realpath "$2")
suite=$3
shift 3
root=$folder/$suite
checkout=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)

exec 9>"$folder/$suite.lock"
flock -n 9 || die "another run uses $root: wait for it"

# Mirrors of the distribution that this machine uses, as `URI suffix component`: the suffix is empty, -updates or -security.
mirrors() {
	# shellcheck disable=SC2016  # the dollars are those of apt-get
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		sed -nE 's/^Debian [a-z]+(-updates|-security)? (\S+) main$/\2 \1/p' | sort -u
}

create() {
	local mirror part=$root.part
	mirror=$(mirrors | awk 'NF == 1 {print $1; exit}')
	[ -n "$mirror" ] || die "apt has no mirror of Debian: add one to /etc/apt/sources.list and run apt-get update"
	remove "$part"
	debootstrap --variant=minbase "$suite" "$part" "$mirror" >"$folder/$suite.log" 2>&1 ||
		die "debootstrap failed, see $folder/$suite.log: $(tail -1 "$folder/$suite.log")"
	configure "$part"
	remove "$root"
	mv "$part" "$root"
}

remove() {
	! grep -qF " $1" /proc/self/mountinfo || die "something is mounted under $1: unmount it first"
	rm -rf --one-file-system "$1"
}

configure() {
	mirrors | awk -v suite="$suite" '{print "deb", $1, suite $2, "main"}' >"$1/etc/apt/sources.list"
	apt-config dump | grep -E '^Acquire::(https?::|Check-|ForceIPv|Retries)' >"$1/etc/apt/apt.conf.d/90machine" || true
	cp /etc/hosts "$1/etc/"
	cp -r /usr/local/share/ca-certificates "$1/usr/local/share/"
	if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$1/etc/"; fi
	if [ -d ~/.config/pip ]; then mkdir -p "$1/root/.config" && cp -r ~/.config/pip "$1/root/.config/"; fi
	for settings in ~/.m2/settings.xml /etc/maven/settings.xml; do
		[ ! -f "$settings" ] || { mkdir -p "$1/root/.m2" && cp "$settings" "$1/root/.m2/settings.xml" && break; }
	done
}

# A /dev of its own: nothing in the root reaches a device of this machine. No cgroups are mounted, as in many containers.
attach() {
	local name
	mount -t proc proc "$root/proc"
	mount -t sysfs -o ro sysfs "$root/sys"
	mount -t tmpfs -o mode=755 tmpfs "$root/dev"
	for name in null zero full random urandom tty; do
		touch "$root/dev/$name"
		mount --bind "/dev/$name" "$root/dev/$name"
	done
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
	mount -t tmpfs tmpfs "$root/dev/shm"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "$root/dev/${name%:*}"; done
}

# Runs a shell command in the root, with an environment of its own but for the settings of pip and of proxies.
inside() {
	local name
	local environment=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}")
	for name in $(compgen -e | grep -E '^PIP_|_(proxy|PROXY)$' | grep -v '^PIP_FIND_LINKS$'); do
		environment+=("$name=${!name}")
	done
	env -i "${environment[@]}" chroot "$root" sh -ec "$1"
}

size_mb() {
	du -smx "$1" | cut -f 1
}

command -v debootstrap >/dev/null || die "debootstrap is missing: apt-get install debootstrap"
[ -z "$(git -C "$checkout" status --porcelain)" ] || echo "$suite: only what is committed is tried" >&2
if [ -z "${REUSE:-}" ] || [ ! -d "$root" ]; then create; fi
cp /etc/resolv.conf "$root/etc/"
attach
clone=$root/opt/ninezero
if [ -d "$clone" ]; then
	git -C "$clone" fetch -q "$checkout" HEAD
	git -C "$clone" reset -q --hard FETCH_HEAD
else
	git clone -q --no-hardlinks "$checkout" "$clone"
fi
inside 'apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends make git >/dev/null 2>&1'
echo "$suite: $(size_mb "$root") MB with make and git, $(git -C "$clone" log -1 --format=%h)"
for target in "$@"; do
	before=$SECONDS
	inside "cd /opt/ninezero; make $target" || die "$suite: make $target failed after $((SECONDS - before)) s"
	echo "$suite: make $target: $((SECONDS - before)) s; $(size_mb "$root") MB, of which $(size_mb "$clone") MB are in the checkout"
done
