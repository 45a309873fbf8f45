#!/bin/sh
# Checks that this machine has the programs that a target of make needs, before anything is installed or started.
#
#   prerequisites.sh GROUP...    `run` for every target, `tests` for real engines, `peers` for the comparison, `bare` for bare roots
#
# It names all that is missing in one line of apt-get. As root on Debian, it runs this line. PYTHON is the Python to use.
set -eu

python=${PYTHON:-python3}
packages=
programs=

# need PACKAGE PROGRAM COMMAND...: the package is missing if the command fails.
need() {
	package=$1 program=$2
	shift 2
	"$@" >/dev/null 2>&1 && return
	packages="$packages $package"
	programs="${programs:+$programs, }$program"
}

found() { command -v "$1"; }
has_venv() { "$python" -c 'import ensurepip, venv'; }
has_java() { found "${JAVA_HOME:+$JAVA_HOME/bin/}java" || found java; }
has_library() { # where the system has ldconfig, which is not in everyone's PATH
	PATH=$PATH:/sbin found ldconfig || return 0
	PATH=$PATH:/sbin ldconfig -p | grep -q "$1"
}
has_font() { test -e "${FONTS:-/usr/share/fonts}/truetype/wqy/$1"; }

check() {
	packages='' programs=''
	for group; do
		case $group in
		run)
			need python3-venv 'Python with venv' has_venv
			need default-jre-headless Java has_java
			need maven Maven found mvn
			;;
		tests)
			need git git found git
			need procps ps found ps
			need openssl openssl found openssl
			need prometheus promtool found promtool
			need chromium Chromium found chromium
			need libatomic1 libatomic.so.1 has_library libatomic.so.1 # for the Node.js of Playwright
			need fonts-wqy-microhei 'WenQuanYi Micro Hei' has_font wqy-microhei.ttc # for the pictures of the board
			;;
		peers) need default-jdk-headless javac found javac ;;
		bare)
			need git git found git
			need debootstrap debootstrap found debootstrap
			;;
		esac
	done
	[ -z "$packages" ]
}

fail() {
	echo "$*" >&2
	exit 1
}

if ! check "$@"; then
	if ! found apt-get >/dev/null; then
		fail "missing: $programs. Install what this system has for the packages of Debian:$packages"
	elif [ "$(id -u)" != 0 ]; then
		fail "missing: $programs. Run this as root: apt-get install$packages"
	fi
	echo "missing: $programs. Running apt-get install$packages" >&2
	# shellcheck disable=SC2086  # one word a package
	output=$({ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } </dev/null 2>&1) || {
		echo "$output" >&2
		fail "apt-get failed, as it says above. Correct that, then run apt-get install$packages"
	}
	check "$@" || fail "apt-get installed$packages, but $programs cannot be used: check PATH and PYTHON"
fi
case " $* " in *' run '*)
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		fail "Python 3.11 or later is needed, $python is $("$python" -c 'import platform; print(platform.python_version())'): make PYTHON=/path/to/python"
	;;
esac
