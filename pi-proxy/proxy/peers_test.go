package proxy_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/sim/pvesim"
	"sentinel.home.arpa/shared/wire"
)

// twoPis are two Pis of one site, each with a UPS and a brain of its own to speak to. Their bundle
// names one after the other.
func twoPis(t *testing.T, r *rack, stages ...shutdown.Stage) (one, two *house) {
	t.Helper()
	one, two = newHouse(t), newHouse(t)
	two.cfg.Name, two.lan.Name, two.cfg.UPS[0].Name = "pi2", "pi2", "desk"
	w := one.bundle(r, stages...)
	w.Pis = append(w.Pis, wire.Peer{Name: "pi2", Address: freeAddr(t), Key: two.lan.Key}, // where nobody is
		wire.Peer{Name: "pi2", Address: two.cfg.LAN.Listen, Key: two.lan.Key})
	hash := one.brain.hand(w)
	two.brain.hand(w)
	for _, h := range []*house{one, two} {
		h.start()
	}
	for _, h := range []*house{one, two} {
		h.brain.storedHash(hash)
		eventually(t, h.cfg.Name+" reaches the other", func() bool { return strings.Contains(h.log.String(), "other Pi reached") })
	}
	return one, two
}

// oneStage tells pve1, which has no agent.
func oneStage() shutdown.Stage { return shutdown.Stage{Nodes: []string{"pve1"}, Deadline: time.Minute} }

// outage has the power go out at both, with little time, and says when.
func outage(one, two *house) time.Time {
	for _, h := range []*house{one, two} {
		h.urgent()
		h.ups.Plug(false)
	}
	return time.Now()
}

// turnsPass waits until both would have begun by themselves.
func turnsPass(plug time.Time) { <-time.After(time.Until(plug.Add(24 * time.Second))) }

func TestG6_TheFirstListedActsAlone(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	one, two := twoPis(t, r, oneStage())
	one.silence(true)
	two.silence(true)
	plug := outage(one, two)
	at := r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	within(t, "the first command", at.Sub(plug), 2*time.Second, 6*time.Second)
	turnsPass(plug)
	two.silence(false)
	two.brain.awaitBeats(2)
	if run := two.brain.lastRun(); run != nil || len(r.commands()) != 1 {
		t.Errorf("pi2 ran %+v; told %q", run, r.commands())
	}
	one.silence(false)
	if run := one.brain.awaitRun(shutdown.Advancing, 10*time.Second); run.Epoch.Holder != "pi" {
		t.Errorf("the run is %+v", run)
	}
}

func TestG6_TheNextActsWhereTheFirstIsDead(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	one, two := twoPis(t, r, oneStage())
	one.stop()
	two.silence(true)
	plug := outage(one, two)
	at := r.awaitCommand(nodeShutdown("pve1"), 30*time.Second)
	within(t, "the first command", at.Sub(plug), 16*time.Second, 21*time.Second)
	two.silence(false)
	if run := two.brain.awaitRun(shutdown.Advancing, 10*time.Second); !strings.Contains(run.Reason, "nor a Pi that is listed before this one") {
		t.Errorf("the run is %+v", run)
	}
}

// TestS10_AStopThatOnePiAloneHearsReachesTheOther, which no brain reaches.
func TestS10_AStopThatOnePiAloneHearsReachesTheOther(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	one, two := twoPis(t, r, oneStage())
	stop := shutdown.Epoch{Counter: 7, Holder: "brain"}
	two.silence(true)
	one.brain.set(func() { one.brain.run, one.brain.epoch = shutdown.Stopped, stop })
	plug := outage(one, two)
	one.brain.await("pi heeds the stop", 10*time.Second, func() bool {
		return one.brain.beats[len(one.brain.beats)-1].m.Pi.Heeds == stop
	})
	eventually(t, "pi2 has a reason that it could stop for", func() bool { return time.Since(plug) > 6*time.Second })
	one.stop() // what it has passed on holds without it
	turnsPass(plug)
	if got := r.commands(); len(got) > 0 {
		t.Errorf("told %q", got)
	}
	two.brain.set(func() { two.brain.run, two.brain.epoch, two.brain.away = shutdown.Stopped, stop, false })
	two.brain.await("pi2 confirms the stop", 10*time.Second, func() bool {
		return len(two.brain.beats) > 0 && two.brain.beats[len(two.brain.beats)-1].m.Pi.Heeds == stop
	})
}

// otherPi speaks to the Pi of a house as the other one of its site.
type otherPi struct {
	*node
	url string
}

// withOther starts a house whose bundle names another Pi, of which nothing is heard by itself.
func withOther(t *testing.T) (*proxy.Proxy, *house, *otherPi) {
	t.Helper()
	h := newHouse(t)
	o := &otherPi{h.node("pi2"), "http://" + h.cfg.LAN.Listen + courier.PathPi}
	w := h.bundle(newRack(t, pvesim.NodeConfig{Name: "pve1"}), oneStage())
	w.Pis = append(w.Pis, wire.Peer{Name: "pi2", Key: o.key.PublicKey()})
	hash := h.brain.hand(w)
	var p *proxy.Proxy
	h.startWith(func(made *proxy.Proxy) error { p = made; return nil })
	h.brain.storedHash(hash)
	return p, h, o
}

// report is a word with a UPS on battery.
func (o *otherPi) report(to wire.Header) wire.PiReport {
	h := o.header()
	h.Site = "home"
	charge := 0.5
	return wire.PiReport{Header: h, To: "pi", ToBoot: to.Boot, ToSeq: to.Seq, Run: wire.PiRun{State: shutdown.None},
		UPSes: []wire.PiUPS{{Name: "desk", Reading: power.Reading{Supply: power.Battery, For: 5, Status: power.Status{Charge: &charge}}}}}
}

func (o *otherPi) say(m wire.PiReport) (*wire.Answer, error) {
	return o.post(courier.PathPi, wire.KindPi, m.Header, m)
}

// greet asks for a word of the Pi.
func (o *otherPi) greet(t *testing.T) wire.Header {
	t.Helper()
	a, err := o.say(o.report(wire.Header{}))
	if err != nil || len(a.Taken) > 0 {
		t.Fatalf("a greeting was answered %+v, %v", a, err)
	}
	return a.Header
}

func TestG6_AReadingIsHeardAndForgotten(t *testing.T) {
	t.Parallel()
	p, _, o := withOther(t)
	a, err := o.say(o.report(o.greet(t)))
	if err != nil || !slices.Equal(a.Taken, []int{0}) {
		t.Fatalf("answered %+v, %v", a, err)
	}
	said := time.Now()
	r, ok := p.Elsewhere()["desk"]
	if !ok || r.Supply != power.Battery || r.Charge == nil || *r.Charge != 0.5 || r.LostFor != nil {
		t.Fatalf("it is %+v", r)
	}
	within(t, "on battery", r.For.Duration(), 5*time.Second, 6*time.Second)
	eventually(t, "it is no longer known", func() bool { return len(p.Elsewhere()) == 0 })
	within(t, "it was known", time.Since(said), 9*time.Second, 12*time.Second)
}

// TestA7_WordsOfAnotherPi that are forged, repeated, old, of another site or for another Pi change
// nothing and are counted.
func TestA7_WordsOfAnotherPi(t *testing.T) {
	t.Parallel()
	p, h, o := withOther(t)
	stranger, thief := h.node("pi3"), &otherPi{h.node("pi2"), o.url}
	word := o.greet(t)
	taken, err := o.say(o.report(word))
	if err != nil || len(taken.Taken) != 1 {
		t.Fatalf("answered %+v, %v", taken, err)
	}
	fresh := func(change func(m *wire.PiReport)) wire.PiReport {
		m := o.report(word)
		m.UPSes[0].Name = "other"
		change(&m)
		return m
	}
	before := h.refused(t)
	for name, c := range map[string]struct {
		by     *node
		m      wire.PiReport
		status int // 0: it is answered, and not taken
		reason string
	}{
		"another's key":                        {thief.node, fresh(func(*wire.PiReport) {}), 403, "forged"},
		"a Pi of nowhere":                      {stranger, fresh(func(m *wire.PiReport) { m.Node = "pi3" }), 403, "unknown"},
		"the Pi itself":                        {stranger, fresh(func(m *wire.PiReport) { m.Node, m.To = "pi", "pi2" }), 403, "unknown"},
		"for another Pi":                       {o.node, fresh(func(m *wire.PiReport) { m.To = "pi3" }), 403, "forbidden"},
		"of another site":                      {o.node, fresh(func(m *wire.PiReport) { m.Site = "office" }), 403, "forbidden"},
		"said again":                           {o.node, fresh(func(m *wire.PiReport) { m.Seq = 1 }), 0, "repeated"},
		"naming an older word":                 {o.node, fresh(func(m *wire.PiReport) { m.ToSeq -= 11_000_000 }), 0, "stale"},
		"naming a word of before the start":    {o.node, fresh(func(m *wire.PiReport) { m.ToSeq = 1 }), 0, "stale"},
		"naming a word that is yet to be said": {o.node, fresh(func(m *wire.PiReport) { m.ToSeq += 3_600_000_000 }), 0, "stale"},
		"naming a word of another boot":        {o.node, fresh(func(m *wire.PiReport) { m.ToBoot = strings.Repeat("0", 32) }), 0, "stale"},
		"a run that is none":                   {o.node, fresh(func(m *wire.PiReport) { m.Run.State = "runs" }), 400, "malformed"},
		"a charge of 250 %":                    {o.node, fresh(func(m *wire.PiReport) { m.UPSes[0].Reading.Charge = ptr(2.5) }), 400, "malformed"},
		"too long":                             {o.node, fresh(func(m *wire.PiReport) { m.Run.ID = strings.Repeat("x", wire.MaxPiReport) }), 413, "too-large"},
	} {
		if name == "said again" {
			c.m.ToBoot, c.m.ToSeq = word.Boot, word.Seq
		}
		a, err := c.by.post(courier.PathPi, wire.KindPi, c.m.Header, c.m)
		var no *courier.Refusal
		switch {
		case c.status == 0 && (err != nil || len(a.Taken) > 0):
			t.Errorf("%s: answered %+v, %v", name, a, err)
		case c.status != 0 && (!errors.As(err, &no) || no.Status != c.status):
			t.Errorf("%s: answered %v, want %d", name, err, c.status)
		}
		after := h.refused(t)
		if after[c.reason] != before[c.reason]+1 {
			t.Errorf("%s: %v were refused, and before %v", name, after, before)
		}
		before = after
	}
	if _, ok := p.Elsewhere()["other"]; ok {
		t.Error("one of them was taken")
	}
}

// TestR2_ASlowWordOfAnotherPiDelaysNothing: neither what others say, nor the Pi's own words.
func TestR2_ASlowWordOfAnotherPiDelaysNothing(t *testing.T) {
	t.Parallel()
	p, h, o := withOther(t)
	conn, err := net.Dial("tcp", h.cfg.LAN.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST "+courier.PathPi+" HTTP/1.1\r\nHost: pi\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.say(o.report(o.greet(t))); err != nil || len(p.Elsewhere()) != 1 {
		t.Errorf("beside it: %v", err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	said, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(said), "HTTP/1.1 408") {
		t.Errorf("it was told %q", said)
	}
}

// TestG6_AHangingPiDelaysNobody: the house goes down as ever.
func TestG6_AHangingPiDelaysNobody(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	h := newHouse(t)
	w := h.bundle(r, oneStage())
	ln, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	w.Pis = append(w.Pis, wire.Peer{Name: "pi2", Address: ln.Addr().String(), Key: h.node("pi2").key.PublicKey()})
	h.brain.storedHash(h.begin(w))
	eventually(t, "pi2 is not reached", func() bool { return strings.Contains(h.log.String(), "other Pi not reached") })
	h.urgent()
	h.silence(true)
	plug := time.Now()
	h.ups.Plug(false)
	at := r.awaitCommand(nodeShutdown("pve1"), 15*time.Second)
	within(t, "the first command", at.Sub(plug), 2*time.Second, 6*time.Second)
	if n := strings.Count(h.log.String(), "other Pi not reached"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// refused are the Pi's counts of what changed nothing, by their reasons.
func (h *house) refused(t *testing.T) map[string]int {
	t.Helper()
	resp, err := overSocket(h.cfg.ControlSocket).Get("http://pi/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		reason, n, ok := strings.Cut(strings.TrimPrefix(line, `sentinel_messages_refused_total{reason="`), `"} `)
		if ok {
			counts[reason] = int(n[0] - '0')
		}
	}
	return counts
}

func ptr[T any](v T) *T { return &v }

// TestG1_TheBrainsWordIsPassedOn to a Pi that no brain reaches: it does not begin while that advances.
func TestG1_TheBrainsWordIsPassedOn(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	one, two := twoPis(t, r, oneStage())
	two.silence(true)
	one.brain.set(func() {
		one.brain.run, one.brain.epoch = shutdown.Advancing, shutdown.Epoch{Counter: 7, Holder: "brain"}
	})
	plug := outage(one, two)
	turnsPass(plug)
	if got := r.commands(); len(got) > 0 {
		t.Errorf("told %q", got)
	}
}

// TestG6_WhenAPiSpeaks to another: each 5 s, each second on battery, and at once on a change. Each word
// names the newest of the other's.
func TestG6_WhenAPiSpeaks(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.node("pi2")
	heard := make(chan arrival[wire.PiReport], 100)
	var last atomic.Int64 // the seq of the newest answer
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+courier.PathPi, func(w http.ResponseWriter, r *http.Request) {
		var m wire.PiReport
		e, _, err := courier.Receive(w, r)
		if err == nil {
			err = courier.Decode(e, h.lan.Key, wire.KindPi, &m)
		}
		if err != nil || m.To != "pi2" || m.Site != "home" || m.ToSeq != last.Load() {
			t.Errorf("%v: %+v, and the last answer was %d", err, m, last.Load())
		}
		a := wire.Answer{Header: o.header(), To: m.Node, ToBoot: m.Boot, ToSeq: m.Seq}
		if m.ToSeq > 0 {
			a.Taken = []int{0}
		}
		last.Store(a.Seq)
		heard <- arrival[wire.PiReport]{time.Now(), m}
		if err := courier.Reply(w, a, o.key); err != nil {
			t.Log(err)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	w := h.bundle(newRack(t, pvesim.NodeConfig{Name: "pve1"}), oneStage())
	w.Pis = append(w.Pis, wire.Peer{Name: "pi2", Address: server.Listener.Addr().String(), Key: o.key.PublicKey()})
	begun := time.Now()
	h.brain.storedHash(h.begin(w))
	next := func(what string, low, high time.Duration, since time.Time) arrival[wire.PiReport] {
		t.Helper()
		select {
		case a := <-heard:
			within(t, what, a.at.Sub(since), low, high)
			return a
		case <-time.After(10 * time.Second):
			t.Fatalf("nothing comes: %s", what)
			return arrival[wire.PiReport]{}
		}
	}
	known := func(a arrival[wire.PiReport]) bool {
		return len(a.m.UPSes) == 1 && a.m.UPSes[0].Reading.Supply == power.Mains
	}
	a := next("the first", 0, 10*time.Second, begun)
	for !known(a) || a.m.ToSeq == 0 {
		a = next("until the UPS is known", 0, 6*time.Second, a.at)
	}
	for drained := false; !drained; { // what changed at the start
		select {
		case a = <-heard:
		case <-time.After(2 * time.Second):
			drained = true
		}
	}
	a = next("on mains", 4*time.Second, 7*time.Second, a.at)
	if !known(a) || a.m.UPSes[0].Name != "rack" || a.m.Run.State != shutdown.None {
		t.Errorf("it says %+v", a.m)
	}
	plug := time.Now()
	h.ups.Plug(false)
	a = next("from the plug, with the poll of each second", 0, 3*time.Second, plug)
	if r := a.m.UPSes[0].Reading; r.Supply != power.Battery {
		t.Errorf("it says %+v", r)
	}
	for range 3 {
		a = next("on battery", 0, 2500*time.Millisecond, a.at)
	}
}

// TestU5_ThePiOfAnOutageDies: the other stands in for it, and lets the brain through for that UPS from its first
// word on, though its own has mains.
func TestU5_ThePiOfAnOutageDies(t *testing.T) {
	t.Parallel()
	r := newRack(t, pvesim.NodeConfig{Name: "pve1"})
	one, two := twoPis(t, r, oneStage())
	u, err := url.Parse(r.URL("pve1"))
	if err != nil {
		t.Fatal(err)
	}
	through := func() error {
		header, err := courier.SignConnect(wire.Connect{Header: one.brain.header(), Pi: "pi", Addr: u.Host}, one.brain.key)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := courier.Through((&net.Dialer{}).DialContext, one.cfg.LAN.Listen, courier.ToShutDown, func(string) (string, error) { return header, nil })(t.Context(), "tcp", u.Host)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if err := through(); err == nil {
		t.Error("the brain is let through on mains")
	}
	one.silence(true)
	two.silence(true)
	two.ups.Plug(false)
	eventually(t, "the brain is let through", func() bool { return through() == nil })
	eventually(t, "it lasts for long enough to be no blip", func() bool { return strings.Contains(two.log.String(), "event=on_battery") })
	<-time.After(4 * time.Second)
	two.stop()
	died := time.Now()
	at := r.awaitCommand(nodeShutdown("pve1"), 50*time.Second)
	within(t, "the first command", at.Sub(died), 36*time.Second, 43*time.Second)
	if err := through(); err != nil && !errors.Is(err, courier.ErrTargetClosed) && !strings.Contains(err.Error(), "it answered 503") { // it may be down by now, or go down
		t.Errorf("nor is the brain let through any more: %v", err)
	}
}
