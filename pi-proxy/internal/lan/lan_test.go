package lan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	boot  = "9a3f0c12-0000-4000-8000-00000000abcd"
	boot2 = "9a3f0c12-0000-4000-8000-00000000ef01"
)

func newKey(t testing.TB) wire.Key {
	t.Helper()
	k, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func header(node string, seq int64) wire.Header {
	return wire.Header{V: wire.Version, Node: node, Boot: boot, Seq: seq}
}

func seal(t testing.TB, kind wire.Kind, m any, key wire.Key) []byte {
	t.Helper()
	data, err := wire.Seal(kind, m, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// kept is an envelope that was put on disk.
type kept struct{ envelope, stranger string }

// pi is a listener with the rest of the Pi as tests want it.
type pi struct {
	*lan.Listener
	key, node wire.Key // its own, and that of pve1, which it knows
	server    *httptest.Server
	client    *courier.Client

	mu    sync.Mutex
	boots int // that it was told of
	now   time.Time
	keep  func() error
	kept  []kept
	asked []wire.PublicKey // the signers of heartbeats about which the brain is asked

	refused []string // the reasons that were counted
	logged  bytes.Buffer

	known map[string]wire.PublicKey
}

// locked is a log that tests may read.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func newPi(t testing.TB) *pi {
	t.Helper()
	started := time.Now()
	p := &pi{key: newKey(t), node: newKey(t), now: started}
	p.known = map[string]wire.PublicKey{"pve1": p.node.PublicKey()}
	var seq wire.Counter
	p.Listener = &lan.Listener{Log: slog.New(slog.NewTextHandler(&locked{w: &p.logged, mu: &p.mu}, nil)), Key: p.key,
		Now:       func() time.Time { p.mu.Lock(); defer p.mu.Unlock(); return p.now },
		SinceBoot: func() time.Duration { p.mu.Lock(); defer p.mu.Unlock(); return p.now.Sub(started) + time.Hour },
		NewBoot:   func() { p.mu.Lock(); defer p.mu.Unlock(); p.boots++ },
		Refused:   func(reason string) { p.mu.Lock(); defer p.mu.Unlock(); p.refused = append(p.refused, reason) },
		Self: func() wire.Header {
			return wire.Header{V: wire.Version, Node: "pi", Boot: boot2, Seq: seq.Next(time.Hour)}
		},
		KeyOf: func(node string) (wire.PublicKey, bool) { k, ok := p.known[node]; return k, ok },
		Keep: func(envelope []byte, stranger string) error {
			if p.keep != nil {
				if err := p.keep(); err != nil {
					return err
				}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.kept = append(p.kept, kept{string(envelope), stranger})
			return nil
		},
		Ask: func(envelope []byte) {
			e, err := wire.Read(envelope)
			if err != nil {
				t.Error(err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.asked = append(p.asked, e.Signer)
		},
		Tell: func(a *wire.Answer) { a.Pis = []wire.Peer{{Name: "pi", Address: "192.168.1.2:7777"}} },
	}
	mux := http.NewServeMux()
	p.Register(mux)
	p.server = httptest.NewUnstartedServer(mux)
	p.server.Config.ReadTimeout = 300 * time.Millisecond
	p.server.Start()
	p.client = courier.NewClient(nil)
	t.Cleanup(func() { p.client.Close(); p.server.Close() })
	return p
}

func (p *pi) later(d time.Duration) { p.mu.Lock(); p.now = p.now.Add(d); p.mu.Unlock() }

func (p *pi) post(path string, h wire.Header, data []byte) (*wire.Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return p.client.Post(ctx, courier.Receiver{Name: "pi", URL: p.server.URL, Key: p.key.PublicKey()}, path, h, data)
}

func (p *pi) beat(t testing.TB, h wire.Header, state string, key wire.Key) (*wire.Answer, error) {
	t.Helper()
	return p.post(courier.PathHeartbeat, h, seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: h, State: state}, key))
}

func (p *pi) hears(t testing.TB, want ...wire.Heard) {
	t.Helper()
	if diff := cmp.Diff(want, p.Heard()); diff != "" {
		t.Error(diff)
	}
}

// refused wants a no with that status and, somewhere in it, that text.
func refused(t testing.TB, err error, status int, text string) {
	t.Helper()
	var r *courier.Refusal
	if !errors.As(err, &r) || r.Status != status || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %d with %q", err, status, text)
	}
}

func TestH10_AHeartbeatIsHeardAndAnswered(t *testing.T) {
	p := newPi(t)
	if d := p.SilentFor("pve1"); d != nil {
		t.Errorf("silent for %v before it was ever heard", *d)
	}
	h := header("pve1", 1000)
	a, err := p.beat(t, h, "running", p.node) // the client verifies the signature
	if err != nil {
		t.Fatal(err)
	}
	if a.Node != "pi" || !a.Answers(h) || len(a.Pis) != 1 || a.Pis[0].Name != "pi" {
		t.Errorf("the answer is %+v", a)
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1000, State: "running"})
	p.later(1500 * time.Millisecond)
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1000, State: "running", AgeMS: 1500})

	if _, err := p.beat(t, header("pve1", 1_501_000), "stopping", p.node); err != nil {
		t.Fatal(err)
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1_501_000, State: "stopping"})
	p.later(time.Minute)
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1_501_000, State: "stopping", AgeMS: 60_000})
	p.later(time.Millisecond)
	p.hears(t)
	if d := p.SilentFor("pve1"); d == nil || *d != time.Minute+time.Millisecond {
		t.Errorf("silent for %v", d)
	}
}

func TestR1_AnAnswerNamesItsRequest(t *testing.T) {
	p := newPi(t)
	h := header("pve1", 1000)
	data := seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: h}, p.node)
	if _, err := p.post(courier.PathHeartbeat, header("pve1", 1001), data); err == nil {
		t.Error("the answer to one request passes for that to another")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	other := courier.Receiver{Name: "pi", URL: p.server.URL, Key: newKey(t).PublicKey()}
	if _, err := p.client.Post(ctx, other, courier.PathHeartbeat, h, data); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("got %v, want that the answer is not of that key", err)
	}
}

func TestH7_AnUnknownNodeIsRefusedWithAHint(t *testing.T) {
	p := newPi(t)
	_, err := p.beat(t, header("stranger", 1), "running", newKey(t))
	refused(t, err, http.StatusForbidden, "stranger is not known here; the brain has not handed its key out")
	p.hears(t)
}

// TestH7_TheBrainIsAskedAboutAStranger, which has no other way to it: once a minute each, and about few.
func TestH7_TheBrainIsAskedAboutAStranger(t *testing.T) {
	p := newPi(t)
	first, anew := newKey(t), newKey(t)
	for seq := range int64(3) {
		_, err := p.beat(t, header("nas", 1+seq), "running", first)
		refused(t, err, http.StatusForbidden, "let the node in there (sentinel-cloud approve)")
		_, err = p.beat(t, header("pve1", 1+seq), "running", anew) // set up anew
		refused(t, err, http.StatusForbidden, "")
	}
	if want := []wire.PublicKey{first.PublicKey(), anew.PublicKey()}; !slices.Equal(p.asked, want) {
		t.Fatalf("asked about %v", p.asked)
	}
	p.later(time.Minute)
	for seq := range int64(20) { // each with a key of its own
		if _, err := p.beat(t, header("nas", 10+seq), "running", newKey(t)); err == nil {
			t.Error("it is known")
		}
	}
	if n := len(p.asked); n != 2+8 {
		t.Errorf("asked about %d in a minute", n-2)
	}
	p.later(time.Minute)
	forged := bytes.Replace(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("nas", 99), State: "running"}, first), []byte(first.PublicKey()), []byte(anew.PublicKey()), 1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	to := courier.Receiver{Name: "pi", URL: p.server.URL, Key: p.key.PublicKey()}
	if _, err := p.client.Post(ctx, to, courier.PathHeartbeat, header("nas", 99), forged); err == nil || len(p.asked) != 10 {
		t.Errorf("%v, asked about %d", err, len(p.asked))
	}
	if _, err := p.beat(t, header("pve1", 1), "running", p.node); err != nil || len(p.asked) != 10 {
		t.Errorf("one that is known: %v, asked about %d", err, len(p.asked))
	}
	if len(p.kept) > 0 {
		t.Errorf("kept %v", p.kept)
	}
}

func TestR1_AForgedHeartbeatIsRefused(t *testing.T) {
	p := newPi(t)
	if _, err := p.beat(t, header("pve1", 1000), "running", p.node); err != nil {
		t.Fatal(err)
	}
	_, err := p.beat(t, header("pve1", 5000), "stopping", newKey(t))
	refused(t, err, http.StatusForbidden, "the key of pve1 is another one")
	p.known["pve2"] = newKey(t).PublicKey()
	_, err = p.beat(t, header("pve2", 5000), "running", p.node) // a node speaks for itself alone
	refused(t, err, http.StatusForbidden, "the key of pve2 is another one")
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1000, State: "running"})
	if _, err := p.beat(t, header("pve1", 1001), "running", p.node); err != nil {
		t.Errorf("after a forged one with a higher seq: %v", err)
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1001, State: "running"})
}

func TestR1_AReplayedHeartbeatIsAnsweredAndChangesNothing(t *testing.T) {
	p := newPi(t)
	for _, seq := range []int64{1000, 2000} {
		if _, err := p.beat(t, header("pve1", seq), "running", p.node); err != nil {
			t.Fatal(err)
		}
	}
	p.later(10 * time.Second)
	for _, seq := range []int64{1000, 2000} {
		if _, err := p.beat(t, header("pve1", seq), "stopping", p.node); err != nil {
			t.Errorf("seq %d again: %v", seq, err)
		}
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 2000, State: "running", AgeMS: 10_000})
	if d := p.SilentFor("pve1"); *d != 10*time.Second {
		t.Errorf("silent for %v", *d)
	}
	again := header("pve1", 1) // a new boot's seq starts over
	again.Boot = boot2
	if _, err := p.beat(t, again, "running", p.node); err != nil {
		t.Fatal(err)
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot2, Seq: 1, State: "running"})
}

func TestHeardIsBounded(t *testing.T) {
	p := newPi(t)
	for i := range 260 {
		name := fmt.Sprintf("node-%03d", i)
		p.known[name] = p.node.PublicKey()
		if _, err := p.beat(t, header(name, 1), strings.Repeat("s", 32), p.node); err != nil {
			t.Fatal(err)
		}
	}
	heard := p.Heard()
	if len(heard) != 250 || heard[0].Node != "node-000" || heard[249].Node != "node-249" {
		t.Errorf("%d nodes are heard", len(heard))
	}
	m := wire.Heartbeat{Header: header("pi", 1), Pi: &wire.PiStatus{Heard: heard}}
	if _, err := wire.Seal(wire.KindHeartbeat, m, p.key); err != nil {
		t.Error(err)
	}
}

func announcement(node string, seq int64) wire.Announcement {
	return wire.Announcement{Header: header(node, seq), ID: "id-1", Kind: wire.Reboot}
}

func (p *pi) announce(t testing.TB, m wire.Announcement, key wire.Key) ([]byte, error) {
	t.Helper()
	data := seal(t, wire.KindAnnouncement, m, key)
	_, err := p.post(courier.PathAnnounce, m.Header, data)
	return data, err
}

func TestA3_AnAnnouncementIsKeptAsItCame(t *testing.T) {
	p := newPi(t)
	known, err := p.announce(t, announcement("pve1", 1), p.node)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newKey(t)
	unknown, err := p.announce(t, announcement("new", 1), stranger) // the brain may know it by now
	if err != nil {
		t.Fatal(err)
	}
	want := []kept{{string(known), ""}, {string(unknown), string(stranger.PublicKey())}}
	if diff := cmp.Diff(want, p.kept, cmp.AllowUnexported(kept{})); diff != "" {
		t.Error(diff)
	}
}

func TestA7_AForgedAnnouncementIsNotKept(t *testing.T) {
	p := newPi(t)
	_, err := p.announce(t, announcement("pve1", 1), newKey(t))
	refused(t, err, http.StatusForbidden, "the key of pve1 is another one")
	data := seal(t, wire.KindAnnouncement, announcement("new", 1), newKey(t))
	var e map[string]any // of a stranger, but signed by yet another
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	e["signatures"].([]any)[0].(map[string]any)["keyid"] = string(newKey(t).PublicKey())
	if data, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	_, err = p.post(courier.PathAnnounce, header("new", 1), data)
	refused(t, err, http.StatusForbidden, "signature is wrong")
	beat := seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1", 3)}, p.node)
	_, err = p.post(courier.PathAnnounce, header("pve1", 3), beat) // a signature for one kind serves no other
	refused(t, err, http.StatusBadRequest, "heartbeat+json where a application/vnd.sentinel.announcement+json is due")
	if len(p.kept) > 0 {
		t.Errorf("kept %v", p.kept)
	}
}

func TestA3_WhatIsNotOnDiskIsNotAcknowledged(t *testing.T) {
	p := newPi(t)
	p.keep = func() error { return errors.New("no space left on device") }
	_, err := p.announce(t, announcement("pve1", 1), p.node)
	var r *courier.Refusal
	if err == nil || errors.As(err, &r) || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v, want a 503, after which it is sent again", err)
	}
	p.keep = nil
	if _, err := p.announce(t, announcement("pve1", 1), p.node); err != nil {
		t.Errorf("the same again, with room: %v", err)
	}
	if len(p.kept) != 1 {
		t.Errorf("kept %v", p.kept)
	}
}

// TestR2_AFullDisksPathStaysInTheLog: whoever asks on the LAN hears that it is full.
func TestR2_AFullDisksPathStaysInTheLog(t *testing.T) {
	p := newPi(t)
	p.keep = func() error { return errors.New("write /var/lib/sentinel-pi/spool/000000000007.json: no space left") }
	body := seal(t, wire.KindAnnouncement, announcement("pve1", 1), p.node)
	resp, err := p.server.Client().Post(p.server.URL+courier.PathAnnounce, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e courier.ErrorBody
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != 503 || e.Error != "the Pi's disk takes nothing" {
		t.Errorf("answered %d, %+v, %v", resp.StatusCode, e, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Count(p.logged.String(), "000000000007.json: no space left") != 1 {
		t.Errorf("logged %s", p.logged.String())
	}
}

// TestR2_WhatChangesNothingIsCounted, by the reason for it.
func TestR2_WhatChangesNothingIsCounted(t *testing.T) {
	p := newPi(t)
	good := seal(t, wire.KindAnnouncement, announcement("pve1", 1), p.node)
	beat := seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1", 5)}, p.node)
	for _, c := range []struct {
		path   string
		body   []byte
		reason string // empty: it changes something
	}{
		{courier.PathAnnounce, good, ""},
		{courier.PathAnnounce, good, "repeated"},
		{courier.PathHeartbeat, beat, ""},
		{courier.PathHeartbeat, beat, "repeated"},
		{courier.PathHeartbeat, []byte("{}"), "malformed"},
		{courier.PathHeartbeat, seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1", 6)}, newKey(t)), "forged"},
		{courier.PathHeartbeat, seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve9", 6)}, newKey(t)), "unknown"},
		{courier.PathAnnounce, bytes.Repeat([]byte(" "), wire.MaxEnvelope+1), "too-large"},
	} {
		resp, err := p.server.Client().Post(p.server.URL+c.path, "application/json", bytes.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		p.mu.Lock()
		if got := strings.Join(p.refused, " "); got != c.reason {
			t.Errorf("%s, %.60s: counted %q, want %q", c.path, c.body, got, c.reason)
		}
		p.refused = nil
		p.mu.Unlock()
	}
}

func TestA3_AcknowledgedOnlyAfterItIsOnDisk(t *testing.T) {
	p := newPi(t)
	keeping, onDisk := make(chan struct{}), make(chan struct{})
	p.keep = func() error { close(keeping); <-onDisk; return nil }
	answered := make(chan error, 1)
	data := seal(t, wire.KindAnnouncement, announcement("pve1", 1), p.node)
	go func() {
		_, err := p.post(courier.PathAnnounce, header("pve1", 1), data)
		answered <- err
	}()
	<-keeping
	select {
	case err := <-answered:
		t.Errorf("answered (%v) while it was being written", err)
	default:
	}
	close(onDisk)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// raw posts a body as it is, and gives the status and the error's text.
func (p *pi) raw(t testing.TB, path string, body io.Reader) (int, courier.ErrorBody) {
	t.Helper()
	resp, err := http.Post(p.server.URL+path, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	var e courier.ErrorBody
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return resp.StatusCode, e
}

func TestR2_BadInputGetsOneClearError(t *testing.T) {
	p := newPi(t)
	old := header("pve1", 1)
	old.V = 2
	// JSON may be padded without end, and a relay must carry what was kept.
	stranger := seal(t, wire.KindAnnouncement, announcement("new", 1), newKey(t))
	padded := "{" + strings.Repeat(" ", 4<<10) + string(stranger[1:])
	for name, tc := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"empty":               {"", 400, "malformed envelope"},
		"half":                {string(seal(t, wire.KindAnnouncement, announcement("pve1", 1), p.node)[:100]), 400, "malformed envelope"},
		"no envelope":         {`{"node":"pve1"}`, 400, "malformed envelope"},
		"something behind it": {string(seal(t, wire.KindAnnouncement, announcement("pve1", 1), p.node)) + "{}", 400, "something follows"},
		"a newer version":     {string(seal(t, wire.KindAnnouncement, wire.Announcement{Header: old, ID: "x", Kind: wire.Reboot}, p.node)), 400, "version 2 where 1 is understood"},
		"without an id":       {string(seal(t, wire.KindAnnouncement, wire.Announcement{Header: header("pve1", 1), Kind: wire.Reboot}, p.node)), 400, "id: must have"},
		"an unknown kind":     {string(seal(t, wire.KindAnnouncement, wire.Announcement{Header: header("pve1", 1), ID: "x", Kind: "explode"}, p.node)), 400, "is no kind of shutdown"},
		"an unknown field":    {string(seal(t, wire.KindAnnouncement, map[string]any{"v": 1, "node": "pve1", "boot": boot, "seq": 1, "id": "x", "kind": "reboot", "more": 1}, p.node)), 400, "unknown field"},
		"huge":                {strings.Repeat("x", wire.MaxEnvelope+1), 413, "the message is over 98304 bytes"},
		"a padded one":        {padded, 413, "the announcement is over 4096 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			status, e := p.raw(t, courier.PathAnnounce, strings.NewReader(tc.body))
			if status != tc.status || !strings.Contains(e.Error, tc.text) {
				t.Errorf("got %d %+v, want %d %q", status, e, tc.status, tc.text)
			}
		})
	}
	if len(p.kept) > 0 {
		t.Errorf("kept %v", p.kept)
	}
}

func TestR2_ABodyThatDoesNotArriveIsGivenUp(t *testing.T) {
	p := newPi(t)
	for name, hangUp := range map[string]bool{"slow": false, "cut off": true} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", p.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: pi\r\nContent-Length: 1000\r\n\r\n{\"payload\"", courier.PathAnnounce)
			if hangUp {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil || !bytes.Contains(answer, []byte("408 Request Timeout")) || !bytes.Contains(answer, []byte("did not arrive whole")) {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
	if _, err := p.announce(t, announcement("pve1", 1), p.node); err != nil {
		t.Errorf("a good one after them: %v", err)
	}
}

func TestOnlyPostsAreServed(t *testing.T) {
	p := newPi(t)
	for path, want := range map[string]int{courier.PathHeartbeat: 405, courier.PathAnnounce: 405, courier.PathUPS: 404, courier.PathRelay: 404, "/": 404} {
		resp, err := p.server.Client().Get(p.server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s gave %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// FuzzListener: whatever comes, nothing is kept or heard that its sender has not signed.
func FuzzListener(f *testing.F) {
	p := newPi(f)
	f.Add(true, seal(f, wire.KindAnnouncement, announcement("pve1", 1), p.node))
	f.Add(true, seal(f, wire.KindAnnouncement, announcement("new", 1), newKey(f)))
	f.Add(false, seal(f, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1", 7), State: "running"}, p.node))
	f.Add(false, []byte("{}"))
	mux := http.NewServeMux()
	p.Register(mux)
	f.Fuzz(func(t *testing.T, announce bool, body []byte) {
		path, before := courier.PathHeartbeat, maps.Clone(p.known)
		if announce {
			path = courier.PathAnnounce
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
		if w.Code != http.StatusOK {
			return
		}
		e, err := wire.Read(body)
		if err != nil {
			t.Fatalf("taken: %v", err)
		}
		key, known := before[e.Header.Node]
		if !known {
			key = e.Signer
		}
		if err := e.Verify(key); err != nil || !known && !announce {
			t.Errorf("taken from %s, known: %v, %v", e.Header.Node, known, err)
		}
	})
}
