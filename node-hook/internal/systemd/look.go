package systemd

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// Holder is how this program calls itself where it has shutdowns wait.
const Holder = "sentinel-node"

// Unit is how a unit stands.
type Unit struct {
	Load, Active, File string // such as loaded, active and enabled
	After, Before      []string
	Since              time.Duration // when it became active, by CLOCK_MONOTONIC; 0: it is not
}

// Machine is what logind and systemd say of this machine.
type Machine struct {
	Agent, Announce Unit
	Tailscaled      Unit          // not-found where no Tailscale is installed as a package
	Held            bool          // shutdowns wait for the agent
	HeldFor         time.Duration // at most, by InhibitDelayMaxSec
}

// inhibitor is a line of logind's ListInhibitors, a(ssssuu).
type inhibitor struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// Look asks how the agent's units and tailscaled's stand, and whether shutdowns wait for it. It changes nothing.
func (d Detector) Look(ctx context.Context) (m Machine, err error) {
	conn, err := connect(ctx, d.Bus, false)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	for name, into := range map[string]*Unit{"sentinel-node.service": &m.Agent, "sentinel-announce.service": &m.Announce, "tailscaled.service": &m.Tailscaled} {
		if *into, err = unit(ctx, conn, name); err != nil {
			return m, err
		}
	}
	logind := conn.Object(logindName, logindPath)
	var held []inhibitor
	if err := call(ctx, logind, logindManager+".ListInhibitors", &held); err != nil {
		return m, err
	}
	m.Held = slices.ContainsFunc(held, func(i inhibitor) bool {
		return i.Who == Holder && i.Mode == "delay" && slices.Contains(strings.Split(i.What, ":"), "shutdown")
	})
	var us uint64
	err = property(ctx, logind, logindManager, "InhibitDelayMaxUSec", &us)
	m.HeldFor = time.Duration(us) * time.Microsecond
	return m, err
}

func unit(ctx context.Context, conn *dbus.Conn, of string) (u Unit, err error) {
	var path dbus.ObjectPath
	if err := call(ctx, conn.Object(systemdName, systemdPath), systemdManager+".LoadUnit", &path, of); err != nil {
		return u, err
	}
	o := conn.Object(systemdName, path)
	for name, into := range map[string]any{"LoadState": &u.Load, "ActiveState": &u.Active, "UnitFileState": &u.File, "After": &u.After, "Before": &u.Before} {
		if err := property(ctx, o, "org.freedesktop.systemd1.Unit", name, into); err != nil {
			return u, err
		}
	}
	var us uint64
	err = property(ctx, o, "org.freedesktop.systemd1.Unit", "ActiveEnterTimestampMonotonic", &us)
	u.Since = time.Duration(us) * time.Microsecond
	return u, err
}
