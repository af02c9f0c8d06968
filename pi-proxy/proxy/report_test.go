package proxy_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/proxy"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/wire"
)

func TestU1_ReportsEachFiveSecondsOnMainsAndEachSecondOnBattery(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	b.await("the first report", 3*time.Second, func() bool { return len(b.reports) > 0 })
	b.await("the next one", 7*time.Second, func() bool { return len(b.reports) > 1 })
	_, reports := b.seen()
	within(t, "between two reports on mains", reports[1].at.Sub(reports[0].at), 4*time.Second, 5500*time.Millisecond)
	if first := reports[0].m; first.UPS != "rack" || first.Node != "pi" || first.Reading.Supply != power.Mains || !first.Changed || reports[1].m.Changed {
		t.Errorf("the first report is %+v", first)
	}

	n := len(reports)
	plug := time.Now()
	h.ups.Plug(false)
	b.await("reports on battery", 8*time.Second, func() bool { return len(b.reports) >= n+5 })
	_, reports = b.seen()
	battery := reports[n : n+5]
	within(t, "from the plug to the first report", battery[0].at.Sub(plug), 0, 1500*time.Millisecond)
	if m := battery[0].m; m.Reading.Supply != power.Battery || !m.Changed {
		t.Errorf("the first on battery is %+v", m)
	}
	within(t, "four more reports", battery[4].at.Sub(battery[0].at), 2500*time.Millisecond, 4800*time.Millisecond)
	within(t, "the time on battery that is told", battery[4].m.Reading.For.Duration(), 2*time.Second, 6*time.Second)

	plug = time.Now()
	h.ups.Plug(true)
	b.await("mains again", 4*time.Second, func() bool { return b.reports[len(b.reports)-1].m.Reading.Supply == power.Mains })
	_, reports = b.seen()
	last := reports[len(reports)-1]
	within(t, "from the plug to that report", last.at.Sub(plug), 0, 1500*time.Millisecond)
	if !last.m.Changed {
		t.Error("it is no change")
	}
}

func TestU1_AnEventOfApcupsdDoesNotWaitForAPoll(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.cfg.UPS[0].Poll = config.Duration(time.Minute)
	h.start()
	b.await("the first report", 3*time.Second, func() bool { return len(b.reports) > 0 })
	plug := time.Now()
	h.ups.Plug(false)
	if err := proxy.TellEvent(h.cfg.ControlSocket, "onbattery"); err != nil {
		t.Fatal(err)
	}
	onBattery := func(r arrival[wire.UPSReport]) bool { return r.m.Reading.Supply == power.Battery && r.m.Changed }
	b.await("the change", 3*time.Second, func() bool { return slices.ContainsFunc(b.reports, onBattery) })
	_, reports := b.seen()
	within(t, "from the event to the report", reports[slices.IndexFunc(reports, onBattery)].at.Sub(plug), 0, time.Second)
}

func TestU1_AChangeThatNobodyTookIsToldAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	b.await("the first report", 3*time.Second, func() bool { return len(b.reports) > 0 })
	var n int
	b.set(func() { b.away, n = true, len(b.reports) })
	h.ups.Plug(false)
	eventually(t, "the Pi sees it", func() bool { return strings.Contains(h.log.String(), "supply=battery") })
	h.ups.Plug(true)
	eventually(t, "the Pi sees that it is over", func() bool { return strings.Count(h.log.String(), "supply=mains") == 2 })
	back := time.Now()
	b.set(func() { b.away = false })
	// One that was being sent as the mains came back may still say battery.
	changed := func(r arrival[wire.UPSReport]) bool { return r.m.Changed && r.m.Reading.Supply == power.Mains }
	b.await("the change", 7*time.Second, func() bool { return slices.ContainsFunc(b.reports[n:], changed) })
	_, reports := b.seen()
	within(t, "once the brain is back", reports[n+slices.IndexFunc(reports[n:], changed)].at.Sub(back), 0, 2500*time.Millisecond)
}

func TestU5_ASilentApcupsdIsReported(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	h.start()
	b.await("the first report", 3*time.Second, func() bool { return len(b.reports) > 0 })
	if err := h.ups.Daemon(false); err != nil {
		t.Fatal(err)
	}
	b.await("that contact is lost", 4*time.Second, func() bool {
		last := b.reports[len(b.reports)-1].m
		return last.Reading.LostFor != nil && last.Reading.Supply == power.Mains && last.Changed
	})
}

func TestH10_TheHeartbeatTellsWhomThePiHears(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	n := h.node("pve1")
	w := wire.Bundle{Site: "home", TokenSecret: "/nonexistent/secret", Keys: map[string]wire.PublicKey{"pve1": n.key.PublicKey()},
		Pis: []wire.Peer{{Name: "pi", Address: h.cfg.LAN.Listen, Key: h.lan.Key}}}
	hash, err := w.Hash()
	if err != nil {
		t.Fatal(err)
	}
	h.start()
	b.await("heartbeats", 10*time.Second, func() bool { return len(b.beats) >= 4 })
	beats, _ := b.seen()
	within(t, "three heartbeats", beats[3].at.Sub(beats[0].at), 2500*time.Millisecond, 3700*time.Millisecond)
	first := beats[0].m
	if first.Node != "pi" || first.Site != "home" || first.Pi.Bundle != "" || first.Pi.Run != nil || !slices.Equal(first.Pi.Addresses, []string{h.cfg.LAN.Listen}) {
		t.Errorf("the first heartbeat is %+v %+v", first.Header, first.Pi)
	}
	for i := range 3 {
		if beats[i].m.Seq >= beats[i+1].m.Seq {
			t.Error("seq does not rise")
		}
	}
	if _, err := n.beat(); err == nil {
		t.Error("a node that the brain has not told of is heard")
	}

	b.hand(w)
	b.storedHash(hash)
	a, err := n.beat()
	if err != nil {
		t.Fatal(err)
	}
	if a.BrainKey != b.key.PublicKey() || len(a.Pis) != 1 || a.Pis[0].Name != "pi" {
		t.Errorf("the node was told %+v", a)
	}
	b.await("that pve1 is heard", 3*time.Second, func() bool {
		heard := b.beats[len(b.beats)-1].m.Pi.Heard
		return len(heard) == 1 && heard[0].Node == "pve1" && heard[0].State == "running" && heard[0].AgeMS < 2000
	})
	beats, _ = b.seen()
	if lacks := beats[len(beats)-1].m.Pi.Lacks; !slices.Equal(lacks, []string{"/nonexistent/secret"}) {
		t.Errorf("it lacks %q", lacks)
	}

	h.stop()
	beats, _ = b.seen()
	before := len(beats)
	h.start()
	b.awaitBeats(1)
	beats, _ = b.seen()
	if got := beats[before].m.Pi.Bundle; got != hash {
		t.Errorf("after the restart it names %q", got)
	}
	if _, err := n.beat(); err != nil {
		t.Errorf("after the restart pve1 is not known: %v", err)
	}
}

func ids(as []arrival[wire.Announcement]) (all []string) {
	for _, a := range as {
		all = append(all, a.m.ID)
	}
	return all
}

func TestA3_AnnouncementsReachTheBrainOnceAndInOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	n := h.node("pve1") // not known here, perhaps at the brain
	b.set(func() { b.away = true })
	h.start()
	eventually(t, "the Pi listens", func() bool { _, err := n.beat(); var r *courier.Refusal; return errors.As(err, &r) })
	n.announce("one")
	n.announce("two")
	h.restart()
	eventually(t, "the Pi listens again", func() bool { _, err := n.beat(); var r *courier.Refusal; return errors.As(err, &r) })
	n.announce("three")
	b.set(func() {
		if b.away = false; len(b.announced) > 0 {
			t.Errorf("an absent brain was told %q", ids(b.announced))
		}
	})
	b.await("all three", 8*time.Second, func() bool { return len(b.announced) >= 3 })
	told := time.Now()
	n.announce("four")
	b.await("the fourth", 5*time.Second, func() bool { return len(b.announced) >= 4 })
	within(t, "the fourth, with the brain there", time.Since(told), 0, 1500*time.Millisecond)
	eventually(t, "the Pi knows that the brain has it", func() bool { return strings.Count(h.log.String(), "msg=relayed") == 2 })
	h.restart()
	b.awaitBeats(4) // time for more to come
	h.stop()
	if got := ids(b.announced); !slices.Equal(got, []string{"one", "two", "three", "four"}) {
		t.Errorf("the brain got %q", got)
	}
	for i, age := range b.ages {
		within(t, b.announced[i].m.ID+"'s age", age, 0, 20*time.Second)
	}
	if b.ages[0] < b.ages[2] || b.ages[0] == 0 {
		t.Errorf("the ages are %v", b.ages)
	}
}

func TestS10_ABundleIsNamedOnceItIsOnDisk(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.brain
	file := filepath.Join(h.cfg.StateDir, "bundle.json")
	var second string
	b.set(func() {
		b.named = func(hash string) {
			text, err := os.ReadFile(file)
			overtaken := hash != second && second != "" && strings.Contains(string(text), second) // a report that was under way
			if err != nil || !strings.Contains(string(text), hash) && !overtaken {
				t.Errorf("bundle %s is named before it is on disk: %.80q, %v", hash, text, err)
			}
		}
	})
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	first := b.hand(wire.Bundle{Site: "home", Armed: true, Keys: map[string]wire.PublicKey{}})
	h.start()
	eventually(t, "it says so", func() bool { return strings.Contains(h.log.String(), "bundle not stored") })
	b.awaitBeats(4) // in which it is tried again, and said no more
	if n := strings.Count(h.log.String(), "bundle not stored"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	b.storedHash(first)

	// One whose hash is another one is not taken.
	b.set(func() { b.bundle, b.hash = &wire.Bundle{Site: "away"}, "0123456789abcdef0123456789abcdef" })
	eventually(t, "it is refused", func() bool { return strings.Contains(h.log.String(), "bundle refused") })
	last := wire.Bundle{Site: "home", Armed: false, Keys: map[string]wire.PublicKey{}}
	hash, err := last.Hash()
	if err != nil {
		t.Fatal(err)
	}
	b.set(func() { second = hash })
	b.hand(last)
	b.storedHash(second)
	beats, _ := b.seen()
	for _, beat := range beats {
		if got := beat.m.Pi.Bundle; got != "" && got != first && got != second {
			t.Errorf("it named %s", got)
		}
	}
}

func TestALargeRunFitsIntoAHeartbeat(t *testing.T) {
	t.Parallel()
	guests := make([]shutdown.Outcome, 300)
	for i := range guests {
		guests[i] = shutdown.Outcome{Kind: shutdown.Guest, Name: strings.Repeat("n", 40), State: "pending", Why: strings.Repeat("because ", 60)}
	}
	heard := make([]wire.Heard, 250)
	for i := range heard {
		heard[i] = wire.Heard{Node: strings.Repeat("n", 20), Boot: brainBoot, Seq: 1 << 50, State: "running"}
	}
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	owed := make([]shutdown.Target, 400)
	for i := range owed {
		owed[i] = shutdown.Target{Kind: shutdown.Guest, Type: "qemu", Node: strings.Repeat("n", 20), VMID: 100000 + i, Name: strings.Repeat("n", 40)}
	}
	run := proxy.Brief(&shutdown.Status{Targets: guests, Owed: proxy.OwedSaid(owed)})
	m := wire.Heartbeat{Header: wire.Header{V: wire.Version, Node: "pi", Boot: brainBoot, Seq: 1}, Pi: &wire.PiStatus{Heard: heard, Run: run}}
	if err := m.Validate(); err != nil || len(run.Owed) != wire.MaxOwed {
		t.Errorf("%d owed, %v", len(run.Owed), err)
	}
	if named := proxy.OwedSaid(owed[:1]); !strings.HasSuffix(named[0], "/100000/"+owed[0].Name) {
		t.Errorf("a few are named %q", named)
	}
	if _, err := wire.Seal(wire.KindHeartbeat, m, key); err != nil {
		t.Error(err)
	}
	few := proxy.Brief(&shutdown.Status{Targets: []shutdown.Outcome{{Why: strings.Repeat("x", 500)}, {Why: "short"}}})
	if a, b := few.Targets[0].Why, few.Targets[1].Why; len(a) != 80 || b != "short" {
		t.Errorf("reasons are %q, %q", a, b)
	}
}

func TestControlSocketServesHealth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	client := overSocket(h.cfg.ControlSocket)
	defer client.CloseIdleConnections()
	eventually(t, "it is healthy", func() bool {
		resp, err := client.Get("http://pi/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// TestH7_AStrangerAtTheDoorIsToldToTheBrain, which may let it in; once for all its heartbeats of a minute.
func TestH7_AStrangerAtTheDoorIsToldToTheBrain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	n := h.node("nas")
	for range 3 {
		if _, err := n.beat(); err == nil {
			t.Error("it is known")
		}
	}
	h.brain.await("it asks", 5*time.Second, func() bool { return len(h.brain.askedAbout) > 0 })
	h.brain.awaitBeats(3)
	h.stop()
	if got := h.brain.askedAbout; !slices.Equal(got, []string{"nas"}) {
		t.Errorf("it asked about %q", got)
	}
}

// TestA2_QuestionsAboutStrangersHoldNoAnnouncementUp, though anybody may have them asked, and a brain may be slow.
func TestA2_QuestionsAboutStrangersHoldNoAnnouncementUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	release := make(chan struct{})
	defer close(release)
	h.brain.set(func() { h.brain.stuck = release })
	for _, name := range []string{"a", "b", "c"} {
		if _, err := h.node(name).beat(); err == nil {
			t.Error("it is known")
		}
	}
	h.brain.await("it asks", 5*time.Second, func() bool { return len(h.brain.askedAbout) > 0 })
	told := time.Now()
	h.node("nas").announce("one")
	h.brain.await("the announcement", 10*time.Second, func() bool { return len(h.brain.announced) > 0 })
	within(t, "the announcement, beside a question that is not answered", time.Since(told), 0, 2*time.Second)
}

// TestR6_MetricsOfThePi are served to the operator, and to nobody on the LAN.
func TestR6_MetricsOfThePi(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	n := h.node("pve1")
	eventually(t, "a stranger's heartbeat is refused", func() bool { _, err := n.beat(); var r *courier.Refusal; return errors.As(err, &r) })
	client := overSocket(h.cfg.ControlSocket)
	defer client.CloseIdleConnections()
	eventually(t, "it is counted", func() bool {
		status, text := get(t, client, "http://pi/metrics")
		return status == http.StatusOK && strings.Contains(text, `sentinel_messages_refused_total{reason="unknown"} 1`)
	})
	if status, text := get(t, http.DefaultClient, h.lan.URL+"/metrics"); status != http.StatusNotFound || !strings.Contains(text, `"hint"`) {
		t.Errorf("the LAN is answered %d: %.200s", status, text)
	}
}

// TestR2_ThePiTellsErrorsInJSON, on its LAN and its control socket.
func TestR2_ThePiTellsErrorsInJSON(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	client := overSocket(h.cfg.ControlSocket)
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		client *http.Client
		url    string
		status int
	}{
		{http.DefaultClient, h.lan.URL + courier.PathAnnounce, http.StatusMethodNotAllowed},
		{http.DefaultClient, h.lan.URL + "/wp-login.php", http.StatusNotFound},
		{client, "http://pi/event/onbattery", http.StatusMethodNotAllowed},
		{client, "http://pi/", http.StatusNotFound},
	} {
		eventually(t, c.url+" is answered in JSON", func() bool {
			status, text := get(t, c.client, c.url)
			var body courier.ErrorBody
			return status == c.status && json.Unmarshal([]byte(text), &body) == nil && body.Error != ""
		})
	}
}

// get asks once; 0 is no answer.
func get(t *testing.T, client *http.Client, url string) (status int, text string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	defer client.CloseIdleConnections()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(data)
}

// TestA3_WhatCannotBeSentHoldsUpNothing: neither what lies on disk from before, nor what
// the spool has taken in spite of its limit.
func TestA3_WhatCannotBeSentHoldsUpNothing(t *testing.T) {
	t.Parallel()
	for name, widen := range map[string]bool{"from before": false, "taken": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			file := filepath.Join(h.cfg.StateDir, "spool", "000000000007.json")
			lay := func() error {
				data, err := json.Marshal(map[string]any{"boot": "x", "wall": time.Now(), "envelope": make([]byte, 60<<10)})
				return errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600))
			}
			if err := lay(); err != nil {
				t.Fatal(err)
			}
			h.startWith(func(p *proxy.Proxy) error {
				if !widen {
					return nil
				}
				return errors.Join(os.Remove(file+".broken"), lay(), p.WidenSpool(64<<10))
			})
			n := h.node("pve1")
			eventually(t, "the Pi listens", func() bool { _, err := n.beat(); var r *courier.Refusal; return errors.As(err, &r) })
			n.announce("one")
			h.brain.await("the announcement", 10*time.Second, func() bool { return slices.Contains(ids(h.brain.announced), "one") })
			if _, err := os.Stat(file + ".broken"); err != nil {
				t.Errorf("it is lost: %v", err)
			}
		})
	}
}

func TestTellEventWithoutAPi(t *testing.T) {
	t.Parallel()
	began := time.Now()
	err := proxy.TellEvent(filepath.Join(t.TempDir(), "none.sock"), "onbattery")
	if err == nil || !strings.Contains(err.Error(), "tell the Pi of onbattery; does it run?") {
		t.Errorf("got %v", err)
	}
	within(t, "apcupsd's script is held up", time.Since(began), 0, time.Second)
}

func TestAnEventOfAnOddNameIsSurvived(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	eventually(t, "it runs", func() bool { return proxy.TellEvent(h.cfg.ControlSocket, "onbattery") == nil })
	for _, name := range []string{"", ".", "../../etc", "a b\nc", strings.Repeat("x", 1000)} {
		_ = proxy.TellEvent(h.cfg.ControlSocket, name)
	}
	if err := proxy.TellEvent(h.cfg.ControlSocket, "mainsback"); err != nil {
		t.Error(err)
	}
}

func TestAPortThatIsTakenIsSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.cfg.LAN.Listen = h.brain.addr
	p, err := proxy.New(h.cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on the LAN") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutAControlSocketThePiWorksAllTheSame(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.cfg.ControlSocket = filepath.Join(h.cfg.StateDir, "key", "control.sock") // a file is in the way
	h.start()
	h.brain.await("a heartbeat", 5*time.Second, func() bool { return len(h.brain.beats) > 0 })
}
