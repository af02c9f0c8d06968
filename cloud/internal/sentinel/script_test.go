package sentinel_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

var update = flag.Bool("update", false, "rewrite the scripts' facts")

// TestScripts plays the stories of testdata. Each line is something that happens; the
// indented lines after it are the facts that follow, with their time since `mark`. The
// facts are reviewed as prose: -update rewrites them.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# ") {
		t.Errorf("%s does not begin with the story it tells", file)
	}
	got := play(t, string(text))
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s tells another story (-written +happened); review, then -update:\n%s", file, diff)
	}
}

// play runs a script and returns it with the facts that came of each line.
func play(t *testing.T, text string) string {
	w := newWorld(t, home())
	w.units = []*unit{{site: "home", name: "apc1", pi: "pi1", changed: true, status: power.Status{Flags: power.Online}}}
	var out strings.Builder
	begun := false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue // what it said last time
		}
		fmt.Fprintln(&out, line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if !begun && words[0] != "config" {
			begun = true
			w.step(sentinel.Started{Version: "test"})
			w.printed = nil // every story begins so
		}
		if err := w.do(words[0], parseWords(words[1:])); err != nil {
			t.Fatalf("line %d, %q: %v", i+1, line, err)
		}
		for _, p := range w.printed {
			fmt.Fprintln(&out, strings.TrimRight("    "+p, " "))
		}
		w.printed = nil
	}
	w.checkReplay()
	return out.String()
}

// args are a line's words: names, and settings written as key=value.
type args struct {
	names []string
	set   map[string]string
}

func parseWords(words []string) args {
	a := args{set: map[string]string{}}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			a.set[k] = v
		} else {
			a.names = append(a.names, strings.Replace(w, "(", " (", 1)) // as pve1(2)
		}
	}
	return a
}

func (a args) name() string {
	if len(a.names) == 0 {
		return ""
	}
	return a.names[0]
}

func (a args) has(word string) bool { return slices.Contains(a.names, word) }

func (a args) duration(key string) (time.Duration, error) {
	if a.set[key] == "" {
		return 0, nil
	}
	return time.ParseDuration(a.set[key])
}

var errUnknown = errors.New("what does that mean?")

// do is what the words of a script mean.
func (w *world) do(verb string, a args) error {
	switch {
	case strings.HasPrefix(verb, "+"):
		d, err := time.ParseDuration(verb[1:])
		w.pass(d)
		return err
	case verb == "mark":
		w.zero = w.now
		return nil
	case verb == "config":
		return w.configure(a)
	case verb == "restart", verb == "pause":
		d, err := a.duration("for")
		if verb == "restart" {
			w.restart(d)
		} else {
			w.pause(d)
		}
		return err
	case verb == "uplink":
		w.tailnetGone = a.has("tailnet-gone")
		w.online, w.hangs = a.name() == "online" || w.tailnetGone, a.name() == "hangs"
		return nil
	}
	for _, do := range []func(string, args) error{w.doSource, w.doRecord, w.doWatch, w.doNotices, w.doPhone} {
		if err := do(verb, a); !errors.Is(err, errUnknown) {
			return err
		}
	}
	return w.doPerson(verb, a)
}

func (w *world) configure(a args) error {
	site := &w.cfg.Sites[0]
	if a.has("no-plan") {
		site.Plan = nil
	}
	if a.has("guests-only") {
		site.Plan.Stages = site.Plan.Stages[:1]
	}
	if a.has("long-plan") {
		site.Plan.Stages[0].Deadline = 90 * time.Minute
	}
	if h := a.set["hosts"]; h != "" {
		site.Plan.Stages = slices.Insert(site.Plan.Stages, 0, shutdown.Stage{Hosts: strings.Split(h, ","), Deadline: 2 * time.Minute})
	}
	if n := a.set["threshold"]; n != "" {
		w.cfg.Threshold, _ = strconv.Atoi(n)
	}
	if n := a.set["nodes"]; n != "" {
		site.Nodes = strings.Split(n, ",")
	}
	if a.has("no-pi") {
		site.Pis, w.units = nil, nil
	}
	w.configureCauses(a)
	if err := w.configurePeople(a); err != nil {
		return err
	}
	w.configurePhone(a)
	if err := w.configureDigest(a); err != nil {
		return err
	}
	if err := w.configureWatch(a); err != nil {
		return err
	}
	w.state = sentinel.New(w.cfg)
	return nil
}

// doSource is what nodes, Pis and UPSes do.
func (w *world) doSource(verb string, a args) error {
	switch verb {
	case "beat":
		for _, n := range w.named(a) {
			b := w.source(n)
			if b == nil {
				b = &beater{site: w.siteOf(n), name: n, role: sentinel.Node}
				if strings.HasPrefix(n, "pi") {
					b.role = sentinel.Pi
				}
				w.sources = append(w.sources, b)
			}
			b.beats, b.boot, b.via, b.state = true, cmp.Or(a.set["boot"], b.boot, "a"), a.set["via"], cmp.Or(a.set["state"], "running")
			w.beat(b)
		}
	case "silent":
		for _, n := range w.named(a) {
			w.source(n).beats = false
		}
	case "state":
		w.source(a.names[0]).state = a.names[1]
	case "announce":
		age, err := a.duration("age")
		boot := "a"
		if b := w.source(a.names[0]); b != nil {
			boot = b.boot
		}
		boot = cmp.Or(a.set["boot"], boot)
		seq, _ := strconv.ParseInt(a.set["seq"], 10, 64)
		kind := a.names[1]
		w.step(sentinel.Announced{Site: w.siteOf(a.names[0]), Name: a.names[0], Boot: boot, ID: kind + "-" + boot + a.set["id"], Kind: kind,
			Returns: strings.Contains(kind, "reboot") || kind == "kexec", Via: a.set["via"], Age: age, Seq: seq})
		return err
	case "key":
		at, err := time.Parse(time.DateOnly, a.set["expires"])
		w.step(sentinel.KeyExpiring{Site: "home", Name: a.name(), At: at, Left: at.Sub(w.now), Expired: a.has("expired")})
		return err
	case "ups":
		return w.doUPS(a)
	case "unlist": // a UPS that its Pi no longer lists
		w.units = slices.DeleteFunc(w.units, func(u *unit) bool { return u.name == a.name() })
	case "says": // one report of a Pi's: says PI UPS SUPPLY for=D lost=D lag=D boot=B seq=N transfers=N
		lag, err := a.duration("lag")
		if err != nil {
			return err
		}
		d, err := a.duration("for")
		r := power.Reading{Supply: power.Supply(a.names[2]), For: power.InSeconds(d)}
		if a.set["lost"] != "" {
			lost, err := a.duration("lost")
			if err != nil {
				return err
			}
			r.LostFor = new(power.InSeconds(lost))
		}
		if n, err := strconv.Atoi(a.set["transfers"]); err == nil {
			r.Transfers = &n
		}
		seq, _ := strconv.ParseInt(a.set["seq"], 10, 64)
		w.step(sentinel.UPSReported{Site: w.siteOf(a.name()), Pi: a.name(), UPS: a.names[1], Reading: r, Lag: lag, Boot: a.set["boot"], Seq: seq})
		return err
	case "held-back": // a report of an outage that somebody kept, or one of two
		d, err := a.duration("for")
		w.step(sentinel.UPSReported{Site: "home", Pi: "pi1", UPS: "apc1", Reading: power.Reading{Supply: power.Battery, For: power.InSeconds(d)}})
		return err
	case "pi-run":
		stage, _ := strconv.Atoi(a.set["stage"])
		seq, _ := strconv.ParseInt(a.set["seq"], 10, 64)
		pi := cmp.Or(a.set["pi"], "pi1")
		w.step(sentinel.PiReported{Site: w.siteOf(pi), Pi: pi, Run: shutdown.Status{ID: cmp.Or(a.set["id"], "pi-run"), State: shutdown.State(a.name()), Stage: stage, On: shutdown.Cause(a.set["on"]), Reason: strings.ReplaceAll(a.set["why"], "-", " "),
			Epoch: piEpoch(a), Targets: w.piTargets(a), Owed: strings.FieldsFunc(a.set["owed"], func(r rune) bool { return r == ',' })}, Boot: a.set["boot"], Seq: seq})
	default:
		return errUnknown
	}
	return nil
}

// piEpoch is what a Pi holds its run under: epoch=2, or 1.
func piEpoch(a args) shutdown.Epoch {
	if n, err := strconv.Atoi(a.set["epoch"]); err == nil {
		return shutdown.Epoch{Counter: uint64(n), Holder: cmp.Or(a.set["pi"], "pi1")}
	}
	return shutdown.Epoch{Counter: 1, Holder: "pi1"}
}

func (w *world) named(a args) []string {
	var names []string
	for _, s := range w.cfg.Sites {
		if a.name() == "all" || a.name() == s.Name {
			names = append(append(names, s.Nodes...), s.Pis...)
		}
	}
	if names == nil {
		return a.names
	}
	return names
}

func (w *world) doUPS(a args) error {
	u := w.units[0]
	if i := slices.IndexFunc(w.units, func(u *unit) bool { return u.name == a.name() }); i >= 0 {
		u, a.names = w.units[i], a.names[1:]
	}
	flags := map[string]power.Flags{"ONLINE": power.Online, "ONBATT": power.OnBattery, "LOWBATT": power.LowBattery,
		"COMMLOST": power.CommLost, "OVERLOAD": power.Overload, "REPLACEBATT": power.ReplaceBattery, "SHUTTING": power.Shutdown, "CAL": power.Calibration, "CONFIRMED": power.OutageConfirmed}
	u.dead, u.changed, u.cutting = a.has("dead"), true, a.has("cutting")
	if u.dead {
		return nil
	}
	was := u.status.Flags
	u.status.Flags = 0
	for _, n := range a.names {
		if n == "self-test" || n == "unreported" || n == "cutting" {
			continue
		}
		f, ok := flags[n]
		if !ok {
			return fmt.Errorf("%s is no word of a UPS", n)
		}
		u.status.Flags |= f
	}
	if u.status.Flags.Has(power.OnBattery) && !was.Has(power.OnBattery) {
		transfers := 1
		if u.status.Transfers != nil {
			transfers += *u.status.Transfers
		}
		u.status.Transfers, u.status.LastTransfer = &transfers, "Unacceptable line voltage changes"
		if a.has("self-test") {
			u.status.LastTransfer = "Automatic or explicit self test"
		}
	} else if u.status.Transfers == nil {
		u.status.Transfers = new(int)
	}
	if c := a.set["charge"]; c != "" {
		percent, err := strconv.ParseFloat(c, 64)
		if err != nil {
			return err
		}
		percent /= 100
		u.status.Charge = &percent
	}
	if r := a.set["runtime"]; r != "" {
		d, err := time.ParseDuration(r)
		if err != nil {
			return err
		}
		s := power.InSeconds(d)
		u.status.Runtime = &s
	}
	if test, ok := a.set["self-test"]; ok {
		u.status.SelfTest = test
	}
	if !a.has("unreported") {
		w.report(u)
	}
	return nil
}

// doPerson is what people, telephones and machines of the plan do.
func (w *world) doPerson(verb string, a args) error {
	run, site := "", cmp.Or(a.set["site"], "home")
	if s := w.state.Sites[site]; s != nil && s.Run != nil {
		run = s.Run.ID
	}
	switch verb {
	case "arm":
		w.step(sentinel.Arm{Site: w.siteOf(a.name()), By: "alice"})
	case "disarm":
		w.step(sentinel.Disarm{Site: w.siteOf(a.name()), By: "alice"})
	case "stop":
		w.step(sentinel.Stop{Site: w.siteOf(a.name()), By: "alice"})
	case "leave-off": // leave-off guest_100
		w.step(sentinel.LeaveOff{Site: site, Name: strings.ReplaceAll(a.name(), "_", " "), By: "alice"})
	case "network":
		w.step(sentinel.SayNetwork{Site: site, By: "alice", OnUPS: a.name() == "yes"})
	case "ack":
		w.step(sentinel.Acknowledge{Incident: cmp.Or(a.set["id"], w.state.OpenIncidents()[0].ID), By: cmp.Or(a.name(), "alice")})
	case "call-placed":
		w.step(sentinel.CallWasPlaced{Call: cmp.Or(a.set["call"], w.state.OpenCalls()[0].ID), SID: "CA1"})
	case "press":
		in := sentinel.Pressed{Call: a.set["call"], Key: a.name()}
		if calls := w.state.OpenCalls(); in.Call == "" && len(calls) > 0 {
			in.Call, in.Step = calls[0].ID, len(calls[0].Keys)
		}
		if n, err := strconv.Atoi(a.set["step"]); err == nil {
			in.Step = n
		}
		w.step(in)
	case "call-ended":
		calls := w.state.OpenCalls()
		if len(calls) == 0 {
			return errors.New("nobody is being called")
		}
		w.step(sentinel.CallHasEnded{Call: cmp.Or(a.set["call"], calls[0].ID), Delivered: a.has("answered"), Outcome: a.name()})
	case "answered":
		var found []shutdown.Target
		for id := range strings.SplitSeq(a.set["guests"], ",") {
			if n, err := strconv.Atoi(id); err == nil {
				found = append(found, shutdown.Target{Kind: shutdown.Guest, Node: strings.TrimPrefix(a.name(), "listing/"), VMID: n, Type: "qemu"})
			}
		}
		for _, target := range a.names {
			w.step(sentinel.RunAnswered{Site: site, Run: run, Target: target, Found: found})
		}
	case "started", "not-started":
		var err error
		if verb == "not-started" {
			err = errors.New(strings.Join(a.names[1:], " "))
		}
		w.step(sentinel.RunAnswered{Site: site, Run: run, Target: a.name(), Start: true, Err: err})
	case "refused":
		w.step(sentinel.RunAnswered{Site: site, Run: run, Target: a.names[0], Err: errors.New(strings.Join(a.names[1:], " "))})
	case "seen":
		sight := shutdown.Sight{Running: !a.has("stopped"), Closed: a.has("closed"), Leaving: a.has("leaving"), Announced: a.has("announced")}
		if a.set["silent"] != "" {
			d, err := a.duration("silent")
			if err != nil {
				return err
			}
			sight.SilentFor = &d
		}
		w.step(sentinel.RunSeen{Site: site, Run: run, Target: a.name(), Sight: sight})
	case "mandate":
		epoch, st, id := w.state.Mandate("home", cmp.Or(a.name(), "pi1"), w.now)
		said := fmt.Sprintf("epoch %d of %s, run %s %s", epoch.Counter, epoch.Holder, st, id)
		if of := w.state.Sites["home"].Scope(); of != nil && st == shutdown.HasEnded {
			said += ", for " + strings.Join(of, " and ")
		}
		w.printed = append(w.printed, said)
	case "look":
		w.look()
	case "digest": // what it would be now
		subject, text := w.state.Digest(w.now, []string{"home"})
		w.printed = append(w.printed, strings.Split(subject+"\n"+strings.ReplaceAll(text, "\n\n", "\n"), "\n")...)
	case "outcome": // of an incident that is over: outcome id=I
		w.printed = append(w.printed, w.state.Incidents[a.set["id"]].Outcome)
	default:
		return errUnknown
	}
	return nil
}

// look prints how things stand.
func (w *world) look() {
	var at []string
	for _, n := range w.named(args{names: []string{"all"}}) {
		at = append(at, n+" "+w.stands(n))
	}
	open := "no incident"
	for _, i := range w.state.OpenIncidents() {
		open = fmt.Sprintf("%s about %s", i.ID, strings.Join(i.Nodes, ", "))
	}
	w.printed = append(w.printed, strings.Join(at, ", ")+"; "+open)
}
