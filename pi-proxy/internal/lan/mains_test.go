package lan_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
)

// throughFor connects as the brain does, for a purpose.
func (r *relay) throughFor(t *testing.T, purpose courier.Purpose, addr string) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := courier.Through((&net.Dialer{}).DialContext, r.addr, purpose, nil)(ctx, "tcp", addr)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return conn, err
}

// echoes fails unless a byte comes back.
func echoes(t *testing.T, conn net.Conn) {
	t.Helper()
	b := []byte("x")
	if _, err := conn.Write(b); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Error(err)
	}
}

func TestS5_OnMainsTheRelayLetsNothingBeShutDown(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	var mains atomic.Bool
	r.Mains = mains.Load
	mains.Store(true)
	for _, purpose := range []courier.Purpose{courier.ToShutDown, "", "anything else"} {
		_, err := r.throughFor(t, purpose, addr)
		if err == nil || !strings.Contains(err.Error(), "it answered 409") || errors.Is(err, courier.ErrTargetClosed) {
			t.Errorf("for %q: %v", purpose, err)
		}
	}
	conn, err := r.throughFor(t, courier.ToAsk, addr)
	if err != nil {
		t.Fatalf("to ask: %v", err)
	}
	echoes(t, conn)
	mains.Store(false)
	if conn, err = r.throughFor(t, courier.ToShutDown, addr); err != nil {
		t.Fatalf("on battery: %v", err)
	}
	echoes(t, conn)
}

func TestS0_OnMainsOnlyWhatBeganForAFailureIsLetThrough(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	var may atomic.Bool
	r.Mains, r.OnFailure = func() bool { return true }, may.Load
	if _, err := r.throughFor(t, courier.ToShutDownForFailure, addr); err == nil || !strings.Contains(err.Error(), "it answered 409") {
		t.Errorf("where no failure begins the plan: %v", err)
	}
	may.Store(true)
	conn, err := r.throughFor(t, courier.ToShutDownForFailure, addr)
	if err != nil {
		t.Fatalf("where one does: %v", err)
	}
	echoes(t, conn)
	if _, err := r.throughFor(t, courier.ToShutDown, addr); err == nil {
		t.Error("for the power, which is there")
	}
}

// supply has the relay see the UPS.
func (r *relay) supply() *atomic.Bool {
	var mains atomic.Bool
	r.Mains, r.MainsNow = mains.Load, mains.Load
	return &mains
}

// ended fails unless a tunnel is.
func ended(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel lives on: %d, %v", n, err)
	}
}

func TestS5_TheSupplyEndsTunnels(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	mains := r.supply()
	open := func(purpose courier.Purpose) net.Conn {
		conn, err := r.throughFor(t, purpose, addr)
		if err != nil {
			t.Fatal(err)
		}
		echoes(t, conn)
		return conn
	}
	ask, one, two := open(courier.ToAsk), open(courier.ToShutDown), open(courier.ToShutDown)
	mains.Store(true)
	r.SupplyChanged()
	ended(t, one)
	ended(t, two)
	echoes(t, ask)
	back := open(courier.ToPutBack)
	r.SupplyChanged() // nothing is left to end
	echoes(t, back)
	mains.Store(false)
	r.SupplyChanged()
	ended(t, back)
	echoes(t, ask)
	echoes(t, open(courier.ToShutDown))
}

// TestS5_NothingIsPutBackOnBattery, nor while it is not known how the power stands.
func TestS5_NothingIsPutBackOnBattery(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	var now atomic.Bool
	r.Mains, r.MainsNow = func() bool { return true }, now.Load
	_, err := r.throughFor(t, courier.ToPutBack, addr)
	if err == nil || !strings.Contains(err.Error(), "it answered 409") || errors.Is(err, courier.ErrTargetClosed) {
		t.Errorf("without mains that are certain: %v", err)
	}
	now.Store(true)
	conn, err := r.throughFor(t, courier.ToPutBack, addr)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, conn)
}

func TestS5_MainsThatComeBackDuringTheDialEndTheTunnel(t *testing.T) {
	addr := machine(t, echo)
	r := newRelay(t, addr)
	var mains atomic.Bool
	r.Mains = mains.Load
	dial := r.Dial
	r.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		mains.Store(true) // and MainsBack finds no tunnel yet
		r.SupplyChanged()
		return conn, err
	}
	conn, err := r.throughFor(t, courier.ToShutDown, addr)
	if err != nil {
		return // refused is as good
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the tunnel lives on: %d, %v", n, err)
	}
}
