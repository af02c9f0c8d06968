// Package orders has Linux hosts power off through their own agents: an order lies on a desk
// until the host's next heartbeat, and goes with the answer to that heartbeat, signed for it
// alone. Brain and Pi use the same.
//
// It decides nothing, and must not import a program or an adapter.
package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// staysAfter is for how long a host must say that it runs before its word that it powers off
// counts for nothing (rule A5).
const staysAfter = 30 * time.Second

// boundFor is how long the boot that a host was heard from last keeps its name: another that
// speaks meanwhile is a second machine (rule H11), and is ordered nothing.
const boundFor = 5 * time.Second

// returnsWithin is for how long after its last word a host that announced its reboot is waited
// for (rule A4).
const returnsWithin = 10 * time.Minute

// Desk is where orders lie. It is safe for concurrent use. All its fields must be set.
type Desk struct {
	Log  *slog.Logger
	Key  wire.Key
	Self func() wire.Header
	Now  func() time.Time

	mu    sync.Mutex
	hosts map[string]*host
}

// host is what is known of one machine, in this process.
type host struct {
	boot    string            // the one that has its name
	at      time.Time         // when that was heard last
	leaving bool              // its last word was that it powers off
	said    wire.ShutdownKind // what that boot announced, and has not taken back; empty: nothing
	stops   bool              // its last heartbeat said that it goes down
	since   time.Time         // when it last said that it goes down, whether for good or not
	order   *order
	lent    *order // another's, good until then
	until   time.Time
}

// lentFor is how long an order of another's is good: it is named anew each second.
const lentFor = 3 * time.Second

// order lies for a host's next heartbeats.
type order struct {
	Run
	may   func() error
	given bool          // once at least
	why   error         // of its being held back
	taken chan struct{} // closed when the host says that it goes down
}

// Run is under what an order is given: a run of an armed plan.
type Run struct {
	ID    string
	Epoch shutdown.Epoch
}

func (d *Desk) host(name string) *host {
	h := d.hosts[name]
	if h == nil {
		h = &host{}
		if d.hosts == nil {
			d.hosts = map[string]*host{}
		}
		d.hosts[name] = h
	}
	return h
}

// Heard notes a heartbeat that was verified and is new, whoever heard it: age ago.
func (d *Desk) Heard(name, boot, state string, age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, at := d.host(name), d.Now().Add(-age)
	switch {
	case h.boot == boot && !at.Before(h.at):
		h.at = at
	case at.Sub(h.at) >= boundFor:
		h.boot, h.at, h.leaving, h.said = boot, at, false, ""
	default:
		return // another machine, or an old word
	}
	h.stops = state == "stopping"
	switch state {
	case "stopping":
		if h.said.Returns() { // systemd says the same before a reboot
			h.since = at
			return
		}
		h.leaves(at)
	case "running", "degraded":
		if at.Sub(h.since) >= staysAfter {
			h.leaving, h.said = false, ""
		}
	}
}

// Announced notes what a host has announced of a boot.
func (d *Desk) Announced(name, boot string, kind wire.ShutdownKind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.host(name)
	switch {
	case h.boot != "" && h.boot != boot: // another machine, or an old word
	case kind == wire.Poweroff || kind == wire.Halt:
		h.boot, h.said = boot, kind
		h.leaves(d.Now())
	case kind.Returns():
		h.boot, h.leaving, h.said, h.since = boot, false, kind, d.Now()
	default: // it stays
		h.leaving, h.said = false, ""
	}
}

// Left notes that a host is off by its boot's last word, whether it announced that or was told.
func (d *Desk) Left(name, boot string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.host(name); h.boot == "" || h.boot == boot {
		h.boot = boot
		h.leaves(d.Now())
	}
}

// leaves notes that a host goes down, which an order waits for.
func (h *host) leaves(at time.Time) {
	h.leaving, h.since = true, at
	if h.order != nil {
		close(h.order.taken)
	}
	h.order, h.lent = nil, nil
}

// Lend lays an order of another's run down for a few seconds, for these hosts and no others:
// who gives it does not reach them itself. May is asked as ever.
func (d *Desk) Lend(names []string, r Run, may func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, h := range d.hosts {
		if !slices.Contains(names, name) {
			h.lent = nil
		}
	}
	for _, name := range names {
		h := d.host(name)
		if h.lent == nil || h.lent.Run != r {
			h.lent = &order{Run: r, may: may}
		}
		h.until = d.Now().Add(lentFor)
	}
}

// Waiting are the hosts for which an order of that run lies here and may be given.
func (d *Desk) Waiting(run string) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, h := range d.hosts {
		if h.order != nil && h.order.ID == run && h.order.may() == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Leaving reports whether a host's last word was that it powers off.
func (d *Desk) Leaving(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[name]
	return h != nil && h.leaving
}

// PowersOff reports whether a machine has announced its poweroff or halt in the boot that it was
// last heard in, and has not said since that it stays. A reboot is no evidence of staying down.
func (d *Desk) PowersOff(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[name]
	return h != nil && (h.said == wire.Poweroff || h.said == wire.Halt)
}

// Returning reports whether a host has announced that it goes down and comes back, and is waited
// for: it takes no order meanwhile, and its silence says nothing.
func (d *Desk) Returning(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[name]
	return h != nil && h.returning(d.Now())
}

func (h *host) returning(now time.Time) bool {
	return h.said.Returns() && now.Sub(h.since) < returnsWithin
}

// For is the sealed order that goes with the answer to a heartbeat, which Heard has noted; nil
// if there is none. Whether the reason still holds is asked anew for each (rule S5).
func (d *Desk) For(to wire.Header) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[to.Node]
	if h == nil || h.leaving || h.boot != to.Boot || h.stops { // no reboot under way is made a poweroff
		return nil
	}
	o := h.order
	if o == nil && d.Now().Before(h.until) {
		o = h.lent
	}
	if o == nil {
		return nil
	}
	if o.why = o.may(); o.why != nil {
		return nil
	}
	sealed, err := wire.Seal(wire.KindOrder, wire.Order{Header: d.Self(), To: to.Node, ToBoot: to.Boot, ToSeq: to.Seq,
		Kind: wire.Poweroff, Armed: true, Run: o.ID, Epoch: o.Epoch}, d.Key)
	if err != nil {
		o.why = err
		return nil
	}
	if !o.given {
		o.given = true
		d.Log.Info("order given", "host", to.Node, "boot", to.Boot, "run", o.ID)
	}
	return sealed
}

// These are why an order was not taken.
var (
	errReboots = errors.New("it said that it reboots, and is not back")
	errSilent  = errors.New("no heartbeat of it came that could be answered")
	errNoWord  = errors.New("it was ordered to power off, and has not said that it does")
)

// Give lays an order down until the host says that it goes down, or the context ends.
func (d *Desk) Give(ctx context.Context, name string, r Run, may func() error) error {
	o := &order{Run: r, may: may, taken: make(chan struct{})}
	d.mu.Lock()
	h := d.host(name)
	if h.leaving {
		d.mu.Unlock()
		return nil
	}
	h.order = o
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if h.order == o {
			h.order = nil
		}
	}()
	select {
	case <-o.taken:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case o.why != nil:
		return fmt.Errorf("kept back: %w", o.why)
	case h.returning(d.Now()):
		return errReboots
	case o.given:
		return errNoWord
	}
	return errSilent
}
