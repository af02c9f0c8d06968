package orders_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/node-hook/internal/orders"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const boot = "0f8fad5b-d9cb-469f-a165-70867728950e"

// agent is an obeyer that knows one Pi, and how often it powered its machine off.
type agent struct {
	orders.Obeyer
	pi    wire.Key
	log   bytes.Buffer
	offs  int
	fails error
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{}
	var err error
	if a.pi, err = wire.NewKey(); err != nil {
		t.Fatal(err)
	}
	a.KeyOf = func(from courier.Receiver) wire.PublicKey {
		if from.Name == "pi" {
			return a.pi.PublicKey()
		}
		return ""
	}
	a.PowerOff = func(context.Context) error { a.offs++; return a.fails }
	a.Log = slog.New(slog.NewTextHandler(&a.log, nil))
	return a
}

// answer is one to a heartbeat of that seq, with an order for another unless it is the same.
func (a *agent) answer(t *testing.T, seq, ordered int64) *wire.Answer {
	t.Helper()
	answer := &wire.Answer{To: "desktop", ToBoot: boot, ToSeq: seq}
	sealed, err := wire.Seal(wire.KindOrder, wire.Order{Header: wire.Header{V: wire.Version, Node: "pi", Boot: boot, Seq: 5}, To: "desktop", ToBoot: boot,
		ToSeq: ordered, Kind: wire.Poweroff, Armed: true, Run: "r", Epoch: shutdown.Epoch{Counter: 1, Holder: "pi"}}, a.pi)
	if err != nil {
		t.Fatal(err)
	}
	answer.Order = sealed
	return answer
}

// TestH10_AnOrderIsObeyedOnceInAWhile: it comes with each answer until it was heard.
func TestH10_AnOrderIsObeyedOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		pi := courier.Receiver{Name: "pi"}
		a.Take(t.Context(), pi, &wire.Answer{To: "desktop"})
		if a.offs != 0 || a.log.Len() > 0 {
			t.Errorf("an answer without an order powered off %d times: %s", a.offs, a.log.String())
		}
		a.Take(t.Context(), pi, a.answer(t, 7, 7))
		time.Sleep(9 * time.Second)
		a.Take(t.Context(), pi, a.answer(t, 8, 8))
		if a.offs != 1 || !strings.Contains(a.log.String(), "powering off, as ordered") {
			t.Errorf("powered off %d times: %s", a.offs, a.log.String())
		}
		time.Sleep(time.Second)
		a.fails = errors.New("logind is gone")
		a.Take(t.Context(), pi, a.answer(t, 9, 9))
		if a.offs != 2 || !strings.Contains(a.log.String(), "logind is gone") {
			t.Errorf("powered off %d times: %s", a.offs, a.log.String())
		}
	})
}

// TestH10_WhatIsNoOrderIsSaidAndNotObeyed: a replayed one, one from nobody that the agent
// knows, and any where node.yaml says no.
func TestH10_WhatIsNoOrderIsSaidAndNotObeyed(t *testing.T) {
	for name, c := range map[string]struct {
		from    string
		ordered int64
		off     bool // in node.yaml
		says    string
	}{
		"of another heartbeat": {"pi", 6, false, "this is no order to this machine"},
		"of a stranger":        {"other", 7, false, "from nobody"},
		"switched off":         {"pi", 7, true, "orders are not obeyed here"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t)
			if c.off {
				a.PowerOff = nil
			}
			a.Take(t.Context(), courier.Receiver{Name: c.from}, a.answer(t, 7, c.ordered))
			if a.offs != 0 || !strings.Contains(a.log.String(), c.says) {
				t.Errorf("powered off %d times, and said: %s", a.offs, a.log.String())
			}
			a.Take(t.Context(), courier.Receiver{Name: c.from}, a.answer(t, 7, c.ordered))
			if n := strings.Count(a.log.String(), "order not obeyed"); n != 1 {
				t.Errorf("said %d times", n)
			}
			a.Take(t.Context(), courier.Receiver{Name: "pi"}, a.answer(t, 8, 8))
			if want := map[bool]int{true: 0, false: 1}[c.off]; a.offs != want {
				t.Errorf("powered off %d times by a true one, want %d", a.offs, want)
			}
		})
	}
}
