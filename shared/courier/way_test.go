package courier_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// TestR1_AConnectIsTheBrainsUnchangedWord: what the brain signed serves for nothing else, and
// nothing else of it serves as a connect.
func TestR1_AConnectIsTheBrainsUnchangedWord(t *testing.T) {
	brain, pi := newKey(t), newKey(t)
	word := wire.Connect{Header: header("cloud"), Pi: "pi1", Addr: "192.0.2.1:8006"}
	seal := func(kind wire.Kind, m any, k wire.Key) map[string]any {
		t.Helper()
		data, err := wire.Seal(kind, m, k)
		if err != nil {
			t.Fatal(err)
		}
		var e map[string]any
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	good := seal(wire.KindConnect, word, brain)
	// but is the good envelope with some of its fields from another.
	but := func(from map[string]any, fields ...string) map[string]any {
		e := map[string]any{}
		for k, v := range good {
			e[k] = v
		}
		for _, f := range fields {
			e[f] = from[f]
		}
		return e
	}
	elsewhere := word
	elsewhere.Addr = "192.0.2.1:22"
	answer := wire.Answer{Header: header("cloud"), To: "pi1", ToBoot: header("pi1").Boot, ToSeq: 1, BrainKey: brain.PublicKey()}
	for name, e := range map[string]map[string]any{
		"for another address":       but(seal(wire.KindConnect, elsewhere, brain), "payload"),
		"another Pi's signature":    but(seal(wire.KindConnect, word, pi), "signatures"),
		"another Pi's word":         seal(wire.KindConnect, word, pi),
		"an answer of the brain's":  seal(wire.KindAnswer, answer, brain),
		"an answer called connect":  but(seal(wire.KindAnswer, answer, brain), "payload", "signatures"),
		"a connect called answer":   but(map[string]any{"payloadType": string(wire.KindAnswer)}, "payloadType"),
		"without a signature":       but(map[string]any{"signatures": []any{}}, "signatures"),
		"without a payload":         but(map[string]any{"payload": ""}, "payload"),
		"of no header":              seal(wire.KindConnect, wire.Connect{Pi: "pi1", Addr: "192.0.2.1:8006"}, brain),
		"for a Pi that has no name": seal(wire.KindConnect, wire.Connect{Header: header("cloud"), Addr: "192.0.2.1:8006"}, brain),
	} {
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := courier.ReadConnect(courier.ConnectScheme+" "+base64.StdEncoding.EncodeToString(data), brain.PublicKey()); err == nil {
			t.Errorf("%s passes: %+v", name, c)
		}
	}
	data, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := courier.ReadConnect(courier.ConnectScheme+" "+base64.StdEncoding.EncodeToString(data), brain.PublicKey()); err != nil || *c != word {
		t.Errorf("the brain's own word: %+v, %v", c, err)
	}
}

// TestS4_ARelayThatIsGoneSaysNothingOfItsTarget, whenever it goes, and whoever waits for it
// is held up for 4 s at most.
func TestS4_ARelayThatIsGoneSaysNothingOfItsTarget(t *testing.T) {
	trickle := func(text string, each time.Duration) func(net.Conn, *http.Request) {
		return func(c net.Conn, _ *http.Request) {
			for _, b := range []byte(text) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(each)
			}
		}
	}
	const yes, closed = "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\nSentinel-Target: closed\r\nContent-Length: 0\r\n\r\n"
	for name, c := range map[string]struct {
		serve  func(net.Conn, *http.Request)
		closed bool
		none   bool // no error
	}{
		"gone after the request":        {serve: answer("")},
		"gone in its answer":            {serve: answer(yes[:15])},
		"gone in its word closed":       {serve: answer(closed[:len(closed)-4])},
		"half an answer and silence":    {serve: func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, yes[:15]); _, _ = c.Read(make([]byte, 1)) }},
		"an answer a byte a second":     {serve: trickle(yes, time.Second)},
		"closed, a byte a second":       {serve: trickle(closed, time.Second)},
		"an answer a byte each 100 ms":  {serve: trickle(yes, 100*time.Millisecond), none: true},
		"closed, with a byte each 10ms": {serve: trickle(closed, 10*time.Millisecond), closed: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				conn, err := through(t, nil, c.serve)
				if took := time.Since(begun); took > 4*time.Second {
					t.Errorf("it took %s", took)
				}
				if (err == nil) != c.none || errors.Is(err, courier.ErrTargetClosed) != c.closed {
					t.Errorf("closed is wanted %v: %v", c.closed, err)
				}
				if err == nil {
					_ = conn.Close()
				}
			})
		})
	}
}

// TestS4_ARelayThatCannotBeDialledSaysNothingOfItsTarget, though its errors are those that a
// target's would be.
func TestS4_ARelayThatCannotBeDialledSaysNothingOfItsTarget(t *testing.T) {
	for _, no := range []error{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, context.DeadlineExceeded} {
		dial := func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: no}
		}
		_, err := courier.Through(dial, "pi1:7777", courier.ToShutDown, nil)(t.Context(), "tcp", "192.0.2.1:8006")
		if err == nil || errors.Is(err, courier.ErrTargetClosed) || !strings.Contains(err.Error(), "connect to the relay") {
			t.Errorf("%v: %v", no, err)
		}
	}
}

// TestR6_TroubleThatLastsReadsTheSame each time, so that a timeline tells it once.
func TestR6_TroubleThatLastsReadsTheSame(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1))
			_ = c.(*net.TCPConn).SetLinger(0) // a reset
			_ = c.Close()
		}
	})
	said := map[string]bool{}
	for range 3 {
		_, err := courier.Through((&net.Dialer{}).DialContext, ln.Addr().String(), courier.ToAsk, nil)(t.Context(), "tcp", "192.0.2.1:8006")
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("Through: %v", err)
		}
		said[err.Error()] = true
	}
	if len(said) != 1 {
		t.Errorf("one trouble reads in %d ways: %v", len(said), said)
	}
}
