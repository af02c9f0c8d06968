package uplink

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// Within bounds what one look asks, and Ends the look, whatever becomes of that.
	Within = 2500 * time.Millisecond
	Ends   = Within + 100*time.Millisecond
)

// Dial opens a connection over the machine's own network.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// Found is what a look found.
type Found struct {
	Online      bool // an anchor answers
	TailnetGone bool // and nothing of the tailnet does (rule N10)
}

// Uplink is the machine's way to the internet: TCP to addresses that do not depend on one
// another (rule N3).
type Uplink struct {
	Anchors func() []string // host:port
	Dial    Dial
	Gone    func(ctx context.Context) bool // whether the tailnet is out of reach; nil: there is none
}

// Look asks the anchors and the tailnet at once. Without an anchor's answer the silence of
// the tailnet is the machine's own. It ends in time, whatever hangs.
func (u *Uplink) Look(ctx context.Context) (found Found) {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	online, gone := make(chan bool, 1), make(chan bool, 1)
	go func() { online <- u.online(ctx) }()
	go func() { gone <- u.Gone != nil && u.Gone(ctx) }()
	limit := time.NewTimer(Ends)
	defer limit.Stop()
	select {
	case found.Online = <-online:
	case <-limit.C:
	}
	if !found.Online {
		return found
	}
	select {
	case found.TailnetGone = <-gone:
	case <-limit.C:
	}
	return found
}

// online reports whether one of the anchors answers; one is enough, since it cannot be
// reached without an uplink.
func (u *Uplink) online(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	anchors := u.Anchors()
	answers := make(chan struct{}, len(anchors))
	for _, a := range anchors {
		wg.Go(func() {
			conn, err := u.Dial(ctx, "tcp", a)
			if err != nil {
				return
			}
			answers <- struct{}{}
			cancel() // the others need not go on
			_ = conn.Close()
		})
	}
	wg.Wait()
	return len(answers) > 0
}
