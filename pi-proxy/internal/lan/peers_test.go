package lan_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

// pis is a Pi of the name pi that hears pi2, 100 s after its boot; its process began at 60 s.
type pis struct {
	lan.Peers
	t      testing.TB
	now    time.Duration
	said   []wire.PiReport
	lags   []time.Duration
	counts map[string]int
	other  wire.Key
	mux    *http.ServeMux
}

func newPis(t testing.TB) *pis {
	p := &pis{t: t, now: 100 * time.Second, counts: map[string]int{}, other: newKey(t), mux: http.NewServeMux()}
	p.Peers = lan.Peers{Log: slog.New(slog.DiscardHandler), Key: newKey(t), SinceBoot: func() time.Duration { return p.now }, Since: time.Minute,
		Self: func() wire.Header {
			return wire.Header{V: wire.Version, Site: "home", Node: "pi", Boot: boot, Seq: p.now.Microseconds()}
		},
		KeyOf: func(pi string) (wire.PublicKey, bool) { return p.other.PublicKey(), pi == "pi2" },
		Said: func(_ context.Context, m *wire.PiReport, lag time.Duration) {
			p.said, p.lags = append(p.said, *m), append(p.lags, lag)
		},
		Refused: func(reason string) { p.counts[reason]++ }}
	p.Register(p.mux)
	return p
}

// word is one of pi2 that was made at a moment of its own clock, and names a word of the Pi's.
func (p *pis) word(made, named time.Duration) []byte {
	h := wire.Header{V: wire.Version, Site: "home", Node: "pi2", Boot: boot2, Seq: made.Microseconds()}
	data, err := wire.Seal(wire.KindPi, wire.PiReport{Header: h, To: "pi", ToBoot: boot, ToSeq: named.Microseconds(), Run: wire.PiRun{State: shutdown.None}}, p.other)
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

func (p *pis) post(data []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, courier.PathPi, bytes.NewReader(data)))
	return w
}

// TestG6_AWordThatNamesNoneOfLateIsNotTaken: what is named must be of this process, and of the last 10 s.
func TestG6_AWordThatNamesNoneOfLateIsNotTaken(t *testing.T) {
	for named, taken := range map[time.Duration]bool{
		100 * time.Second: true, 90 * time.Second: true, 90*time.Second - time.Microsecond: false, 100*time.Second + time.Microsecond: false, time.Microsecond: false,
	} {
		p := newPis(t)
		if w := p.post(p.word(7*time.Second, named)); w.Code != http.StatusOK || (len(p.said) == 1) != taken || (p.counts["stale"] == 0) != taken {
			t.Errorf("naming one of %v: %d, %+v taken, %v counted", named, w.Code, p.said, p.counts)
		}
	}
	p := newPis(t)
	p.now = 62 * time.Second
	p.post(p.word(7*time.Second, 59*time.Second))
	if len(p.said) > 0 || p.counts["stale"] != 1 {
		t.Errorf("naming one of the process before: %v counted", p.counts)
	}
}

// TestG6_AWordThatWaitedIsAsOldAsThat.
func TestG6_AWordThatWaitedIsAsOldAsThat(t *testing.T) {
	p := newPis(t)
	p.post(p.word(7*time.Second, p.now))
	p.now += 4 * time.Second
	p.post(p.word(8*time.Second, 100*time.Second)) // it was on its way for 3 s
	p.post(p.word(8*time.Second, 100*time.Second))
	p.post(p.word(7500*time.Millisecond, 100*time.Second)) // overtaken
	if len(p.lags) != 2 || p.lags[0] != 0 || p.lags[1] != 3*time.Second || p.counts["repeated"] != 2 {
		t.Errorf("lags %v, %v counted", p.lags, p.counts)
	}
}

// FuzzPeers: whatever a stranger posts, nothing is taken, and it is told so.
func FuzzPeers(f *testing.F) {
	p := newPis(f)
	f.Add([]byte(`{}`))
	f.Add(p.word(7*time.Second, p.now)[1:])
	f.Add(bytes.Replace(p.word(7*time.Second, p.now), []byte(`"sig":"`), []byte(`"sig":"A`), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		if w := p.post(data); w.Code < 400 || w.Code >= 500 || len(p.said) > 0 {
			t.Errorf("answered %d, taken %+v", w.Code, p.said)
		}
	})
}
