// Package logindsim is a machine's logind and systemd, as much of them as an agent asks: who
// connects to its socket as to the system bus may hold shutdowns up, sees them coming, and
// can have the machine powered off. Nothing but the simulated machine goes down.
package logindsim

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// inhibitMax is how long logind waits for who holds a shutdown up (InhibitDelayMaxSec).
const inhibitMax = 5 * time.Second

// Config is what the machine does.
type Config struct {
	Path string // of the socket
	// StopTakes is from the end of the delay locks until the machine is off.
	StopTakes time.Duration
	Asked     func()            // somebody has had the machine powered off; nil: nobody cares
	Off       func(kind string) // it is off; called from a goroutine of the machine's
	Units     map[string]Unit   // by name; any other is not found
}

// Unit is how a unit of the machine stands.
type Unit struct {
	Active, File  string // such as active and enabled
	After, Before []string
	Since         time.Duration // when it became active, by CLOCK_MONOTONIC; 0: it is not
}

// Machine is one machine.
type Machine struct {
	cfg    Config
	ln     net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	going string     // the kind of the shutdown under way
	stops bool       // its delay is over
	locks []*os.File // they read EOF when they are let go
	peers map[*peer]bool
}

// Start makes the machine's socket, over one that may have been left.
func Start(cfg Config) (*Machine, error) {
	if err := os.RemoveAll(cfg.Path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", cfg.Path)
	if err != nil {
		return nil, err
	}
	m := &Machine{cfg: cfg, ln: ln, peers: map[*peer]bool{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.wg.Go(m.accept)
	return m, nil
}

// Address is that of the system bus, for DBUS_SYSTEM_BUS_ADDRESS.
func (m *Machine) Address() string { return "unix:path=" + m.cfg.Path }

// Close takes the machine away, without a word to anybody.
func (m *Machine) Close() {
	m.cancel()
	_ = m.ln.Close()
	m.mu.Lock()
	for p := range m.peers {
		_ = p.conn.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// Boot has the machine run anew after it was off.
func (m *Machine) Boot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.going, m.stops = "", false
}

// Shutdown begins a shutdown of that kind, as "systemctl poweroff" does.
func (m *Machine) Shutdown(kind string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.going != "" {
		return fmt.Errorf("there's already a %s in progress", m.going)
	}
	m.going = kind
	m.emit(logindPath, logindManager, "PrepareForShutdown", true)
	locks := m.locks
	m.locks = nil
	m.wg.Go(func() { m.goDown(kind, locks) })
	return nil
}

func (m *Machine) goDown(kind string, locks []*os.File) {
	ctx, cancel := context.WithTimeout(m.ctx, inhibitMax)
	defer cancel()
	for _, l := range locks {
		stop := context.AfterFunc(ctx, func() { _ = l.SetReadDeadline(time.Now()) })
		_, _ = l.Read(make([]byte, 1)) // until it is let go, or time is up
		stop()
		_ = l.Close()
	}
	m.mu.Lock()
	m.stops = true
	m.emit(systemdPath, systemdManager, "JobNew", uint32(1), dbus.ObjectPath(jobPath), kind+".target")
	m.mu.Unlock()
	select {
	case <-m.ctx.Done():
	case <-time.After(m.cfg.StopTakes):
		m.cfg.Off(kind)
	}
}
