package upssim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/shared/sim/freeport"
)

const (
	// idleLongest is when apcupsd closes a connection that asks nothing.
	idleLongest = 15 * time.Second
	longestAsk  = 256
)

// Faults are ways in which a server of NIS goes wrong.
type Faults struct {
	Hang      bool // accept and read, and never answer
	CutAfter  int  // close the connection after this many records; 0 is never
	Oversize  bool // send a record of 300 bytes among the others
	BadHeader bool // announce a record more than there are
	// Garbage replaces the values of records by key: {"LINEV": "N/A"}.
	Garbage map[string]string
}

// server is what Serve and Daemon share; guarded by UPS.mu.
type server struct {
	ln    net.Listener // nil while apcupsd is down
	addr  net.Addr
	conns map[net.Conn]struct{}
	up    chan struct{} // ln was set
	ended bool
}

func newServer() server {
	return server{conns: map[net.Conn]struct{}{}, up: make(chan struct{}, 1)}
}

// SetFaults replaces the faults of the answers that follow.
func (u *UPS) SetFaults(f Faults) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults = f
}

// Daemon stops apcupsd, so that connections are refused, or starts it anew; it then
// knows nothing of what was before. Once it returns, so it is.
func (u *UPS) Daemon(up bool) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	u.settle(now)
	defer kick(u.moved)
	switch {
	case !up:
		u.daemon = nil
		return u.server.close()
	case u.daemon != nil:
		return nil
	}
	u.daemon = newDaemon(u.cfg, now)
	u.look(now)
	if u.server.addr == nil || u.server.ended {
		return nil // not served
	}
	ln, err := u.listen()
	if err != nil {
		return fmt.Errorf("listen again: %w", err)
	}
	u.server.ln = ln
	kick(u.server.up)
	return nil
}

func (u *UPS) listen() (net.Listener, error) {
	if u.cfg.Listen != nil {
		return u.cfg.Listen()
	}
	return freeport.Again(u.server.addr.Network(), u.server.addr.String())
}

// close ends the listener and every connection.
func (s *server) close() error {
	var err error
	if s.ln != nil {
		err = s.ln.Close()
		s.ln = nil
	}
	for c := range s.conns {
		c.Close()
	}
	return err
}

// Serve answers on ln and lets the time pass until ctx ends, then closes ln and
// returns nil. It may be called once.
func (u *UPS) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	if err := u.attach(ln); err != nil {
		return err
	}
	tasks.Go(func() { u.pass(ctx) })
	tasks.Go(func() { u.tell(ctx) })
	tasks.Go(func() {
		<-ctx.Done()
		u.mu.Lock()
		defer u.mu.Unlock()
		u.server.ended = true
		u.server.close()
	})
	for {
		ln := u.listener(ctx)
		if ln == nil {
			return nil
		}
		c, err := ln.Accept()
		switch {
		case err == nil && u.admit(ln, c):
			tasks.Go(func() {
				defer u.dismiss(c)
				u.talk(c)
			})
		case err == nil:
			c.Close()
		case ctx.Err() != nil:
			return nil
		case u.isCurrent(ln):
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
	}
}

func (u *UPS) attach(ln net.Listener) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.server.addr = ln.Addr()
	if u.daemon == nil {
		return ln.Close()
	}
	u.server.ln = ln
	return nil
}

// listener waits while apcupsd is down. It returns nil when ctx ends.
func (u *UPS) listener(ctx context.Context) net.Listener {
	for {
		u.mu.Lock()
		ln := u.server.ln
		u.mu.Unlock()
		if ln != nil && ctx.Err() == nil {
			return ln
		}
		select {
		case <-ctx.Done():
			return nil
		case <-u.server.up:
		}
	}
}

func (u *UPS) isCurrent(ln net.Listener) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.server.ln == ln
}

func (u *UPS) admit(ln net.Listener, c net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.server.ln != ln {
		return false
	}
	u.server.conns[c] = struct{}{}
	return true
}

func (u *UPS) dismiss(c net.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.server.conns, c)
	c.Close()
}

// pass lets time pass: it wakes at each deadline.
func (u *UPS) pass(ctx context.Context) {
	const longest = time.Second // Config.Now may run at another pace
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.moved:
		case <-timer.C:
		}
		u.mu.Lock()
		now := u.now()
		u.settle(now)
		next, ok := u.due()
		u.mu.Unlock()
		switch {
		case !ok:
			timer.Stop()
		case u.cfg.Now != nil:
			timer.Reset(min(next.Sub(now), longest))
		default:
			timer.Reset(next.Sub(now))
		}
	}
}

// tell runs OnEvent for what happened, in order.
func (u *UPS) tell(ctx context.Context) {
	for {
		u.mu.Lock()
		queue := u.queue
		u.queue = nil
		u.mu.Unlock()
		for _, e := range queue {
			u.cfg.OnEvent(e)
		}
		select {
		case <-ctx.Done():
			return
		case <-u.told:
		}
	}
}

// talk answers one client until it goes away, idles, or an injected fault strikes.
func (u *UPS) talk(c net.Conn) {
	for {
		if err := c.SetDeadline(time.Now().Add(idleLongest)); err != nil {
			return
		}
		ask, err := readAsk(c)
		if err != nil {
			return
		}
		a := u.answer(ask)
		if a.hang {
			// Until the client goes away, or the server.
			if err := c.SetDeadline(time.Time{}); err == nil {
				_, _ = io.Copy(io.Discard, c)
			}
			return
		}
		if _, err := c.Write(a.bytes); err != nil {
			return
		}
		if a.cut {
			return
		}
		if a.status != nil && u.cfg.Edge != nil {
			u.edge.Lock()
			u.cfg.Edge(*a.status)
			u.edge.Unlock()
		}
	}
}

func readAsk(r io.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint16(head[:])
	if n == 0 || n > longestAsk {
		return "", errors.New("no command of apcupsd's")
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return string(b), err
}

type reply struct {
	bytes     []byte
	hang, cut bool
	status    *Answered
}

func (u *UPS) answer(ask string) reply {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	u.settle(now)
	f, d := u.faults, u.daemon
	if f.Hang || d == nil {
		return reply{hang: f.Hang, cut: true}
	}
	var lines []string
	var r reply
	switch ask {
	case "status":
		if !d.lost && d.knows == knowsAll && now.Sub(d.date) >= u.cfg.PollTime {
			u.look(now)
		}
		lines = f.spoil(d.records(now, f.Garbage))
		r.status = &Answered{At: now, Flags: d.flags(), Status: strings.TrimSpace(d.status())}
	case "events":
		lines = d.log
	default:
		lines = []string{"Invalid command\n"}
	}
	if f.CutAfter > 0 && f.CutAfter < len(lines) {
		lines, r.cut = lines[:f.CutAfter], true
	}
	for _, l := range lines {
		r.bytes = binary.BigEndian.AppendUint16(r.bytes, uint16(len(l)))
		r.bytes = append(r.bytes, l...)
	}
	if !r.cut {
		r.bytes = append(r.bytes, 0, 0)
	}
	return r
}

// spoil applies the faults that change the records themselves.
func (f Faults) spoil(lines []string) []string {
	if f.BadHeader {
		lines[0] = fmt.Sprintf("%-9s: 001,%03d,%04d\n", "APC", len(lines), len(strings.Join(lines[1:], "")))
	}
	if f.Oversize {
		const key = "REGX     : "
		lines = append(lines, key+strings.Repeat("x", 300-len(key)-1)+"\n")
	}
	return lines
}
