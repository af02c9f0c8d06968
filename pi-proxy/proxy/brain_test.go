package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

const brainBoot = "9a3f0c12-0000-4000-8000-0000000000b1"

// arrival is a message with when it came.
type arrival[T any] struct {
	at time.Time
	m  T
}

// brain is as much of one as a Pi meets: it verifies what it is sent, and answers.
type brain struct {
	t    *testing.T
	key  wire.Key
	addr string
	seq  wire.Counter

	mu         sync.Mutex
	news       chan struct{} // closed and replaced with each message
	away       bool          // hangs up on everybody
	piKey      wire.PublicKey
	bundle     *wire.Bundle
	hash       string // of the bundle, unless a test lies
	run        shutdown.State
	epoch      shutdown.Epoch
	runID      string
	hosts      []string       // that the Pi is to order off
	on         shutdown.Cause // what its run is for, if not the power
	calls      *wire.Calls
	knows      string // the hash of calls that the Pi names
	beats      []arrival[wire.Heartbeat]
	reports    []arrival[wire.UPSReport]
	announced  []arrival[wire.Announcement]
	askedAbout []string        // nodes that the Pi does not know
	stuck      chan struct{}   // holds the answer about those back until it is closed
	ages       []time.Duration // of announced
	records    []arrival[wire.Record]
	farewells  []arrival[wire.Announcement]
	leaving    bool // says so
	named      func(hash string)
	posted     func()        // with each report, before anything else; not with the lock held
	held       chan struct{} // closed once the answer to a heartbeat is made and held back
	release    chan struct{} // lets it go
}

func newBrain(t *testing.T) *brain {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &brain{t: t, key: key, addr: ln.Addr().String(), news: make(chan struct{}), run: shutdown.None}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+courier.PathHeartbeat, take(b, wire.KindHeartbeat, func(m *wire.Heartbeat, now time.Time) (string, []int) {
		b.beats = append(b.beats, arrival[wire.Heartbeat]{now, *m})
		b.knows = m.Pi.Calls
		return m.Pi.Bundle, nil
	}))
	mux.HandleFunc("POST "+courier.PathUPS, take(b, wire.KindUPS, func(m *wire.UPSReport, now time.Time) (string, []int) {
		b.reports = append(b.reports, arrival[wire.UPSReport]{now, *m})
		return m.Bundle, nil
	}))
	mux.HandleFunc("POST "+courier.PathRelay, take(b, wire.KindRelay, b.relay))
	mux.HandleFunc("POST "+courier.PathRecord, take(b, wire.KindRecord, func(m *wire.Record, now time.Time) (string, []int) {
		b.records = append(b.records, arrival[wire.Record]{now, *m})
		return m.Bundle, nil
	}))
	mux.HandleFunc("POST "+courier.PathAnnounce, take(b, wire.KindAnnouncement, func(m *wire.Announcement, now time.Time) (string, []int) {
		b.farewells = append(b.farewells, arrival[wire.Announcement]{now, *m})
		return "", nil
	}))
	server := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil { // waits for what is being answered
			t.Error(err)
		}
		<-done
	})
	return b
}

// take serves one kind of message. f says which bundle the Pi has, "-" if it does not,
// and what was taken.
func take[T any, M interface {
	*T
	wire.Message
}](b *brain, kind wire.Kind, f func(m M, now time.Time) (string, []int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if posted := b.posted; posted != nil && kind == wire.KindUPS {
			b.mu.Unlock()
			posted()
			b.mu.Lock()
		}
		if b.away {
			panic(http.ErrAbortHandler)
		}
		e, _, err := courier.Receive(w, r)
		m := M(new(T))
		if err == nil {
			err = courier.Decode(e, b.piKey, kind, m)
		}
		if err != nil {
			b.t.Errorf("the Pi's %s: %v", r.URL.Path, err)
			courier.Fail(w, err)
			return
		}
		has, taken := f(m, time.Now())
		if b.named != nil && has != "" {
			b.named(has)
		}
		a := wire.Answer{Header: b.header(), To: e.Header.Node, ToBoot: e.Header.Boot, ToSeq: e.Header.Seq, BrainKey: b.key.PublicKey(), Taken: taken, Leaving: b.leaving}
		if kind != wire.KindRelay && kind != wire.KindAnnouncement {
			a.Mandate = &wire.Mandate{Epoch: b.epoch, Run: b.run, Bundle: b.hash, RunID: b.runID, Hosts: b.hosts, On: b.on}
			if has != b.hash {
				a.Bundle = b.bundle
			}
			if b.calls != nil && b.knows != hashOf(b.t, *b.calls) {
				a.Calls = b.calls
			}
		}
		if held, release := b.held, b.release; held != nil && kind == wire.KindHeartbeat {
			b.held = nil
			close(held)
			b.mu.Unlock()
			<-release
			b.mu.Lock()
		}
		if err := courier.Reply(w, a, b.key); err != nil {
			b.t.Log(err)
		}
		close(b.news)
		b.news = make(chan struct{})
	}
}

func hashOf(t *testing.T, c wire.Calls) string {
	hash, err := c.Hash()
	if err != nil {
		t.Error(err)
	}
	return hash
}

func (b *brain) header() wire.Header {
	return wire.Header{V: wire.Version, Node: "brain", Boot: brainBoot, Seq: b.seq.Next(time.Hour)}
}

func (b *brain) relay(m *wire.Relay, now time.Time) (has string, taken []int) {
	for i, r := range m.Messages {
		e, err := wire.Read(r.Envelope)
		var a wire.Announcement
		if err == nil && e.Kind == wire.KindHeartbeat { // of somebody whom the Pi does not know
			if err = e.Verify(e.Signer); err == nil {
				b.askedAbout = append(b.askedAbout, e.Header.Node)
				if release := b.stuck; release != nil {
					b.mu.Unlock()
					<-release
					b.mu.Lock()
				}
				taken = append(taken, i)
				continue
			}
		}
		if err == nil {
			err = errors.Join(e.Verify(e.Signer), e.Decode(wire.KindAnnouncement, &a))
		}
		if err != nil {
			b.t.Errorf("relayed: %v", err)
		}
		b.announced = append(b.announced, arrival[wire.Announcement]{now, a})
		b.ages = append(b.ages, time.Duration(r.AgeMS)*time.Millisecond)
		taken = append(taken, i)
	}
	return "", taken
}

// set changes the brain between two messages.
func (b *brain) set(f func()) { b.mu.Lock(); defer b.mu.Unlock(); f() }

// hand makes this the site's bundle.
func (b *brain) hand(w wire.Bundle) string {
	b.t.Helper()
	hash, err := w.Hash()
	if err != nil {
		b.t.Fatal(err)
	}
	b.set(func() { b.bundle, b.hash = &w, hash })
	return hash
}

// await waits until ok, which is asked with the lock held after each message.
func (b *brain) await(what string, within time.Duration, ok func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), within)
	defer cancel()
	for {
		b.mu.Lock()
		done, news := ok(), b.news
		b.mu.Unlock()
		if done {
			return
		}
		select {
		case <-news:
		case <-ctx.Done():
			b.t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// seen is what has arrived so far.
func (b *brain) seen() (beats []arrival[wire.Heartbeat], reports []arrival[wire.UPSReport]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.beats), slices.Clone(b.reports)
}

// awaitBeats waits for n more heartbeats.
func (b *brain) awaitBeats(n int) {
	b.t.Helper()
	beats, _ := b.seen()
	b.await(fmt.Sprint(n, " more heartbeats"), time.Duration(n)*time.Second+8*time.Second, func() bool { return len(b.beats) >= len(beats)+n })
}

// storedHash waits until the Pi names a bundle as its own.
func (b *brain) storedHash(hash string) {
	b.t.Helper()
	b.await("the Pi names bundle "+hash, 10*time.Second, func() bool {
		return len(b.beats) > 0 && b.beats[len(b.beats)-1].m.Pi.Bundle == hash
	})
}

// lastRun is the run as the Pi last told of it.
func (b *brain) lastRun() *shutdown.Status {
	beats, _ := b.seen()
	if len(beats) == 0 {
		return nil
	}
	return beats[len(beats)-1].m.Pi.Run
}

// awaitRun waits until the Pi tells of a run in that state.
func (b *brain) awaitRun(state shutdown.State, within time.Duration) *shutdown.Status {
	b.t.Helper()
	b.await("a run that is "+string(state), within, func() bool {
		run := b.beats[len(b.beats)-1].m.Pi.Run
		return run != nil && run.State == state
	})
	return b.lastRun()
}
