package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// machinesWithin is how long a verb waits for an answer for which machines are asked.
	machinesWithin = 30 * time.Second
	planPath       = "/api/v1/plan"
)

// shown is what would happen, as the brain says it.
type shown struct {
	Site     string
	Stages   []stage
	Silent   []struct{ Node, Why string }
	Unpooled []struct{ Node, Why string }
	UPSes    []struct{ Text, Lasts string }
	Need     time.Duration `json:"need_ns"`
	Ends     time.Duration `json:"ends_ns"`
	Fed      []string
	Pis      []string

	OnBattery []string `json:"on_battery"`
	Runs      []run
	Off       []off

	Armed         bool
	ArmingUnknown bool          `json:"arming_unknown"`
	Unconfirmed   []string      `json:"unconfirmed_by"`
	StoppedBy     string        `json:"stopped_by"`
	StoppedFor    string        `json:"stopped_for"`
	OnFailure     bool          `json:"on_failure"`
	InternetAfter time.Duration `json:"internet_after_ns"`

	// Of a simulation.
	UPS     string
	Runtime *time.Duration `json:"runtime_ns"`
	Charge  *float64       `json:"charge_ratio"`
	Begins  time.Duration  `json:"begins_ns"`
	Because string
	Lasts   string
	Text    string
	StayOn  []string `json:"stay_on"`
}

type stage struct {
	Number  int
	Begins  time.Duration `json:"begins_ns"`
	Ends    time.Duration `json:"ends_ns"`
	Guests  bool
	Targets []struct{ Kind, Name, Node string }
}

// PlanShow writes how the run stands of an outage that goes on, or what would happen if the power
// went now, and what the last run left off. It ends with ErrBadNews if something is not down in
// time or off still, if a battery does not last, or if a node does not tell which guests run on it,
// or their pools.
func (o Operator) PlanShow(w io.Writer, asJSON bool) error {
	var p shown
	data, err := o.readWithin(machinesWithin, planPath, &p)
	if err != nil {
		return err
	}
	if !asJSON {
		data = p.screen()
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if len(p.Off) > 0 || slices.ContainsFunc(p.Runs, run.late) || len(p.Silent) > 0 || len(p.Unpooled) > 0 || slices.ContainsFunc(p.UPSes, func(u struct{ Text, Lasts string }) bool { return u.Lasts == "no" }) {
		return ErrBadNews
	}
	return nil
}

func (p *shown) screen() []byte {
	var b strings.Builder
	site := site{Armed: p.Armed, ArmingUnknown: p.ArmingUnknown, Unconfirmed: p.Unconfirmed}
	fmt.Fprintf(&b, "%s: %s", p.Site, site.plan())
	if len(p.Unconfirmed) == 0 && !p.ArmingUnknown && len(p.Pis) > 0 {
		fmt.Fprintf(&b, "; confirmed by %s", strings.Join(p.Pis, ", "))
	}
	fmt.Fprintln(&b)
	for _, text := range p.OnBattery {
		fmt.Fprintln(&b, text)
	}
	under := p.ran(&b)
	if p.StoppedBy != "" {
		fmt.Fprintf(&b, "%s stopped it; it does not begin again %s.\n", p.StoppedBy, heldFor(p.StoppedFor))
	}
	if also := p.also(); also != "" {
		fmt.Fprintln(&b, also)
	}
	switch {
	case under: // what would happen is no question now
		return []byte(b.String())
	case len(p.OnBattery) > 0:
		fmt.Fprintln(&b, "\nThe power is out. If it stays so, counted from when it went:")
	default:
		fmt.Fprintln(&b, "\nIf the power went now:")
	}
	if len(p.Stages) > 0 {
		p.line(&b, p.Stages[0].Begins, "the plan begins, at once if the battery is too short for it")
	}
	p.stages(&b)
	for _, u := range p.UPSes {
		fmt.Fprintln(&b, u.Text)
	}
	for _, text := range p.Fed {
		fmt.Fprintln(&b, text)
	}
	if len(p.UPSes) == 0 {
		fmt.Fprintln(&b, "No UPS has been heard of, so nothing would begin it.")
	}
	return []byte(b.String())
}

// ran writes how the runs stand, and what they left off; it reports whether the outage of one goes on.
func (p *shown) ran(w io.Writer) (under bool) {
	for _, r := range p.Runs {
		if r.Past {
			fmt.Fprintln(w, r.Title)
			continue
		}
		under = true
		for _, line := range r.lines() {
			fmt.Fprintln(w, line)
		}
	}
	for _, line := range offLines(p.Off) {
		fmt.Fprintln(w, line)
	}
	return under
}

func (p *shown) line(w io.Writer, at time.Duration, text string) {
	fmt.Fprintf(w, "%8s  %s\n", "+"+clock(at), text)
}

// stages writes them with their targets, and who did not tell.
func (p *shown) stages(w io.Writer) {
	for _, s := range p.Stages {
		p.line(w, s.Begins, fmt.Sprintf("stage %d of %d, at most %s: %s", s.Number, len(p.Stages), clock(s.Ends-s.Begins), s.said()))
		for _, node := range s.nodes() {
			fmt.Fprintf(w, "%10s%s: %s\n", "", node, strings.Join(s.on(node), ", "))
		}
	}
	if n := len(p.Stages); n > 0 {
		p.line(w, p.Stages[n-1].Ends, "all is down, at the latest")
	}
	fmt.Fprintln(w)
	for _, n := range p.Silent {
		fmt.Fprintf(w, "%s does not tell which guests run on it: %s\n", n.Node, n.Why)
	}
	for _, n := range p.Unpooled {
		fmt.Fprintf(w, "%s does not tell its guests' pools, so none of them is shown in a stage by its pool: %s\n", n.Node, n.Why)
	}
}

// said counts the guests, and names the machines.
func (s stage) said() string {
	var what []string
	guests := 0
	for _, t := range s.Targets {
		if t.Kind == "guest" {
			guests++
		} else {
			what = append(what, t.Name)
		}
	}
	text := ""
	switch {
	case guests == 1:
		text = "1 guest"
	case guests > 1 || s.Guests:
		text = fmt.Sprintf("%d guests", guests)
	}
	if text != "" {
		what = append([]string{text}, what...)
	}
	return strings.Join(what, ", ")
}

// nodes are those whose guests the stage takes.
func (s stage) nodes() []string {
	var nodes []string
	for _, t := range s.Targets {
		if t.Kind == "guest" && !slices.Contains(nodes, t.Node) {
			nodes = append(nodes, t.Node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

func (s stage) on(node string) []string {
	var names []string
	for _, t := range s.Targets {
		if t.Kind == "guest" && t.Node == node {
			names = append(names, t.Name)
		}
	}
	return names
}

// clock is a time as a stopwatch shows it.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Outage is the battery of which PlanSimulate is to tell; what is empty is as it was last
// heard of.
type Outage struct{ UPS, Runtime, Charge string }

// PlanSimulate writes what the plan would do with such a battery if the power went now. It ends
// with ErrBadNews if the battery does not last.
func (o Operator) PlanSimulate(w io.Writer, of Outage, asJSON bool) error {
	q := url.Values{}
	for key, value := range map[string]string{"ups": of.UPS, "runtime": of.Runtime, "charge": of.Charge} {
		if value != "" {
			q.Set(key, value)
		}
	}
	var p shown
	data, err := o.readWithin(machinesWithin, planPath+"/simulate?"+q.Encode(), &p)
	if err != nil {
		return err
	}
	if !asJSON {
		data = p.simulated()
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if p.Lasts == "no" {
		return ErrBadNews
	}
	return nil
}

func (p *shown) simulated() []byte {
	var b strings.Builder
	battery := ""
	if p.Charge != nil {
		battery += fmt.Sprintf(", %.0f %%", *p.Charge*100)
	}
	if p.Runtime != nil {
		battery += ", " + clock(*p.Runtime) + " of battery"
	}
	p.line(&b, 0, "the power goes at "+p.Site+"; "+cmp.Or(p.UPS, "a UPS")+battery)
	what := "the plan begins, because " + p.Because
	if !p.Armed {
		what += "; it is not armed, so nothing would really be shut down"
	}
	p.line(&b, p.Begins, what)
	p.stages(&b)
	if len(p.StayOn) > 0 {
		fmt.Fprintf(&b, "Left on, since %s alone does not call for them: %s.\n", p.UPS, strings.Join(p.StayOn, ", "))
	}
	fmt.Fprintln(&b, strings.ToUpper(p.Text[:1])+p.Text[1:]+".")
	return []byte(b.String())
}

// PlanCheck writes one line for each thing that was found about the plan's machines. It ends
// with ErrBadNews if something is to be done. network is yes or no to remember whether the
// network between Pi and nodes is on the UPS.
func (o Operator) PlanCheck(w io.Writer, network string, asJSON bool) error {
	if network != "" {
		if err := o.Press(planPath + "/network?on-ups=" + url.QueryEscape(network)); err != nil {
			return err
		}
	}
	var c struct {
		Site     string
		Fit      bool
		Findings []struct{ Severity, Target, Text, Through string }
	}
	data, err := o.readWithin(machinesWithin, planPath+"/check", &c)
	if err != nil {
		return err
	}
	bad := 0
	var b strings.Builder
	for _, f := range c.Findings {
		if f.Severity != "note" {
			bad++
		}
		through := ""
		if f.Through != "" {
			through = " (" + f.Through + ")"
		}
		fmt.Fprintf(&b, "%-8s %s: %s%s\n", f.Severity, f.Target, f.Text, through)
	}
	switch {
	case !c.Fit:
		fmt.Fprintf(&b, "%s: the plan cannot be armed like this.\n", c.Site)
	case bad > 0:
		fmt.Fprintf(&b, "%s: the plan can be armed, and would not run as well as it should.\n", c.Site)
	default:
		fmt.Fprintf(&b, "%s: the plan is fine.\n", c.Site)
	}
	if !asJSON {
		data = []byte(b.String())
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if bad > 0 {
		return ErrBadNews
	}
	return nil
}

// PlanStop stops what runs of the plan, and says what that leaves. It ends with ErrBadNews if
// a Pi does not confirm it in time: until it does, it may go on (rule S10).
func (o Operator) PlanStop(w io.Writer) error {
	if err := o.Press(planPath + "/stop"); err != nil {
		return err
	}
	s, err := o.settled(func(x site) bool { return x.StoppedBy != "" && len(x.StopUnconfirmed) > 0 })
	if err != nil {
		return err
	}
	unconfirmed := false
	for _, site := range s.Sites {
		if !site.HasPlan || site.StoppedBy == "" {
			continue
		}
		unconfirmed = unconfirmed || len(site.StopUnconfirmed) > 0
		if _, err := fmt.Fprintf(w, "%s: %s.\n", site.Name, site.stopped()); err != nil {
			return err
		}
	}
	if unconfirmed {
		return ErrBadNews
	}
	return nil
}

// heldFor says for how long a stop holds.
func heldFor(cause string) string {
	if cause == "" {
		return "before the power is back"
	}
	return "for what it had begun for"
}

// also says what begins the plan beside the power; empty: nothing does.
func (p *shown) also() string {
	text := ""
	if p.OnFailure {
		text = "It also begins when nodes fail and you are called"
	}
	if p.InternetAfter > 0 {
		if text == "" {
			text = "It also begins"
		} else {
			text += ", and"
		}
		text += " on the Pi once the internet has been out for " + clock(p.InternetAfter)
	}
	if text == "" {
		return ""
	}
	return text + "."
}

// stopped says what a stop leaves, and who does not know of it yet.
func (s *site) stopped() string {
	text := "the plan was stopped by " + s.StoppedBy + ", and does not begin again " + heldFor(s.StoppedFor)
	if len(s.StopUnconfirmed) > 0 {
		text = "the plan was stopped by " + s.StoppedBy + ", but " + notConfirmed(s.StopUnconfirmed) + " and may go on"
	}
	if s.StopSays != "" {
		text += "; " + s.StopSays
	}
	return text
}

// pressArm presses one of the two buttons, and writes what is to be said of a plan that is
// armed all the same.
func (o Operator) pressArm(w io.Writer, armed, force bool) error {
	if !armed {
		return o.Press(planPath + "/disarm")
	}
	path := planPath + "/arm"
	if force {
		path += "?force=yes"
	}
	resp, err := o.askWithin(machinesWithin, http.MethodPost, path)
	if err != nil {
		return err
	}
	warnings, err := readWarnings(resp)
	if err != nil {
		return err
	}
	return writeWarnings(w, warnings)
}

// readWarnings are what the brain says of what it has done all the same.
func readWarnings(resp *http.Response) ([]string, error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	var said struct{ Warnings []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&said); err != nil {
		return nil, fmt.Errorf("read the brain's answer: %w", err)
	}
	return said.Warnings, nil
}

func writeWarnings(w io.Writer, warnings []string) error {
	for _, text := range warnings {
		if _, err := fmt.Fprintln(w, "! "+text); err != nil {
			return err
		}
	}
	return nil
}
