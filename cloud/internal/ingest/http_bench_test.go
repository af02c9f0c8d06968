package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

const (
	// senders are as many connections, each of a node of its own.
	senders = 16
	// rounds are how often ingest and its baselines take short turns, so that what else the
	// machine does hits all alike.
	rounds = 40
)

// load is a crowd of nodes that post to a server as fast as it answers.
type load struct {
	*bench
	who   map[string]Machine // by the caller's address
	told  [senders]string    // names what each was told last
	mu    sync.Mutex
	beats atomic.Int64 // taken so far, of which each node sends one a second
	spare atomic.Int64 // answers without a body: nothing was new
	asked atomic.Int64 // questions to the tailnet
}

// newLoad makes the crowd. Each second has a proof hold for ten beats of a connection, as
// where each node beats once a second; else it holds for ten seconds of the benchmark.
func newLoad(b *testing.B, onTailnet, eachSecond bool) *load {
	l := &load{bench: newBench(b), who: map[string]Machine{}}
	begin, started := l.time(), time.Now()
	now := func() time.Time { return begin.Add(time.Since(started)) }
	if eachSecond {
		now = func() time.Time { return begin.Add(time.Duration(l.beats.Load()) * time.Second / senders) }
	}
	l.ids.Now, l.h.Now = now, now
	pis := []wire.Peer{{Name: "pi", Address: "192.168.77.2:7777", Key: l.keys["pi"].PublicKey()}}
	l.h.Tell = func(_ Known, _ string, a *wire.Answer) { a.BrainKey, a.Pis = l.brain.PublicKey(), pis }
	for i := range senders {
		k := Known{Name: node(i), Site: "home", Role: sentinel.Node, Key: l.keyOf(i)}
		if onTailnet {
			k.StableID = "n" + k.Name
		}
		l.ids.Learn(k)
	}
	if onTailnet {
		l.ids.WhoIs = func(_ context.Context, addr string) (Machine, error) {
			l.asked.Add(1)
			l.mu.Lock()
			defer l.mu.Unlock()
			m, ok := l.who[addr]
			if !ok {
				return Machine{}, fmt.Errorf("nobody is %s", addr)
			}
			return m, nil
		}
	}
	return l
}

func node(i int) string { return fmt.Sprintf("node-%02d", i) }

func (l *load) keyOf(i int) wire.PublicKey {
	l.keys[node(i)] = l.newKey()
	return l.keys[node(i)].PublicKey()
}

// serve runs a server as a program does, until the benchmark ends.
func (l *load) serve(h http.Handler) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	PerConnection(s)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	l.Cleanup(func() { _ = s.Close(); <-done })
	return "http://" + ln.Addr().String()
}

// client keeps one connection, of which the tailnet knows whose it is.
func (l *load) client(i int) *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.who[c.LocalAddr().String()] = Machine{StableID: "n" + node(i), Name: node(i), Tags: []string{TagNode}}
		}
		return c, err
	}}
	l.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// sealed are so many heartbeats of each node.
func (l *load) sealed(each int) [][][]byte {
	all := make([][][]byte, senders)
	for i := range all {
		for range each {
			all[i] = append(all[i], l.heartbeat(node(i)))
		}
	}
	return all
}

// post sends every node's messages over its own connection, and returns how long that took.
func (l *load) post(clients []*http.Client, url string, messages [][][]byte) time.Duration {
	begin := time.Now()
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			for _, m := range messages[i] {
				req, err := http.NewRequestWithContext(l.Context(), http.MethodPost, url+courier.PathHeartbeat, bytes.NewReader(m))
				if err != nil {
					l.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				if l.ids.WhoIs != nil {
					req.Header.Set("Accept", string(wire.KindAnswer)) // as courier.Client does there
					if l.told[i] != "" {
						req.Header.Set("Sentinel-Told", l.told[i])
					}
				}
				resp, err := c.Do(req)
				if err != nil {
					l.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
					l.Errorf("answered %d, %v", resp.StatusCode, err)
				}
				_ = resp.Body.Close()
				if name := resp.Header.Get("Sentinel-Told"); name != "" {
					l.told[i] = name
				}
				if resp.StatusCode == http.StatusNoContent {
					l.spare.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// processor is the time that this process has had on one.
func (l *load) processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		l.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// answering is bare, with an answer as long as the brain's.
func answering(w http.ResponseWriter, r *http.Request) {
	bare(w, r)
	_, _ = w.Write(make([]byte, 350))
}

// bare only reads the same body and decodes its JSON.
func bare(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	var e dsse.Envelope
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// BenchmarkIngest is heartbeats over kept connections, against a handler that only reads
// them. With listen: every signature counts, and every answer is signed.
func BenchmarkIngest(b *testing.B) {
	for _, tt := range []struct {
		name                  string
		onTailnet, eachSecond bool
	}{{"tailnet", true, false}, {"each-second", true, true}, {"listen", false, false}} {
		b.Run(tt.name, func(b *testing.B) {
			l := newLoad(b, tt.onTailnet, tt.eachSecond)
			routes, mux := courier.JSONErrors(l.mux), http.NewServeMux()
			mux.HandleFunc("POST "+courier.PathHeartbeat, bare)
			mux.HandleFunc("POST /answering"+courier.PathHeartbeat, answering)
			ours, theirs := l.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				l.beats.Add(1)
				routes.ServeHTTP(w, r)
			})), l.serve(mux)
			var clients []*http.Client
			for i := range senders {
				clients = append(clients, l.client(i))
			}
			each := max(b.N/senders/rounds, 1)
			l.post(clients, ours, l.sealed(1))
			l.post(clients, theirs, l.sealed(1))
			turns := [3]struct {
				url            string
				took, cpu, now time.Duration
			}{{url: ours}, {url: theirs}, {url: theirs + "/answering"}}
			mine, base, alike := &turns[0], &turns[1], &turns[2]
			var ratios []float64
			b.ResetTimer()
			b.StopTimer()
			for round := range rounds {
				messages := l.sealed(each)
				for i := range turns {
					t := &turns[(i+round)%len(turns)] // each goes first, second and last
					if t == mine {
						b.StartTimer()
					}
					before := l.processor()
					t.now = l.post(clients, t.url, messages)
					t.took, t.cpu = t.took+t.now, t.cpu+l.processor()-before
					b.StopTimer()
				}
				ratios = append(ratios, base.now.Seconds()/mine.now.Seconds())
			}
			slices.Sort(ratios)
			n := float64(senders * each * rounds)
			b.ReportMetric(n/mine.took.Seconds(), "req/s")
			b.ReportMetric(n/base.took.Seconds(), "bare-req/s")
			b.ReportMetric(n/alike.took.Seconds(), "answering-req/s")
			b.ReportMetric(ratios[rounds/2], "ratio")
			// What the client and the kernel spend is in both; on a busy machine this is the steadier figure.
			b.ReportMetric(base.cpu.Seconds()/mine.cpu.Seconds(), "cpu-ratio")
			b.ReportMetric(float64(mine.cpu.Microseconds())/n, "cpu-us/req")
			b.ReportMetric(float64(l.asked.Load())/n, "whois/req")
			b.ReportMetric(float64(l.spare.Load())/n, "bodiless/req")
			if c := l.counted(); len(c) > 0 {
				b.Errorf("refused: %v", c)
			}
		})
	}
}
