package proxmox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sentinel.home.arpa/shared/shutdown"
)

// Severity says what a finding means for the plan.
type Severity string

// The severities.
const (
	Note    Severity = "note"    // good to know
	Warning Severity = "warning" // the plan would run, but not as well as it should
	Refusal Severity = "refusal" // the plan must not be armed like this
)

// Subject is what a finding is about, where that decides what may be done all the same.
type Subject string

// The subjects.
const (
	AboutReach  Subject = "reach"             // whether a node answers
	AboutHA     Subject = "high-availability" // it is at work
	AboutUnseen Subject = "unseen"            // a question that was not answered
)

// Finding is what a check of a plan's machines brought to light.
type Finding struct {
	Severity Severity `json:"severity"`
	Subject  Subject  `json:"subject,omitempty"`
	Target   string   `json:"target"` // a node's or guest's name, or "token"
	Text     string   `json:"text"`   // one sentence: what is so, and what to do about it
}

// tokenItself is the Target of findings that are about no machine.
const tokenItself = "token"

// The privileges that a plan needs, as Proxmox names them, and Sys.Audit on "/", by which
// it is seen whether high availability is at work.
const (
	powerOfNode  = "Sys.PowerMgmt" // on /nodes/NODE
	powerOfGuest = "VM.PowerMgmt"  // on /vms/ID
	sightOfGuest = "VM.Audit"      // on /vms/ID; who lacks it is shown no guests
	sightOfAll   = "Sys.Audit"     // on /
)

// Check looks at every node of the plan, changes nothing, and says what would keep the plan
// from bringing them down: the gravest first, then in the plan's order. Each request has
// the client's deadline; nodes are asked at once, one request at a time each.
func (f *Fleet) Check(ctx context.Context) []Finding {
	checks := make([]*check, len(f.plan.Nodes))
	var wg sync.WaitGroup
	for i, n := range f.plan.Nodes {
		k := &check{fleet: f, node: f.nodes[n.Name]}
		checks[i] = k
		if err := f.unfit[n.Name]; err != nil {
			k.say(Refusal, n.Name, "%s", err)
			continue
		}
		k.named(n.API)
		wg.Go(func() { k.run(ctx) })
	}
	wg.Wait()
	var all []Finding
	guests, hidden := 0, false
	for _, k := range checks {
		guests, hidden = guests+len(k.guests), hidden || k.hidden
		for _, found := range k.found {
			if !slices.Contains(all, found) { // what is true of the cluster every node tells
				all = append(all, found)
			}
		}
	}
	all = append(all, unmatched(f.plan, checks)...)
	if hidden {
		all = append(all, hiddenGuests(guests))
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	return all
}

func (s Severity) rank() int { return slices.Index([]Severity{Refusal, Warning, Note}, s) }

// hiddenGuests is about a token that is not shown all guests. None at all is no plan.
func hiddenGuests(seen int) Finding {
	const advice = "give it to the token and to its user, with propagation"
	if seen == 0 {
		return Finding{Severity: Refusal, Target: tokenItself, Text: "the token is shown no guest at all, and lacks " + sightOfGuest + " on /vms; " + advice}
	}
	return Finding{Severity: Warning, Target: tokenItself, Text: fmt.Sprintf("the token lacks %s on /vms, so guests other than the %d that it is shown would not be shut down before their node; %s", sightOfGuest, seen, advice)}
}

// check is the check of one node.
type check struct {
	fleet  *Fleet
	node   *Client
	found  []Finding
	guests []Guest // that the node shows
	hidden bool    // there may be more
	listed bool    // it has shown them
}

// named warns of an address that must be resolved in the power cut.
func (k *check) named(api string) {
	name, is := nameOf(api)
	if !is {
		return
	}
	k.say(Warning, k.node.node, "the address of %s is a name, %s, and in a power cut whoever resolves it may be down, such as a router without a UPS, or a guest that the plan has shut down before; "+
		"write its IP address into the plan, https://<address>:8006, with its certificate's fingerprint:, which holds whatever the address, or the name and its address into /etc/hosts on the brain and each Pi", k.node.node, name)
}

func (k *check) say(s Severity, target, format string, args ...any) {
	k.found = append(k.found, Finding{Severity: s, Target: target, Text: fmt.Sprintf(format, args...)})
}

// unreached refuses a node that does not answer.
func (k *check) unreached(format string, args ...any) {
	k.found = append(k.found, Finding{Refusal, AboutReach, k.node.node, fmt.Sprintf(format, args...)})
}

// run goes on as long as the next question can be answered.
func (k *check) run(ctx context.Context) {
	leaf, ok := k.certificate(ctx)
	if !ok || !k.token(ctx) {
		return
	}
	k.highAvailability(ctx) // first: whoever arms the plan waits for a bounded time
	if !k.names(ctx, leaf) {
		return
	}
	k.rights(ctx)
	if slices.ContainsFunc(k.fleet.plan.Stages, func(s shutdown.Stage) bool { return s.HasGuests() }) {
		k.allGuests(ctx)
		k.choices(ctx)
	}
}

// token asks for what every valid token may see.
func (k *check) token(ctx context.Context) bool {
	_, err := k.node.get(ctx, "/version")
	var e *Error
	switch {
	case err == nil:
		return true
	case errors.As(err, &e) && e.Code == 401:
		k.say(Refusal, tokenItself, "%s", e)
	default:
		k.unreached("%s does not answer as Proxmox's API does: %s; look at pveproxy on it", k.node, err)
	}
	return false
}

// failed is about a question that was not answered.
func (k *check) failed(what string, err error) {
	k.unseen(k.node.node, "%s could not be seen on %s: %s", what, k.node.node, err)
}

func (k *check) unseen(target, format string, args ...any) {
	k.found = append(k.found, Finding{Warning, AboutUnseen, target, fmt.Sprintf(format, args...)})
}

// rights looks at the token's privileges: those that it lacks for the node, and those beyond
// what a plan needs.
func (k *check) rights(ctx context.Context) {
	path := "/nodes/" + k.node.node
	has, err := k.node.privileges(ctx, path)
	if err != nil {
		k.failed("the token's privileges", err)
		return
	}
	if !has[path][powerOfNode] {
		k.lacks(k.node.node, powerOfNode, path)
	}
	all, err := k.node.privileges(ctx, "")
	if err != nil {
		k.failed("the token's privileges", err)
		return
	}
	where := map[string]string{}
	for on, privs := range all {
		for priv := range privs {
			if !slices.Contains([]string{powerOfNode, powerOfGuest, sightOfGuest, sightOfAll}, priv) && (where[priv] == "" || on < where[priv]) {
				where[priv] = on
			}
		}
	}
	if len(where) == 0 {
		return
	}
	var beyond []string
	for priv, on := range where {
		beyond = append(beyond, priv+" on "+on)
	}
	slices.Sort(beyond)
	k.say(Warning, tokenItself, "the token may do more than a plan needs (%s); take that away from it, so that whoever steals it can only shut down", list(beyond))
}

func (k *check) lacks(target, priv, path string) {
	k.say(Refusal, target, "the token lacks %s on %s; give it to the token and to its user", priv, path)
}

// list joins words and keeps it short.
func list(words []string) string {
	const most = 8
	if len(words) > most {
		return strings.Join(words[:most], ", ") + fmt.Sprintf(" and %d more", len(words)-most)
	}
	return strings.Join(words, ", ")
}
