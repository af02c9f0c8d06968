package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// confirmWithin is how long a verb waits for the Pis to say that they know: they beat each
	// second, and that a plan was disarmed counts 12 s after an armed one was sent at the earliest.
	confirmWithin = 15 * time.Second
	confirmEach   = 200 * time.Millisecond
)

// Arm lets the plan's commands out, or holds them back, and says what is so now. It ends
// with ErrBadNews if a Pi does not confirm it in time: until it does, the Pi may act on
// what it was told before (rule S10).
//
// What speaks against a plan that is to be armed is refused, or with force only said.
func (o Operator) Arm(w io.Writer, armed, force bool) error {
	if err := o.pressArm(w, armed, force); err != nil {
		return err
	}
	s, err := o.settled(func(x site) bool { return x.HasPlan && (x.ArmingUnknown || len(x.Unconfirmed) > 0) })
	if err != nil {
		return err
	}
	unconfirmed := false
	for _, site := range s.Sites {
		if !site.HasPlan {
			continue
		}
		text := "nothing is shut down in a power cut."
		if site.Armed {
			text = "a power cut really shuts machines down."
			if site.StoppedBy != "" {
				text = "the plan of this power cut stays stopped, and the next one really shuts machines down."
			}
		}
		if len(site.Unconfirmed) > 0 {
			unconfirmed = true
			text = "until then what was said before may hold."
		}
		if _, err := fmt.Fprintf(w, "%s: %s; %s\n", site.Name, site.plan(), text); err != nil {
			return err
		}
	}
	if unconfirmed {
		return ErrBadNews
	}
	return nil
}

// settled is the status once no site waits for anything, or as it is in the end.
func (o Operator) settled(waits func(x site) bool) (status, error) {
	for deadline := time.Now().Add(cmp.Or(o.Patience, confirmWithin)); ; time.Sleep(confirmEach) {
		s, err := o.status()
		if err != nil || !slices.ContainsFunc(s.Sites, waits) || time.Now().After(deadline) {
			return s, err
		}
	}
}

// Ack says that an incident is known.
func (o Operator) Ack(w io.Writer, id string) error {
	if err := o.Press("/api/v1/incidents/" + url.PathEscape(id) + "/ack"); err != nil {
		return err
	}
	var found struct{ Incident incident }
	if _, err := o.read("/api/v1/incidents/"+url.PathEscape(id), &found); err != nil {
		return err
	}
	text := "nobody is called about it unless it gets worse."
	if !found.Incident.Open {
		text = "and it is over."
	}
	_, err := fmt.Fprintf(w, "%s is known to %s; %s\n", id, found.Incident.Answered, text)
	return err
}

// Mute keeps a node's failures from calling anybody for so long; empty is the usual time.
func (o Operator) Mute(w io.Writer, node, howLong string) error {
	if err := o.Press(nodePath(node) + "/mute" + forQuery(howLong)); err != nil {
		return err
	}
	return o.say(w, node, func(src *source, at time.Time) string {
		return fmt.Sprintf("%s is muted until %s; it is still watched.", node, until(src.MutedUntil, at))
	})
}

// Unmute ends a mute.
func (o Operator) Unmute(w io.Writer, node string) error {
	if err := o.Press(nodePath(node) + "/unmute"); err != nil {
		return err
	}
	return o.say(w, node, func(*source, time.Time) string { return node + " is not muted; its failures call you." })
}

// PlanDismiss leaves something off that the plan shut down.
func (o Operator) PlanDismiss(w io.Writer, name, site string) error {
	query := url.Values{"name": {name}}
	if site != "" {
		query.Set("site", site)
	}
	if err := o.Press(planPath + "/dismiss?" + query.Encode()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s is left off; it is told of again once the plan shuts it down anew.\n", name)
	return err
}

// Maintain lets a node, or a whole site, come and go for so long, or ends that; isSite says
// that a name that both have is the site's.
func (o Operator) Maintain(w io.Writer, name, howLong string, isSite, end bool) error {
	path, isSite, err := o.nodeOrSite(name, isSite)
	if err != nil {
		return err
	}
	if end {
		return o.maintained(w, name, path)
	}
	if err := o.Press(path + "/maintain" + forQuery(howLong)); err != nil {
		return err
	}
	if !isSite {
		return o.say(w, name, func(src *source, at time.Time) string {
			return fmt.Sprintf("%s is in maintenance until %s; it may come and go.", name, until(src.MaintenanceUntil, at))
		})
	}
	s, err := o.status()
	if err != nil {
		return err
	}
	for _, site := range s.Sites {
		if site.Name == name {
			_, err := fmt.Fprintf(w, "%s is in maintenance until %s; its machines may come and go, and a power outage is still told.\n", name, until(site.MaintenanceUntil, s.At))
			return err
		}
	}
	return gone(name)
}

func (o Operator) maintained(w io.Writer, name, path string) error {
	if err := o.Press(path + "/maintained"); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, name+" is not in maintenance; what fails calls you.")
	return err
}

// Delete forgets a node until it is heard again.
func (o Operator) Delete(w io.Writer, node string) error {
	resp, err := o.ask(http.MethodDelete, nodePath(node))
	if err != nil {
		return err
	}
	warnings, err := readWarnings(resp)
	if err != nil {
		return err
	}
	s, err := o.status()
	if err != nil {
		return err
	}
	text := node + " is deleted; it comes back if it is heard again."
	if s.source(node) != nil {
		text = node + " was deleted, and is back: it is still heard."
	}
	if _, err = fmt.Fprintln(w, text); err != nil {
		return err
	}
	return writeWarnings(w, warnings)
}

// nodeOrSite is the path of what a name means.
func (o Operator) nodeOrSite(name string, isSite bool) (path string, ofSite bool, err error) {
	s, err := o.status()
	if err != nil {
		return "", false, err
	}
	named := slices.ContainsFunc(s.Sites, func(x site) bool { return x.Name == name })
	switch {
	case isSite || named && s.source(name) == nil:
		return "/api/v1/sites/" + url.PathEscape(name), true, nil
	case s.source(name) == nil:
		return "", false, fmt.Errorf("there is no node or site %q; `sentinel-cloud status` lists them", name)
	}
	return nodePath(name), false, nil
}

// say writes one line about a node as it stands now.
func (o Operator) say(w io.Writer, node string, text func(src *source, at time.Time) string) error {
	s, err := o.status()
	if err != nil {
		return err
	}
	src := s.source(node)
	if src == nil {
		return gone(node)
	}
	_, err = fmt.Fprintln(w, text(src, s.At))
	return err
}

func (s *status) source(name string) *source {
	for _, site := range s.Sites {
		for i := range site.Sources {
			if site.Sources[i].Name == name {
				return &site.Sources[i]
			}
		}
	}
	return nil
}

// Heard are the nodes and Pis that the running brain has heard; false if none runs.
func (o Operator) Heard() ([]string, bool) {
	s, err := o.status()
	if err != nil {
		return nil, false
	}
	var names []string
	for _, site := range s.Sites {
		for _, src := range site.Sources {
			if src.State != "pending" {
				names = append(names, src.Name)
			}
		}
	}
	return names, true
}

func gone(name string) error { return fmt.Errorf("%s is gone meanwhile", name) }

func nodePath(node string) string { return "/api/v1/nodes/" + url.PathEscape(node) }

func forQuery(howLong string) string {
	if howLong == "" {
		return ""
	}
	return "?for=" + url.QueryEscape(howLong)
}
