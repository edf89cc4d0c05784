# SPDX-License-Identifier: Apache-2.0
# Adds to a Debian root what workloads need: an archive with two packages in two versions each, to
# install packages from without a network, and files that their policies protect. Run on the host,
# with the new root as its only argument.
set -eu
root=$1
archive=$root/srv/archive
work=$root/srv/work

# NAME VERSION: a package with a program of its own, a script, a file of configuration and
# maintainer scripts, as most packages of servers have them.
package() {
    tree=$work/$1-$2
    mkdir -p "$tree/DEBIAN" "$tree/usr/bin" "$tree/usr/lib/$1" "$tree/etc"
    chmod 755 "$tree/DEBIAN"
    cp "$root/usr/bin/env" "$tree/usr/lib/$1/engine"
    # Not the bytes of env, for equal content would be the same program to hardening.
    printf '%s %s' "$1" "$2" >> "$tree/usr/lib/$1/engine"
    printf '#!/bin/sh\nexec /usr/lib/%s/engine echo %s %s\n' "$1" "$1" "$2" > "$tree/usr/bin/$1"
    chmod 755 "$tree/usr/bin/$1"
    echo "version=$2" > "$tree/etc/$1.conf"
    echo "/etc/$1.conf" > "$tree/DEBIAN/conffiles"
    for script in preinst postinst prerm postrm; do
        printf '#!/bin/sh\nset -e\necho "%s $1" >> /var/log/%s.log\n' "$script" "$1" \
            > "$tree/DEBIAN/$script"
        chmod 755 "$tree/DEBIAN/$script"
    done
    cat > "$tree/DEBIAN/control" <<CONTROL
Package: $1
Version: $2
Architecture: amd64
Maintainer: Tests <tests@localhost>
Description: package of the workload suite
CONTROL
    dpkg-deb --root-owner-group --build "$tree" "$archive/$1_$2_amd64.deb"
}

# One stanza of the archive's index for each package.
index() {
    for deb in "$archive"/*.deb; do
        dpkg-deb --field "$deb"
        echo "Filename: ./${deb##*/}"
        echo "Size: $(stat --format %s "$deb")"
        echo "SHA256: $(sha256sum "$deb" | cut --delimiter ' ' --fields 1)"
        echo
    done > "$archive/Packages"
}

mkdir -p "$archive"
for version in 1.0 2.0; do
    package greeter "$version"
    package probe "$version"
done
index
rm -r "$work"

rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/archive ./' > "$root/etc/apt/sources.list"
chroot "$root" dpkg --install /srv/archive/probe_1.0_amd64.deb

# What the policies of the workloads protect.
mkdir -m 700 "$root/root/.ssh" "$root/srv/marker"
echo key > "$root/root/.ssh/id_ed25519"
mkdir -p "$root/srv/app/secrets/tls"
echo key > "$root/srv/app/secrets/tls/key.pem"
