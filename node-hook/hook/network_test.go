package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"sentinel.home.arpa/node-hook/internal/rig"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// farBrain is the brain's address on the tailnet of these tests.
const farBrain = "100.64.0.9:80"

// overlay is a tailnet on which only the brain is; it comes up once it is let in.
type overlay struct {
	brain string // where it really listens
	in    chan struct{}

	mu     sync.Mutex
	dialed []string
}

func (o *overlay) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (o *overlay) Brains(ctx context.Context) ([]wire.Peer, error) {
	select {
	case <-o.in:
		return []wire.Peer{{Name: "brain", Address: farBrain}}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (o *overlay) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	o.mu.Lock()
	o.dialed = append(o.dialed, addr)
	o.mu.Unlock()
	if addr != farBrain {
		return nil, fmt.Errorf("%s is no machine of the tailnet", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, network, o.brain)
}

func (o *overlay) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.dialed)
}

// Forward hands every connection to the brain, whatever is said on it.
func (o *overlay) Forward(ctx context.Context, socket string, isBrain func(string) bool) error {
	if isBrain("100.64.0.10:80") {
		return errors.New("anybody is a brain")
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		near, err := ln.Accept()
		if err != nil {
			return nil
		}
		far, err := net.Dial("tcp", o.brain)
		if err != nil {
			return err
		}
		var both sync.WaitGroup
		both.Go(func() { io.Copy(far, near); far.Close() })
		both.Go(func() { io.Copy(near, far); near.Close() })
		both.Wait()
	}
}

// TestH10_TailnetOfItsOwn: the brain is reached over the tailnet and Pis by the house's
// network, which never waits for it; a second process announces through the first.
func TestH10_TailnetOfItsOwn(t *testing.T) {
	brain, pi := rig.Loopback(t, "brain"), rig.Loopback(t, "pi")
	brain.Teach = wire.Answer{BrainKey: brain.Key.PublicKey()}
	c, path := node(t, nil, []*rig.Receiver{pi})
	c.ControlSocket = c.StateDir + ".sock"
	o := &overlay{brain: brain.Peer().Address, in: make(chan struct{})}
	b := Build{Join: func(Config, *slog.Logger) Network { return o }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.run(ctx, c, host(t, stayingUp), slog.New(slog.DiscardHandler)) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	defer stop()
	pi.Await(courier.PathHeartbeat, 2)
	if got := o.all(); len(got) > 0 {
		t.Errorf("dialled %s over the tailnet", got)
	}
	close(o.in)
	brain.Await(courier.PathHeartbeat, 2)

	pi.SetMood(rig.Hang)
	text := fmt.Sprintf("control_socket: %s\n", c.ControlSocket)
	other := Build{Join: func(Config, *slog.Logger) Network { t.Error("a second machine by the same name"); return o }}
	var out strings.Builder
	if err := other.announce(t.Context(), appended(t, path, text), wire.Reboot, &out, host(t, stayingUp)); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "reboot acknowledged by brain\n" {
		t.Errorf("printed %q", got)
	}
	if got := brain.Arrivals(courier.PathAnnounce); len(got) != 1 || got[0].Kind != wire.Reboot {
		t.Errorf("the brain got %+v", got)
	}
	stop()
	pi.SetMood(nil)
	if err := other.announce(t.Context(), appended(t, path, text), wire.Poweroff, io.Discard, host(t, stayingUp)); err != nil {
		t.Errorf("without a running agent the Pi is still there: %v", err)
	}
	for _, addr := range o.all() {
		if addr != farBrain {
			t.Errorf("dialled %s over the tailnet", addr)
		}
	}
}

// TestR1_WhereEachIsDialled, so that nothing for the brain leaves the tailnet.
func TestR1_WhereEachIsDialled(t *testing.T) {
	c, _ := node(t, nil, []*rig.Receiver{rig.Loopback(t, "pi")})
	a, err := newAgent(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.found([]wire.Peer{{Name: "brain", Address: "192.168.77.5:80"}}, nil)
	for addr, want := range map[string]bool{"192.168.77.5:80": true, "192.168.77.5:81": false, "192.168.77.2:7777": false, farBrain: true,
		"100.128.0.1:80": false, "[fd7a:115c:a1e0::5]:80": true, "[fd00::5]:80": false, "pi:7777": false, "": false} {
		if got := a.afar(addr); got != want {
			t.Errorf("%s over the tailnet: %t", addr, got)
		}
	}
}
