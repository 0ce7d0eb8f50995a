#!/usr/bin/env bash
# Packs dist/edgeproxy for Debian and Ubuntu: dist/edgeproxy_VERSION_ARCH.deb. Needs dpkg-deb, and no root. The same sources, binary and
# SOURCE_DATE_EPOCH give the same bytes.
#
#   packaging/deb.sh                  the version of deno.json, this machine's architecture
#   packaging/deb.sh 0.2.0 arm64      of dist/edgeproxy-linux-arm64 (./compile.sh linux-arm64) where this machine is another
#
# SOURCE_DATE_EPOCH   seconds since 1970, for all times in the package (default: of the last commit)
# MAINTAINER          who packs it, 'Name <address>'
# DEB_COMPRESSION     arguments of dpkg-deb (default: -Zxz)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 022

fail() {
  echo "packaging/deb.sh: $1" >&2
  exit "${2:-1}"
}

case "${1:-}" in -*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
command -v dpkg-deb >/dev/null || fail "dpkg-deb is needed"
released=$(sed -n 's/^ *"version": "\(.*\)",$/\1/p' deno.json | head -1)
# Debian sorts 0.2.0~beta.1 before 0.2.0.
version=$(printf '%s' "${1:-$released}" | sed 's/-/~/')
arch=${2:-$(dpkg --print-architecture)}
dpkg --validate-version "$version" || fail "not a version: $version" 2
case "$arch" in
  amd64) target=linux-x64 machine=3e ;;
  arm64) target=linux-arm64 machine=b7 ;;
  *) fail "there is no edgeproxy for $arch; amd64 and arm64 there are" 2 ;;
esac
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
maintainer=${MAINTAINER:-the edgeproxy authors <edgeproxy@localhost>}

# A binary says in its 19th byte which machine it is for.
binary=
for candidate in dist/edgeproxy "dist/edgeproxy-$target"; do
  if [ -x "$candidate" ] && [ "$(od -An -tx1 -j18 -N1 "$candidate" | tr -d ' ')" = "$machine" ]; then
    binary=$candidate
    break
  fi
done
[ -n "$binary" ] || fail "no binary for $arch; ./compile.sh $target makes one"
libc=$(grep -aoE 'GLIBC_2\.[0-9]+' "$binary" | sort -Vu | tail -1)

tree=$(mktemp -d dist/deb.XXXXXX)
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree"
put() { install -D -m "$1" "$2" "$tree/$3"; }
doc=usr/share/doc/edgeproxy

put 755 "$binary" usr/bin/edgeproxy
put 600 packaging/edgeproxy.env etc/edgeproxy/edgeproxy.env
put 644 packaging/debian/sysusers.conf usr/lib/sysusers.d/edgeproxy.conf
put 644 packaging/debian/tmpfiles.conf usr/lib/tmpfiles.d/edgeproxy.conf
put 644 packaging/debian/copyright $doc/copyright
put 644 packaging/debian/lintian-overrides usr/share/lintian/overrides/edgeproxy
put 644 packaging/completions/edgeproxy.bash usr/share/bash-completion/completions/edgeproxy
put 644 packaging/completions/_edgeproxy usr/share/zsh/vendor-completions/_edgeproxy
put 644 packaging/completions/edgeproxy.fish usr/share/fish/vendor_completions.d/edgeproxy.fish
put 644 packaging/edgeproxy.1 usr/share/man/man1/edgeproxy.1
put 644 packaging/edgeproxy.socket usr/lib/systemd/system/edgeproxy.socket
put 644 packaging/edgeproxy.service usr/lib/systemd/system/edgeproxy.service
put 644 README.md $doc/README.md
put 644 packaging/routes.schema.json $doc/routes.schema.json
put 644 CHANGELOG.md $doc/CHANGELOG.md
put 644 packaging/routes.yaml.example $doc/examples/routes.yaml
find docs -type f | while read -r file; do put 644 "$file" "$doc/$file"; done
for folder in prometheus grafana; do
  [ ! -d packaging/$folder ] || find packaging/$folder -type f ! -name '*.test.yaml' | while read -r file; do put 644 "$file" "$doc/examples/${file#packaging/}"; done
done

# The package brings a user, with whom files can be shared; the unit of the sources has one made for it at each start.
unit=$tree/usr/lib/systemd/system/edgeproxy.service
sed -i -e 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' -e 's|^DynamicUser=yes$|User=edgeproxy\nGroup=edgeproxy|' "$unit"
grep -q '^ExecStart=/usr/bin/edgeproxy serve$' "$unit" && grep -q '^User=edgeproxy$' "$unit" || fail "edgeproxy.service has changed"

cat >"$tree/$doc/changelog" <<END
edgeproxy ($version) unstable; urgency=medium

  * $doc/CHANGELOG.md.gz tells what has changed.

 -- $maintainer  $(date -u -R -d "@$epoch")
END
sed -i "s|\* usr|* /usr|" "$tree/$doc/changelog"
gzip -9n "$tree/$doc/changelog" "$tree/$doc/CHANGELOG.md" "$tree/usr/share/man/man1/edgeproxy.1"

mkdir "$tree/DEBIAN"
for script in postinst prerm postrm; do put 755 packaging/debian/$script DEBIAN/$script; done
echo /etc/edgeproxy/edgeproxy.env >"$tree/DEBIAN/conffiles"
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
cat >"$tree/DEBIAN/control" <<END
Package: edgeproxy
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size "$tree" | cut -f1)
Depends: libc6 (>= ${libc#GLIBC_}), init-system-helpers (>= 1.62), systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles
Recommends: systemd
Suggests: postgresql-client, prometheus
Section: net
Priority: optional
Description: edge proxy that routes domains to VMs as PostgreSQL says
 A request comes in; its Host is looked up in a routing table that follows a
 PostgreSQL database; and it goes to the VM in this region, or to the region
 where the VM lives, or gets a clear error. One process watches over the
 database, one per CPU serves; an upgrade hands over without a lost request.
END
find "$tree" -exec touch -h -d "@$epoch" {} +

output=dist/edgeproxy_${version}_$arch.deb
# shellcheck disable=SC2086
SOURCE_DATE_EPOCH=$epoch dpkg-deb --root-owner-group ${DEB_COMPRESSION:--Zxz} --build "$tree" "$output" >/dev/null
echo "$output ($(($(wc -c <"$output") / 1000000)) MB)"
