// Package layers makes the machines' file systems: a base of Debian, and on it layers of
// what one kind of machine has installed. Each is made once and kept as a tar file.
//
// Machines see no mirror: everything is installed here, in a chroot on the host. It knows
// nothing of booting.
package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sentinel.home.arpa/deploy/internal/forge"
)

// Base is a release of Debian with what every machine needs.
type Base struct {
	Suite string // bookworm, trixie
}

// Bookworm is Debian 12, with systemd 252, and Trixie Debian 13, with 257.
func Bookworm() Base { return Base{"bookworm"} }

// Trixie is Debian 13.
func Trixie() Base { return Base{"trixie"} }

const included = "systemd,systemd-sysv,dbus,libpam-systemd,iproute2,ca-certificates"

// Store makes layers and unpacks them.
type Store struct {
	Cache  string // where tar files are kept
	Dir    string // where they are unpacked, and made
	Mirror string
	Forge  *forge.Forge
	Log    func(format string, args ...any)
}

// DefaultMirror is Debian's own.
const DefaultMirror = "http://deb.debian.org/debian"

// Lower unpacks the base and the layer with these packages, and returns their directories
// as overlayfs takes them for lowerdir: the upper first. What is not in the cache is made.
func (s *Store) Lower(ctx context.Context, base Base, packages ...string) (string, error) {
	bottom, err := s.base(ctx, base)
	if err != nil {
		return "", fmt.Errorf("make a base of %s: %w", base.Suite, err)
	}
	if len(packages) == 0 {
		return bottom, nil
	}
	top, err := s.layer(ctx, base, bottom, packages)
	if err != nil {
		return "", fmt.Errorf("make a layer with %s: %w", strings.Join(packages, ", "), err)
	}
	return top + ":" + bottom, nil
}

func (s *Store) base(ctx context.Context, base Base) (string, error) {
	return s.keep(ctx, "base-"+base.Suite, baseScript+included, baseScript,
		"SUITE="+base.Suite, "MIRROR="+s.Mirror, "INCLUDE="+included)
}

func (s *Store) layer(ctx context.Context, base Base, bottom string, packages []string) (string, error) {
	list := strings.Join(packages, " ")
	name := base.Suite + "-" + strings.Join(packages, "-")
	return s.keep(ctx, name, baseScript+included+layerScript+list, layerScript, "BASE="+bottom, "PACKAGES="+list)
}

// keep unpacks what the script makes in $OUT, and runs the script if the cache has nothing
// made from the same recipe.
func (s *Store) keep(ctx context.Context, name, recipe, script string, env ...string) (string, error) {
	out := filepath.Join(s.Dir, name)
	if _, err := os.Stat(out); err == nil {
		return out, nil // unpacked before
	}
	if err := os.MkdirAll(s.Cache, 0o755); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(recipe))
	tar := filepath.Join(s.Cache, name+"-"+hex.EncodeToString(sum[:6])+".tar.zst")
	making := out + ".new"
	if err := os.Mkdir(making, 0o755); err != nil {
		return "", err
	}
	env = append(env, "OUT="+making, "TAR="+tar)
	made, err := s.pack(ctx, tar, script, env)
	if err == nil && !made {
		err = s.shell(ctx, unpackScript, env)
	}
	if err != nil {
		return "", err
	}
	return out, os.Rename(making, out)
}

// pack runs the script unless its tar file is there. Of several runs that want the same, one
// makes it and the others wait.
func (s *Store) pack(ctx context.Context, tar, script string, env []string) (made bool, err error) {
	lock, err := os.OpenFile(tar+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return false, fmt.Errorf("wait for %s: %w", filepath.Base(tar), err)
	}
	if _, err := os.Stat(tar); err == nil {
		return false, nil
	}
	s.Log("makes %s", filepath.Base(tar))
	return true, s.shell(ctx, script+packScript, env)
}

// shell runs a script in a mount namespace of its own, so that nothing stays mounted.
func (s *Store) shell(ctx context.Context, script string, env []string) error {
	args := append([]string{"env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, env...)
	_, err := s.Forge.Run(ctx, append(args, "unshare", "-m", "sh", "-euc", script)...)
	return err
}

// A tar file appears under its name only when it is whole.
const packScript = `
tar --xattrs --xattrs-include='*' --numeric-owner -C "$OUT" -cf - . | zstd -q -3 -T0 -o "$TAR.$$" -f
mv "$TAR.$$" "$TAR"
`

const unpackScript = `zstd -q -dc "$TAR" | tar --xattrs --xattrs-include='*' --numeric-owner -C "$OUT" -xf -`

const baseScript = `
debootstrap --variant=minbase --include="$INCLUDE" "$SUITE" "$OUT" "$MIRROR"
rm -rf "$OUT"/var/cache/apt/* "$OUT"/usr/share/doc/* "$OUT"/usr/share/man/* "$OUT"/usr/share/locale/*
`

// The layer is what an overlay's upper directory holds after the installation, in which
// nothing may be started.
const layerScript = `
mkdir "$OUT.work" "$OUT.root"
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$OUT,workdir=$OUT.work" "$OUT.root"
mount -t proc proc "$OUT.root/proc"
mount --rbind /dev "$OUT.root/dev"
cp -L /etc/resolv.conf "$OUT.root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$OUT.root/usr/sbin/policy-rc.d"
chmod 755 "$OUT.root/usr/sbin/policy-rc.d"
chroot "$OUT.root" apt-get -q update
chroot "$OUT.root" apt-get -q -y --no-install-recommends install $PACKAGES
chroot "$OUT.root" apt-get clean
rm -rf "$OUT.root"/var/lib/apt/lists/* "$OUT.root"/usr/share/doc/* "$OUT.root"/usr/share/man/* \
  "$OUT.root/usr/sbin/policy-rc.d" "$OUT.root/etc/resolv.conf"
umount -l "$OUT.root/dev"
umount "$OUT.root/proc" "$OUT.root"
rm -rf "$OUT.work" "$OUT.root"
`
