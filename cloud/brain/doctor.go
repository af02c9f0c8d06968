package brain

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/cloud/internal/ingest"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/shutdown"
	"sentinel.home.arpa/shared/tailnet"
)

const (
	// keyEndsSoon is how long before its end the brain's key on the tailnet is told of.
	keyEndsSoon = 21 * 24 * time.Hour
	// taggedWithin bounds the question to the tailnet who is there.
	taggedWithin = 3 * time.Second
	// The journal's disk, in bytes: a year of a home takes less than the first.
	littleRoom = 1 << 30
	noRoom     = 64 << 20
)

// examined is what the running brain gathers for its doctor.
type examined struct {
	page     *web.View
	troubles troubles
	early    map[string][2]string // by UPS: why apcupsd's limits are too early, and what to write
	tailnet  *tailnet.Status      // nil: there is none
	hostname string               // that the brain asked the tailnet for
	tagged   []string             // machines of the tailnet with a Pi's tag
	noPeers  error                // the tailnet was not asked for them
	listed   []string             // Pis of all sites
	plan     []planFinding
	busy     error // the machines could not be asked
	planned  bool
	calls    bool // people can be called
	channels int  // by which people are told
	tests    bool // the phone is tested
	free     uint64
	noDisk   error
	synced   bool
	noClock  error
}

// troubles are the warnings of the page that have a line of their own, as of one turn.
type troubles struct{ phone, channels, tailnet []string }

// all are the warnings in their order on the page.
func (t troubles) all() []string { return slices.Concat(t.phone, t.channels, t.tailnet) }

// lookOver answers what the brain finds of itself and of all that it watches. It asks the plan's
// machines, and changes nothing.
func (b *Brain) lookOver(_ context.Context, r *http.Request) (any, error) {
	v := b.view.Load()
	if v == nil {
		return nil, errNoView
	}
	cfg := b.cfg()
	e := examined{page: v.page, troubles: v.troubles, hostname: cfg.Tailnet.Hostname, calls: cfg.Twilio != nil && len(cfg.callable()) > 0, tests: cfg.Calls.SelfTest > 0}
	for _, p := range cfg.Contacts {
		e.channels += len(p.Notices)
	}
	sc := b.planned()
	if sc != nil {
		e.early = early(v.limits, cfg.policy(), sc.Plan)
	}
	if b.tailnet != nil {
		s := b.tailnet.Status()
		e.tailnet = &s
		if s.Running() {
			e.tagged, e.noPeers = b.taggedPis(r.Context())
		}
	}
	for _, s := range cfg.Sites {
		for _, p := range s.Pis {
			e.listed = append(e.listed, p.Name)
		}
	}
	if e.planned = sc != nil; e.planned {
		if release, err := b.askOne(); err != nil {
			e.busy = err
		} else {
			ctx, cancel := context.WithTimeout(r.Context(), checkWithin)
			e.plan = b.checkPlan(ctx, *sc, true)
			cancel()
			release()
		}
	}
	var fs unix.Statfs_t
	if e.noDisk = unix.Statfs(cfg.StateDir, &fs); e.noDisk == nil {
		e.free = fs.Bavail * uint64(fs.Bsize)
	}
	e.synced, e.noClock = daemon.ClockSynced()
	return struct {
		At       time.Time        `json:"at"`
		Findings []doctor.Finding `json:"findings"`
	}{b.machine.wall(), e.findings()}, nil
}

// early are the limits of apcupsds that come before a plan's end. Where there is no plan they come
// before nothing; where there is one there is no second site, whose UPS might have the same name.
func early(limits map[string]power.Status, policy power.Policy, plan *shutdown.Plan) map[string][2]string {
	all := map[string][2]string{}
	for name, s := range limits {
		if why, instead := policy.Early(s, plan.Need()); why != "" {
			all[name] = [2]string{why, instead}
		}
	}
	return all
}

// taggedPis are the machines that the tailnet shows to the brain as Pis.
func (b *Brain) taggedPis(ctx context.Context) (names []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, taggedWithin)
	defer cancel()
	peers, err := b.tailnet.PeersTagged(ctx, ingest.TagPi)
	for _, p := range peers {
		names = append(names, p.Name)
	}
	return names, err
}

// limitsOf are apcupsd's own, as each UPS's last report has them.
func (b *Brain) limitsOf(now time.Time) map[string]power.Status {
	all := map[string]power.Status{}
	for _, site := range b.state.Sites {
		for name, u := range site.UPSes {
			if r, ok := u.Reading(now, b.core().Times.ReportFresh); ok {
				all[name] = r.Status
			}
		}
	}
	return all
}

// findings are what the evidence says.
func (e *examined) findings() []doctor.Finding {
	var r doctor.Report
	r.OK("brain", "it runs, and answers")
	e.ofTailnet(&r)
	for _, s := range e.page.Sites {
		e.ofSite(&r, s)
	}
	e.ofPlan(&r)
	e.ofPeople(&r)
	for _, w := range e.page.Waiting {
		do := "compare the key with the machine's own, then: `" + w.Command + "`"
		if w.Hold != "" {
			do = w.Hold
		}
		r.Look(w.Name, "it waits to be let in, because "+w.Why, do)
	}
	own := e.troubles.all()
	for _, text := range e.page.Warnings {
		if !slices.Contains(own, text) {
			say, do := twoSentences(text)
			r.Wrong("brain", say, do)
		}
	}
	e.ofDisk(&r)
	switch {
	case e.noClock != nil:
		r.Look("clock", e.noClock.Error(), "see what `timedatectl` says")
	case !e.synced:
		r.Look("clock", "it is not synchronised, so times in calls and on the page may be wrong", "`timedatectl set-ntp true`")
	default:
		r.OK("clock", "it is synchronised")
	}
	return r
}

// twoSentences parts a warning that says in its last sentence, or behind a semicolon, what to do.
func twoSentences(text string) (say, do string) {
	if say, do = doctor.Split(strings.TrimSuffix(text, ".")); do != "" {
		return say, do
	}
	if i := strings.LastIndex(strings.TrimSuffix(text, "."), ". "); i > 0 {
		return text[:i], strings.TrimSuffix(text[i+2:], ".")
	}
	return strings.TrimSuffix(text, "."), "see `journalctl -u sentinel-cloud`"
}

func (e *examined) ofTailnet(r *doctor.Report) {
	s := e.tailnet
	if s == nil {
		return
	}
	switch {
	case s.AuthURL != "":
		r.Wrong("tailnet", "the brain is not on it", "log it in at "+s.AuthURL)
	case !s.Running():
		say := "the brain is not on it; its state is " + s.State
		if s.Err != nil {
			say = "the brain is not on it: " + s.Err.Error()
		}
		r.Wrong("tailnet", say, "`journalctl -u sentinel-cloud` says more; the auth key in its credential may be over")
	case s.Name != "" && s.Name != e.hostname:
		r.Look("tailnet", fmt.Sprintf("the brain is called %s there, since another machine has the name %s", s.Name, e.hostname), "remove that one in Tailscale's console, and give the brain its name")
	case s.KeyExpiry != nil && s.KeyExpiry.Sub(e.page.At) < keyEndsSoon:
		r.Look("tailnet", "the brain's key ends on "+s.KeyExpiry.Format("2 January 2006"), "disable its key's expiry in Tailscale's console; a tagged machine needs none")
	default:
		r.OK("tailnet", "the brain is on it, as "+s.Name)
	}
	if !s.Running() {
		return
	}
	if e.noPeers != nil {
		r.Look("tailnet", e.noPeers.Error(), "try again in a moment")
		return
	}
	for _, name := range e.listed {
		if !slices.Contains(e.tagged, name) {
			r.Wrong("Pi "+name, "the tailnet shows the brain no machine of that name with "+ingest.TagPi, "see the Pi's tag and name in Tailscale's console, and that the policy lets the brain reach it on TCP 7777")
		}
	}
	for _, name := range e.tagged {
		if !slices.Contains(e.listed, name) {
			r.Look("Pi "+name, "it has "+ingest.TagPi+", and no site's pi_proxies names it, so it may report nothing", "add it there, or take the tag away")
		}
	}
}

// ofSite is about a site's machines and UPSes.
func (e *examined) ofSite(r *doctor.Report, s web.Site) {
	count := map[string]int{}
	for _, src := range s.Sources {
		kind, who := "node", src.Name+" at "+s.Name
		if src.Role == string(sentinel.Pi) {
			kind = "Pi"
		}
		agent := map[string]string{"node": "sentinel-node", "Pi": "sentinel-pi"}[kind]
		switch {
		case src.Condition == string(sentinel.Pending):
			r.Wrong(who, "it was never heard", "there: `sudo "+agent+" doctor`; is its name in cloud.yaml right?")
		case src.Condition == string(sentinel.Failed):
			r.Wrong(who, "it is "+src.State, "`sudo sentinel-cloud incidents` says since when; there: `sudo "+agent+" doctor`")
		case src.CloneOf != "":
			r.Wrong(who, "two machines run under that name", "on the copy change the host name, remove /var/lib/sentinel-node/key and restart sentinel-node")
		case src.OnlyBy != "":
			r.Look(who, "it is heard through "+src.OnlyBy+" alone", "let it reach the brain on TCP 80: see the tailnet's policy, and `tailscale status` there")
		case src.Condition == string(sentinel.Up):
			count[kind]++
		default:
			count["off"]++
		}
	}
	if count["Pi"] > 0 {
		r.OK(s.Name+"'s Pi", fmt.Sprintf("%s heard", counted(count["Pi"], "is", "are")))
	}
	if count["node"] > 0 {
		r.OK(s.Name+"'s nodes", fmt.Sprintf("%s heard by the brain itself", counted(count["node"], "is", "are")))
	}
	if count["off"] > 0 {
		r.OK(s.Name+"'s others", counted(count["off"], "is", "are")+" off, as planned")
	}
	if len(s.Sources) == 0 {
		r.Wrong(s.Name, "nobody was heard yet", "install the Pi and the agents; `sudo sentinel-cloud approve` lists who was refused")
	}
	for _, u := range s.UPSes {
		what, early := "UPS "+u.Name, e.early[u.Name]
		switch {
		case u.Supply == string(power.Unknown):
			r.Wrong(what, "how it stands is not known", "on its Pi: `sudo sentinel-pi doctor`")
		case u.Stale:
			r.Wrong(what, "its last report is "+power.Spell(u.Age)+" old", "on its Pi: `sudo sentinel-pi doctor`")
		case u.OnBattery:
			r.Look(what, "it is on battery for "+power.Spell(u.For), "`sudo sentinel-cloud plan show` says what happens")
		case early[0] != "":
			r.Look(what, "apcupsd may shut the Pi down before the plan's end: "+early[0], "on its Pi, in apcupsd.conf: "+early[1]+"; `sudo sentinel-pi doctor` there says more")
		default:
			r.OK(what, "it reports, and is on mains")
		}
	}
	if len(s.UPSes) == 0 && !s.HasPlan { // of a plan its check says so
		r.Look(s.Name, "no UPS has been heard of, so no power cut is seen", "on the Pi: `sudo sentinel-pi doctor`")
	}
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// ofPlan is about the plan, its machines and whether it is armed.
func (e *examined) ofPlan(r *doctor.Report) {
	for _, s := range e.page.Sites {
		switch {
		case !s.HasPlan:
		case s.ArmingUnknown: // a warning says so
		case len(s.Unconfirmed) > 0:
			r.Wrong("plan", strings.Join(s.Unconfirmed, ", ")+" has not confirmed it as it stands", "there: `sudo sentinel-pi doctor`")
		case !s.Armed:
			r.Look("plan", "it is not armed, so a power cut is only rehearsed", "once all else is fine: `sudo sentinel-cloud plan arm`")
		default:
			r.OK("plan", "it is armed, and confirmed")
		}
	}
	if !e.planned {
		return
	}
	if e.busy != nil {
		r.Look("plan's machines", e.busy.Error(), "try again in a moment")
		return
	}
	fine, off := true, e.off()
	for _, f := range e.plan {
		if f.Severity == proxmox.Note {
			continue
		}
		fine = false
		if slices.Contains(off, f.Target) {
			continue
		}
		say, do := doctor.Split(f.Text)
		if f.Through != "" {
			say += " (" + f.Through + ")"
		}
		if do == "" {
			do = "`sudo sentinel-cloud plan check` says more"
		}
		if f.Severity == proxmox.Refusal {
			r.Wrong("plan: "+f.Target, say, do)
		} else {
			r.Look("plan: "+f.Target, say, do)
		}
	}
	for _, name := range off {
		if slices.ContainsFunc(e.plan, func(f planFinding) bool { return f.Target == name && f.Severity != proxmox.Note }) {
			r.Look("plan: "+name, "it is off, so that it was not looked at", "once it is on: `sudo sentinel-cloud plan check`")
		}
	}
	if fine {
		r.OK("plan's machines", "reached by all ways, and the token suffices")
	}
}

// off are the machines of which it is known that they are off: their APIs are closed.
func (e *examined) off() (off []string) {
	for _, s := range e.page.Sites {
		for _, src := range s.Sources {
			if src.Condition == string(sentinel.Off) {
				off = append(off, src.Name)
			}
		}
	}
	return off
}

// ofPeople is about who is called and told.
func (e *examined) ofPeople(r *doctor.Report) {
	for _, text := range e.troubles.phone {
		say, do := twoSentences(text)
		r.Wrong("phone", say, do)
	}
	switch {
	case !e.calls || len(e.troubles.phone) > 0: // said by the configuration's check, or just now
	case e.page.Phone == "" && e.tests:
		r.Look("phone", "its first self-test is not over yet", "try again in a minute")
	case e.page.Phone == "":
		r.Look("phone", "it is never tested, since calls.self_test is 0", "remove that line; nobody's phone rings for a test")
	default:
		r.OK("phone", e.page.Phone)
	}
	for _, text := range e.troubles.channels {
		r.Wrong("channels", strings.TrimSuffix(text, "."), "`sudo sentinel-cloud test notice --contact NAME` once it is mended")
	}
	if e.channels > 0 && len(e.troubles.channels) == 0 {
		r.OK("channels", fmt.Sprintf("none of %d has failed lately", e.channels))
	}
}

func (e *examined) ofDisk(r *doctor.Report) {
	room := fmt.Sprintf("the journal's disk has %d MB left", e.free>>20)
	switch {
	case e.noDisk != nil:
		r.Look("disk", "it does not say how much room is left: "+e.noDisk.Error(), "`df -h` shows it")
	case e.free < noRoom:
		r.Wrong("disk", room, "make room, or the journal is not written")
	case e.free < littleRoom:
		r.Look("disk", room, "make room before it is full")
	default:
		r.OK("disk", fmt.Sprintf("the journal has %d GB of room", e.free>>30))
	}
}
