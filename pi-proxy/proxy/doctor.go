package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/apcupsd"
	"sentinel.home.arpa/pi-proxy/internal/ups"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/systemctl"
)

// Units that the Pi's doctor looks at.
const (
	unitPi      = "sentinel-pi.service"
	unitRoot    = "sentinel-pi-root.socket"
	unitApcupsd = "apcupsd.service"
)

// ApcupsdDir is where the doctor finds apcupsd's configuration and scripts.
const ApcupsdDir = apcupsd.Dir

// doctorWithin bounds all that the doctor asks.
const doctorWithin = 30 * time.Second

// evidence is what the doctor gathers.
type evidence struct {
	path     string
	wrong    error // with the configuration
	config   Config
	units    map[string]systemctl.Unit
	noUnits  error
	held     Held
	silent   error // the running Pi is
	setup    apcupsd.Setup
	noSetup  error
	disabled bool // Debian's defaults keep apcupsd from starting
	upses    []heardUPS
	open     []string // addresses of apcupsd that others reach, though it should be on loopback
	synced   bool
	noClock  error
	leased   []string // addresses on private networks that end, so are a DHCP server's
}

// heardUPS is what an apcupsd said.
type heardUPS struct {
	name, nis string
	status    power.Status
	err       error
}

// Examine looks the Pi over, as root. It changes nothing.
func Examine(ctx context.Context, path string, optional bool, apcupsdDir string) []doctor.Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	e := evidence{path: path}
	if e.config, e.wrong = LoadConfig(path, optional); e.wrong != nil {
		return e.findings()
	}
	var wg sync.WaitGroup
	wg.Go(func() { e.units, e.noUnits = systemctl.Show(ctx, unitPi, unitRoot, unitApcupsd) })
	wg.Go(func() { e.held, e.silent = readHeld(ctx, e.config.ControlSocket) })
	wg.Go(func() {
		e.setup, e.noSetup = apcupsd.Look(apcupsdDir, "/lib/systemd/system-shutdown/apcupsd_shutdown", "/usr/lib/systemd/system-shutdown/apcupsd_shutdown")
		e.disabled = apcupsd.Disabled("/etc/default/apcupsd")
	})
	e.upses = make([]heardUPS, len(e.config.UPS))
	for i, u := range e.config.UPS {
		wg.Go(func() {
			c := ups.Client{Addr: u.NIS, Timeout: nisWithin}
			s, err := c.Status(ctx)
			e.upses[i] = heardUPS{u.Name, u.NIS, s, err}
		})
	}
	e.synced, e.noClock = daemon.ClockSynced()
	e.open, e.leased = e.config.openNIS(), leased()
	wg.Wait()
	return e.findings()
}

// openNIS are the Pi's own apcupsds that others reach too.
func (c *Config) openNIS() (open []string) {
	for _, u := range c.UPS {
		port, own := u.ownNIS()
		if !own {
			continue
		}
		if is, err := apcupsd.Open(port, "/proc/net/tcp", "/proc/net/tcp6"); err == nil && is {
			open = append(open, port)
		}
	}
	return open
}

// ownNIS is the port of an apcupsd on this machine.
func (u *UPS) ownNIS() (port string, own bool) {
	host, port, err := net.SplitHostPort(u.NIS)
	return port, err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// hasApcupsd reports whether an apcupsd of this machine is asked.
func (c *Config) hasApcupsd() bool {
	return slices.ContainsFunc(c.UPS, func(u UPS) bool { _, own := u.ownNIS(); return own })
}

// leased are the machine's private addresses that the kernel holds for a time only
// (rtnetlink(7)): a DHCP server may give another one.
func leased() (addresses []string) {
	table, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_INET)
	if err != nil {
		return nil
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil
	}
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != syscall.RTM_NEWADDR || len(m.Data) < syscall.SizeofIfAddrmsg {
			continue
		}
		flags := m.Data[2] // of ifaddrmsg: family, prefix length, flags, scope, index
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil || flags&syscall.IFA_F_PERMANENT != 0 {
			continue
		}
		for _, a := range attributes {
			if ip := net.IP(a.Value); a.Attr.Type == syscall.IFA_LOCAL && len(a.Value) == net.IPv4len && ip.IsPrivate() {
				addresses = append(addresses, ip.String())
			}
		}
	}
	return addresses
}

// refused reports whether something may not be seen by who is not root.
func refused(err error) bool { return errors.Is(err, os.ErrPermission) }

func unreached(e heardUPS) string {
	return fmt.Sprintf("apcupsd at %s does not answer: %v", e.nis, e.err)
}
