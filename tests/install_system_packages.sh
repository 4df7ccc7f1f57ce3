#!/bin/sh
# Installs the servers that the tests run for real, where that is possible without asking for a password.
# Where it is not, the tests that need them say which are skipped and why.
set -u
missing=
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
have nginx || missing="$missing nginx"
[ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || missing="$missing libnginx-mod-rtmp"
have ffmpeg || missing="$missing ffmpeg"
have promtool || missing="$missing prometheus"
have prometheus-alertmanager || missing="$missing prometheus-alertmanager"
have chromium || missing="$missing chromium"
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "cannot install$missing: no apt-get here; the tests that need them are skipped"
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root=sudo
else
    echo "cannot install$missing: neither root nor passwordless sudo; the tests that need them are skipped"
    exit 0
fi

# The packages would start their servers at once; the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod +x "$policy"
    trap '$as_root rm -f "$policy"' EXIT INT TERM
fi
echo "installing$missing ..."
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "could not install$missing; the tests that need them are skipped"
