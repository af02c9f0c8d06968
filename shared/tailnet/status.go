package tailnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tailscale.com/client/local"
	"tailscale.com/ipn"
	"tailscale.com/ipn/ipnstate"
	"tailscale.com/tsnet"
)

// Status is how the machine stands on the tailnet. "Running" says that it was let in, not that anything can be
// reached: the library goes on saying so for minutes without a network.
type Status struct {
	State     string       // NoState, NeedsLogin, NeedsMachineAuth, Stopped, Starting or Running
	Name      string       // the name that the tailnet gave it; "" until known
	Addrs     []netip.Addr // its own addresses
	AuthURL   string       // where a person must log in, if NeedsLogin
	KeyExpiry *time.Time   // when the node key expires, or did; nil if never or unknown
	Expired   bool         // the key has expired, which is why it is not running
	Err       error        // why it is not running, and what to do, as far as is known
}

// Running reports whether the machine is let in.
func (s Status) Running() bool { return s.State == ipn.Running.String() }

// NeedsLogin reports whether the tailnet keeps the machine out until a person logs it in.
func (s Status) NeedsLogin() bool { return s.State == ipn.NeedsLogin.String() }

// Status returns what was last heard from the backend; it never waits.
func (n *Node) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.status
	s.Addrs = slices.Clone(s.Addrs)
	return s
}

// fail records and logs an error; nil changes nothing.
func (n *Node) fail(err error) {
	if err == nil {
		return
	}
	n.mu.Lock()
	known := n.status.Err != nil && n.status.Err.Error() == err.Error()
	n.status.Err = err
	n.mu.Unlock()
	if !known {
		n.log.Warn("the tailnet is in trouble", "err", err)
	}
}

// watch follows the backend's state for one session. An error is one that matters: the backend's own, or that
// the session ended before the machine was up and nobody is asked to do anything.
func (n *Node) watch(ctx context.Context, server *tsnet.Server, client *local.Client) error {
	bounded, cancel := context.WithTimeout(ctx, session)
	defer cancel()
	bus, err := client.WatchIPNBus(bounded, ipn.NotifyInitialState)
	if err != nil {
		return fmt.Errorf("watch the tailnet backend: %w", err)
	}
	defer bus.Close()
	loginAsked := false
	for {
		note, err := bus.Next()
		switch {
		case bounded.Err() != nil:
			return n.overdue(ctx)
		case err != nil:
			return fmt.Errorf("watch the tailnet backend: %w", err)
		case note.ErrMessage != nil:
			return fmt.Errorf("tailnet: %s", *note.ErrMessage)
		}
		if err := n.refresh(bounded, server, client); err != nil {
			return err
		}
		// A key that expired or was removed: the library asks for a login address only at its start.
		s := n.Status()
		if n.isUp() && s.NeedsLogin() && s.AuthURL == "" && !loginAsked {
			loginAsked = true
			if err := client.StartLoginInteractive(bounded); err != nil {
				return fmt.Errorf("ask for a tailnet login address: %w", err)
			}
		}
	}
}

// overdue judges a session that has passed.
func (n *Node) overdue(ctx context.Context) error {
	s := n.Status()
	switch {
	case ctx.Err() != nil || s.Running() || s.AuthURL != "":
		return nil
	case s.State == ipn.NeedsMachineAuth.String():
		return nil
	}
	return errTooSlow
}

// refresh reads the state anew, tells the log of changes, and marks the machine as up.
func (n *Node) refresh(ctx context.Context, server *tsnet.Server, client *local.Client) error {
	asked, cancel := context.WithTimeout(ctx, localDeadline)
	defer cancel()
	st, err := client.StatusWithoutPeers(asked)
	if err != nil {
		return fmt.Errorf("read the tailnet state: %w", err)
	}
	running := st.BackendState == ipn.Running.String()
	if running && !n.isUp() {
		if _, err := server.Up(asked); err != nil { // also clears serve settings of earlier versions
			return fmt.Errorf("come up on the tailnet: %w", err)
		}
	}
	n.record(st)
	if running && !n.isUp() {
		n.mu.Lock()
		n.server, n.client = server, client
		n.mu.Unlock()
		close(n.ready)
	}
	return nil
}

func (n *Node) record(st *ipnstate.Status) {
	next := Status{State: st.BackendState, Addrs: st.TailscaleIPs, AuthURL: st.AuthURL}
	n.mu.Lock()
	old := n.status
	next.Name, next.KeyExpiry = old.Name, old.KeyExpiry
	if self := st.Self; self != nil && next.Running() {
		next.Name, next.KeyExpiry = firstLabel(self.DNSName), self.KeyExpiry
	} else if self != nil && self.KeyExpiry != nil {
		next.KeyExpiry = self.KeyExpiry
	}
	next.judge(old)
	n.status = next
	n.mu.Unlock()
	n.tell(old, next)
}

// judge says why the machine is not running, and what to do.
func (s *Status) judge(old Status) {
	switch s.State {
	case ipn.Running.String():
	case ipn.NeedsMachineAuth.String():
		s.Err = errors.New("an admin of the tailnet must approve this machine")
	case ipn.NeedsLogin.String():
		s.Expired = s.KeyExpiry != nil && !s.KeyExpiry.After(time.Now())
		switch {
		case s.Expired:
			s.Err = errors.New("the key of this machine on the tailnet has expired; a person must log it in again, or switch its key's expiry off")
		case s.AuthURL != "":
			s.Err = errors.New("a person must log this machine in")
		case old.Running():
			s.Err = errors.New("the tailnet lets this machine in no more; a person must log it in again")
		default:
			s.Err = old.Err
		}
	default:
		s.Err = old.Err
	}
}

// tell logs each change of the state, once: as a warning where somebody must do something.
func (n *Node) tell(old, next Status) {
	switch {
	case next.State == old.State:
	case n.isUp() && next.NeedsLogin():
		n.log.Warn("out of the tailnet until a person logs this machine in", "name", next.Name, "expired", next.Expired, "err", next.Err)
	case n.isUp() && next.Running():
		n.log.Info("back in the tailnet", "name", next.Name)
	default:
		n.log.Info("tailnet state changed", "state", next.State, "name", next.Name)
	}
	if next.AuthURL != "" && next.AuthURL != old.AuthURL {
		n.log.Warn("log this machine in to the tailnet", "url", next.AuthURL)
	}
}

// firstLabel is the name that people use: pi of pi.tail1234.ts.net.
func firstLabel(dnsName string) string {
	name, _, _ := strings.Cut(dnsName, ".")
	return name
}
