package courier

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// ConnectScheme is the scheme of Proxy-Authorization that carries a signed Connect, for
// where no tailnet identity stands for the brain.
const ConnectScheme = "Sentinel"

// Purpose is what a connection through a Pi is for. The Pi, which sees the UPS, lets
// nothing be shut down while the mains are there, whatever the brain believes.
type Purpose string

// The purposes.
const (
	ToAsk      Purpose = "ask"
	ToShutDown Purpose = "shut-down"
	// ToShutDownForFailure is on mains too, where the Pi knows that the plan begins for a failure.
	ToShutDownForFailure Purpose = "shut-down-for-failure"
	ToPutBack            Purpose = "put-back" // to start what was shut down: only while the mains are there
)

// HeaderPurpose carries the purpose of a CONNECT.
const HeaderPurpose = "Sentinel-Purpose"

// ErrTargetClosed is a relay's word that it got through to nobody: the target refused
// the connection, or did not answer. The relay itself is fine.
var ErrTargetClosed = errors.New("the relay found the target closed")

// relayRefused is the status by which a relay says that, with headerTarget telling it
// from a proxy of another kind.
const (
	relayRefused = http.StatusBadGateway
	headerTarget = "Sentinel-Target"
)

// connectWithin bounds the relay's answer.
const connectWithin = 4 * time.Second

// Through connects to addresses through a relay's CONNECT, for a purpose. authorise makes the header
// for an address; nil where the transport says who is calling.
func Through(dial func(ctx context.Context, network, addr string) (net.Conn, error), relay string, purpose Purpose,
	authorise func(addr string) (string, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		conn, err := dial(ctx, "tcp", relay)
		if err != nil {
			return nil, fmt.Errorf("connect to the relay: %w", err)
		}
		if err := connect(ctx, conn, addr, purpose, authorise); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}

func connect(ctx context.Context, conn net.Conn, addr string, purpose Purpose, authorise func(string) (string, error)) error {
	deadline := time.Now().Add(connectWithin)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	wanted := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // nobody waits any more
	defer wanted()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{HeaderPurpose: {string(purpose)}}}
	if authorise != nil {
		auth, err := authorise(addr)
		if err != nil {
			return err
		}
		req.Header.Set("Proxy-Authorization", auth)
	}
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("ask the relay for %s: %w", addr, sourceless(err))
	}
	// The relay sends nothing of its own after the header, and a TLS server speaks
	// second, so a small reader cannot swallow the target's bytes.
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), req)
	if err != nil {
		return fmt.Errorf("ask the relay for %s: %w", addr, sourceless(err))
	}
	switch {
	case resp.StatusCode == http.StatusOK && !wanted():
		return ctx.Err()
	case resp.StatusCode == http.StatusOK:
		return conn.SetDeadline(time.Time{})
	case resp.StatusCode == relayRefused && resp.Header.Get(headerTarget) == "closed":
		return fmt.Errorf("connect to %s: %w", addr, ErrTargetClosed)
	default:
		return fmt.Errorf("ask the relay for %s: it answered %d", addr, resp.StatusCode)
	}
}

// sourceless leaves out from which port it was asked: trouble that lasts reads the same each
// time, and is told once.
func sourceless(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	same := *op
	same.Source = nil
	return &same
}

// SignConnect makes the header that asks a Pi for an address.
func SignConnect(c wire.Connect, key wire.Key) (string, error) {
	data, err := wire.Seal(wire.KindConnect, c, key)
	if err != nil {
		return "", err
	}
	return ConnectScheme + " " + base64.StdEncoding.EncodeToString(data), nil
}

// ReadConnect reads such a header and verifies it against the brain's key.
func ReadConnect(header string, brain wire.PublicKey) (*wire.Connect, error) {
	text, ok := strings.CutPrefix(header, ConnectScheme+" ")
	if !ok {
		return nil, fmt.Errorf("no %s authorisation", ConnectScheme)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s authorisation: %w", ConnectScheme, err)
	}
	e, err := wire.Read(data)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(brain); err != nil {
		return nil, err
	}
	var c wire.Connect
	return &c, e.Decode(wire.KindConnect, &c)
}

// SayClosed is how a relay answers that the target is closed.
func SayClosed(w http.ResponseWriter) {
	w.Header().Set(headerTarget, "closed")
	w.WriteHeader(relayRefused)
}
