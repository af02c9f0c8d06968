package stages

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Plan is what a lab's plan says: guests first, then each stage of nodes.
type Plan struct {
	Guests       int
	GuestsWithin time.Duration
	Stages       [][]string
	NodesWithin  time.Duration // each
}

// Nodes are all of them.
func (p Plan) Nodes() []string { return slices.Concat(p.Stages...) }

// Sum is the sum of the deadlines.
func (p Plan) Sum() time.Duration {
	return p.GuestsWithin + time.Duration(len(p.Stages))*p.NodesWithin
}

// Order demands that nothing outside the plan was told, and nothing before its stage: no node
// while a guest ran and the guests' deadline had not passed, and none while a node of an
// earlier stage was up and that one's had not.
func (r *Record) Order(p Plan) (broken []string) {
	first := map[string]time.Duration{} // when each node was told; "" is the first of all
	for _, c := range r.Downs() {
		if _, any := first[""]; !any {
			first[""] = c.At
		}
		if !c.Node {
			continue
		}
		if !slices.Contains(p.Nodes(), c.Target) {
			broken = append(broken, fmt.Sprintf("%s is not of the plan and was told at %.1f s", c.Target, c.At.Seconds()))
			continue
		}
		if _, again := first[c.Target]; !again {
			first[c.Target] = c.At
		}
		if c.Run > 0 && c.At < first[""]+p.GuestsWithin {
			broken = append(broken, fmt.Sprintf("%s was told at %.1f s while %d guests ran", c.Target, c.At.Seconds(), c.Run))
		}
		broken = append(broken, r.early(p, c, first)...)
	}
	for _, c := range r.Commands {
		if !c.Down() && c.Verb != "start" {
			broken = append(broken, fmt.Sprintf("%s was told to %s at %.1f s", c.Target, c.Verb, c.At.Seconds()))
		}
	}
	return broken
}

// early finds nodes of earlier stages that were still up.
func (r *Record) early(p Plan, c Command, first map[string]time.Duration) (broken []string) {
	for _, stage := range p.Stages {
		if slices.Contains(stage, c.Target) {
			break
		}
		var begun time.Duration
		for _, n := range stage {
			if at, told := first[n]; told && (begun == 0 || at < begun) {
				begun = at
			}
		}
		for _, n := range stage {
			if !r.Off(n, c.At) && (begun == 0 || c.At < begun+p.NodesWithin) {
				broken = append(broken, fmt.Sprintf("%s was told at %.1f s while %s was up", c.Target, c.At.Seconds(), n))
			}
		}
	}
	return broken
}

// AfterMains are the shutdown commands that came so long after the UPS had been read on mains,
// or later.
func (r *Record) AfterMains(allowed time.Duration) (late []string) {
	if r.Mains == 0 {
		return nil
	}
	for _, c := range r.Downs() {
		if c.At > r.Mains+allowed {
			late = append(late, fmt.Sprintf("%s was told to %s by %s %.3f s after the UPS was read on mains", c.Target, c.Verb, c.By, (c.At-r.Mains).Seconds()))
		}
	}
	return late
}

// Repeats are targets that were told again after Proxmox had accepted it, with how often. Of
// those, hurt are the ones that had come back meanwhile: that is no repeat but a second
// shutdown.
func (r *Record) Repeats() (again map[string]int, hurt []string) {
	again = map[string]int{}
	accepted := map[string]time.Duration{}
	started := map[string]time.Duration{}
	for _, c := range r.Commands {
		if c.Status != 200 {
			continue
		}
		if !c.Down() {
			started[c.Target] = c.At
			continue
		}
		before, told := accepted[c.Target]
		accepted[c.Target] = c.At
		if !told {
			continue
		}
		again[c.Target]++
		back := started[c.Target] > before
		for _, on := range r.Ons[c.Target] {
			back = back || on > before && on <= c.At
		}
		if back {
			hurt = append(hurt, fmt.Sprintf("%s was told again at %.1f s, after it had come back", c.Target, c.At.Seconds()))
		}
	}
	return again, hurt
}

// Untold are what of the plan was never told with success: nodes by name, guests by number.
func (r *Record) Untold(p Plan) (left []string) {
	told := map[string]bool{}
	guests := 0
	for _, c := range r.Downs() {
		if c.Status != 200 || told[c.Target] {
			continue
		}
		told[c.Target] = true
		if !c.Node {
			guests++
		}
	}
	if guests < p.Guests {
		left = append(left, fmt.Sprintf("%d guests", p.Guests-guests))
	}
	for _, n := range p.Nodes() {
		if !told[n] {
			left = append(left, n)
		}
	}
	return left
}

// LastOff is when the last of the plan's nodes went off; false if one is on.
func (r *Record) LastOff(p Plan, at time.Duration) (time.Duration, bool) {
	var last time.Duration
	for _, n := range p.Nodes() {
		if !r.Off(n, at) {
			return 0, false
		}
		last = max(last, slices.Max(r.Offs[n]))
	}
	return last, true
}

// By counts the shutdown commands of each sender.
func (r *Record) By() string {
	n := map[string]int{}
	for _, c := range r.Downs() {
		n[c.By]++
	}
	text := ""
	for _, who := range slices.Sorted(maps.Keys(n)) {
		text += fmt.Sprintf("%s %d ", who, n[who])
	}
	return text
}
