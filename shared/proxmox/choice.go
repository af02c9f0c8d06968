package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

// poolsWithin bounds how long a listing is held up by the question for the guests' pools, which
// a whole cluster has to answer.
const poolsWithin = 2500 * time.Millisecond

// ownTimesWithin bounds how long a listing is held up by the question what the guests' own
// configurations give their shutdown.
const ownTimesWithin = 1500 * time.Millisecond

// guestKey is a guest by its place: its number alone may be that of another host's.
type guestKey struct {
	node string
	vmid int
}

func keyOf(t shutdown.Target) guestKey { return guestKey{t.Node, t.VMID} }

// noGuestForm is how Proxmox says that a node has no such guest, or has it no more.
var noGuestForm = regexp.MustCompile(`^(Configuration file '[^']*' does not exist|unable to find configuration file for (VM|CT) \d+)`)

// isNoGuest tells whether the node says that it has no such guest.
func isNoGuest(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == http.StatusInternalServerError && noGuestForm.MatchString(e.Reason)
}

// goneFrom has an error say in the plan's words that the node has the guest no more.
func goneFrom(err error) error {
	if isNoGuest(err) {
		return fmt.Errorf("%w (%w)", shutdown.ErrMoved, err)
	}
	return err
}

// Pools gives the pool of each guest of the node's cluster that is in one, by its number. It is
// read from the list of resources, where whoever may see a guest sees its pool: what a pool
// itself would tell takes one more privilege.
func (c *Client) Pools(ctx context.Context) (map[int]string, error) {
	data, err := c.get(ctx, "/cluster/resources?type=vm")
	if err != nil {
		return nil, fmt.Errorf("ask %s for the guests' pools: %w", c.node, err)
	}
	var rows []struct {
		VMID loose `json:"vmid"`
		Pool loose `json:"pool"`
	}
	if err := json.Unmarshal(data, &rows); err != nil || rows == nil {
		return nil, fmt.Errorf("ask %s for the guests' pools: the answer is no list of guests", c.node)
	}
	pools := map[int]string{}
	for _, r := range rows {
		if id, err := strconv.Atoi(string(r.VMID)); err == nil && r.Pool != "" {
			pools[id] = string(r.Pool)
		}
	}
	return pools, nil
}

// GuestDown is how long a guest's own configuration ("startup: down=90") gives its shutdown;
// 0: it does not say.
func (c *Client) GuestDown(ctx context.Context, g Guest) (time.Duration, error) {
	data, err := c.get(ctx, c.nodePath(fmt.Sprintf("/%s/%d/config", g.Type, g.VMID)))
	if err != nil {
		return 0, fmt.Errorf("configuration of %s on %s: %w", g.label(), c.node, err)
	}
	var s struct {
		Startup loose `json:"startup"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return 0, fmt.Errorf("configuration of %s on %s: the answer is none", g.label(), c.node)
	}
	for part := range strings.SplitSeq(string(s.Startup), ",") {
		if text, ok := strings.CutPrefix(strings.TrimSpace(part), "down="); ok {
			seconds, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return 0, fmt.Errorf("configuration of %s on %s: down=%.20q is no time", g.label(), c.node, text)
			}
			return time.Duration(seconds) * time.Second, nil
		}
	}
	return 0, nil
}

// describe adds to the guests found on a node what the plan's stages go by.
func (f *Fleet) describe(ctx context.Context, c *Client, ts []shutdown.Target) {
	if f.plan.Pools() {
		f.pools(ctx, c, ts)
	}
	if slices.ContainsFunc(f.plan.Stages, func(s shutdown.Stage) bool { return s.HasGuests() && s.Timeout == 0 }) {
		f.ownTimes(ctx, c, ts)
	}
}

// pools adds the guests' pools. Without them the guests are taken by what else is known of them,
// by a stage of all guests, or with their node: that one question keeps nobody up.
func (f *Fleet) pools(ctx context.Context, c *Client, ts []shutdown.Target) {
	ctx, cancel := context.WithTimeout(ctx, poolsWithin)
	defer cancel()
	pools, err := c.Pools(ctx)
	if err != nil {
		if f.PoolsUnread != nil {
			f.PoolsUnread(c.node, err)
		}
		return
	}
	for i := range ts {
		ts[i].Pool = pools[ts[i].VMID]
	}
}

// ownTimes adds what the guests' own configurations give their shutdown, each asked for once.
// What is not answered in time is not known, and all that is left is given.
func (f *Fleet) ownTimes(ctx context.Context, c *Client, ts []shutdown.Target) {
	ctx, cancel := context.WithTimeout(ctx, ownTimesWithin)
	defer cancel()
	for i := range ts {
		if ctx.Err() != nil {
			return
		}
		ts[i].Down = f.ownTime(ctx, c, ts[i])
	}
}

func (f *Fleet) ownTime(ctx context.Context, c *Client, t shutdown.Target) time.Duration {
	f.mu.Lock()
	down, known := f.downs[keyOf(t)]
	f.mu.Unlock()
	if known {
		return down
	}
	down, err := c.GuestDown(ctx, guest(t))
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.downs[keyOf(t)] = down
	}
	return down
}

// choices reads what the stages' choices go by, of the guests that the node has shown.
func (k *check) choices(ctx context.Context) {
	if !k.fleet.plan.Pools() {
		return
	}
	pools, err := k.node.Pools(ctx)
	if err != nil {
		k.unseen(k.node.node, "the guests' pools could not be seen on %s: %s; while that is so, guests that only their pool chooses go with the stage of all guests, if there is one, or else with their node", k.node.node, err)
		k.listed = false
		return
	}
	for i := range k.guests {
		k.guests[i].Pool = pools[k.guests[i].VMID]
	}
}

// unmatched says which words of the plan's stages choose no guest at all: most often a slip of
// the pen. Where a node's guests were not seen, nothing is said.
func unmatched(plan shutdown.Plan, checks []*check) (found []Finding) {
	var all []shutdown.Target
	for _, k := range checks {
		if !k.listed || k.hidden {
			return nil
		}
		for _, g := range k.guests {
			if !g.Template {
				all = append(all, shutdown.Target{VMID: g.VMID, Tags: g.Tags, Pool: g.Pool})
			}
		}
	}
	for i, s := range plan.Stages {
		if s.Guests == nil {
			continue
		}
		for _, word := range s.Guests.Words() {
			if !slices.ContainsFunc(all, word.Takes) {
				found = append(found, Finding{Severity: Warning, Target: "plan", Text: fmt.Sprintf("stage %d takes %s, and no guest is; correct the stage, or the guests that it means", i+1, word.Said())})
			}
		}
	}
	return found
}
