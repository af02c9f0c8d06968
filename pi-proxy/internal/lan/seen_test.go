package lan_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/lan"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// restarted is the same Pi's next process, with what was on disk.
func (p *pi) restarted(t *testing.T, s lan.Seen) *pi {
	t.Helper()
	next := newPi(t)
	next.key, next.Key, next.node, next.known = p.key, p.Key, p.node, p.known
	next.now = p.now
	next.SinceBoot = p.SinceBoot
	next.Now = p.Now
	next.Restore(s)
	return next
}

func (p *pi) beats(t *testing.T, data []byte, h wire.Header) {
	t.Helper()
	if _, err := p.post(courier.PathHeartbeat, h, data); err != nil {
		t.Error(err)
	}
}

func TestH10_AHeartbeatThatWaitedIsHeardAsOfThen(t *testing.T) {
	p := newPi(t)
	const second = int64(1_000_000)
	for s := range int64(3) {
		if _, err := p.beat(t, header("pve1", 1+s*second), "running", p.node); err != nil {
			t.Fatal(err)
		}
		p.later(time.Second)
	}
	p.later(9 * time.Second) // the link was stuck; what was sent at 3 s arrives at 12 s
	if _, err := p.beat(t, header("pve1", 1+3*second), "running", p.node); err != nil {
		t.Fatal(err)
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1 + 3*second, State: "running", AgeMS: 9000})
	if d := p.SilentFor("pve1"); d == nil || *d != 9*time.Second {
		t.Errorf("silent for %v, want 9 s", d)
	}
	if _, err := p.beat(t, header("pve1", 1+12*second), "running", p.node); err != nil {
		t.Fatal(err)
	}
	p.hears(t, wire.Heard{Node: "pve1", Boot: boot, Seq: 1 + 12*second, State: "running"})
	if p.boots != 1 {
		t.Errorf("told of %d boots", p.boots)
	}
}

// A heartbeat that was captured before the Pi's restart makes no dead node live.
func TestA7_AHeartbeatFromBeforeARestartIsNoSignOfLife(t *testing.T) {
	p := newPi(t)
	send := func(p *pi, seq int64) {
		t.Helper()
		h := header("pve1", seq)
		p.beats(t, seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: h, State: "running"}, p.node), h)
	}
	send(p, 1_000_000)
	p.later(time.Second)
	send(p, 2_000_000)
	saved := p.Seen(false)
	p.later(time.Second)
	send(p, 3_000_000) // not in what is saved: then the process crashed
	p.later(40 * time.Second)

	p = p.restarted(t, saved)
	send(p, 1_000_000)
	send(p, 2_000_000)
	if d := p.SilentFor("pve1"); d != nil {
		t.Errorf("a repetition was heard %v ago", *d)
	}
	send(p, 3_000_000)
	if d := p.SilentFor("pve1"); d == nil || *d != 40*time.Second {
		t.Errorf("what came after the save was heard %v ago, want 40 s", d)
	}
	send(p, 43_000_000)
	if d := p.SilentFor("pve1"); *d != 0 {
		t.Errorf("a new one was heard %v ago", *d)
	}
}

func TestA7_AnAnnouncementThatComesAgainIsAcknowledgedAndKeptOnce(t *testing.T) {
	p := newPi(t)
	announces := func(p *pi, seq int64, by wire.Key) {
		t.Helper()
		if _, err := p.announce(t, announcement("pve1", seq), by); err != nil {
			t.Errorf("seq %d: %v", seq, err)
		}
	}
	kept := func(p *pi, want int) {
		t.Helper()
		if len(p.kept) != want {
			t.Errorf("%d are kept, want %d", len(p.kept), want)
		}
	}
	p.keep = func() error { return errors.New("full") }
	_, err := p.announce(t, announcement("pve1", 1000), p.node)
	if err == nil {
		t.Error("acknowledged though it is not on disk")
	}
	p.keep = nil
	announces(p, 1000, p.node) // it was not kept, so this is no repetition
	kept(p, 1)
	announces(p, 1000, p.node)
	announces(p, 999, p.node) // overtaken
	kept(p, 1)
	announces(p, 1001, p.node)
	kept(p, 2)

	spooled := p.kept[1].envelope
	for name, next := range map[string]*pi{
		"it is in what was saved":        p.restarted(t, p.Seen(false)),
		"it is in the spool":             p.restarted(t, lan.Seen{}),
		"the spool holds a forgery also": p.restarted(t, lan.Seen{}),
	} {
		switch name {
		case "it is in what was saved":
		case "the spool holds a forgery also":
			next.RestoreKept(seal(t, wire.KindAnnouncement, announcement("pve1", 5000), newKey(t)))
			next.RestoreKept([]byte("{"))
			next.RestoreKept(seal(t, wire.KindHeartbeat, wire.Heartbeat{Header: header("pve1", 9000)}, p.node))
			fallthrough
		default:
			next.RestoreKept([]byte(spooled))
		}
		announces(next, 1001, next.node)
		announces(next, 1000, next.node)
		kept(next, 0)
		announces(next, 1002, next.node)
		kept(next, 1)
	}
}

// A stranger may use a name that is another's, and must not silence its owner.
func TestA7_AStrangersAnnouncementMarksNothing(t *testing.T) {
	p := newPi(t)
	delete(p.known, "pve1")
	if _, err := p.announce(t, announcement("pve1", 1<<50), newKey(t)); err != nil {
		t.Fatal(err)
	}
	p.known["pve1"] = p.node.PublicKey()
	if _, err := p.announce(t, announcement("pve1", 1000), p.node); err != nil {
		t.Fatal(err)
	}
	if len(p.kept) != 2 || p.kept[1].stranger != "" {
		t.Errorf("kept %d", len(p.kept))
	}
}

func TestSeenIsOfKnownNodesAlone(t *testing.T) {
	p := newPi(t)
	p.known["pve2"] = p.node.PublicKey()
	for _, n := range []string{"pve1", "pve2"} {
		if _, err := p.beat(t, header(n, 1000), "running", p.node); err != nil {
			t.Fatal(err)
		}
	}
	delete(p.known, "pve2")
	s := p.Seen(false)
	if len(s.Marks) != 1 || len(s.Ways) != 1 || s.Marks[0].Node != "pve1" || s.Ways[0].Node != "pve1" {
		t.Errorf("seen is %+v", s)
	}
	_, err := p.beat(t, header("pve2", 2000), "running", p.node)
	refused(t, err, http.StatusForbidden, "pve2 is not known here")
}
