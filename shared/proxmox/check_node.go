package proxmox

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/shared/shutdown"
)

const (
	day = 24 * time.Hour
	// Proxmox renews its own certificates two weeks before they end, and those by ACME a
	// month before; with them a pinned fingerprint changes.
	pinEnds   = 45 * day
	trustEnds = 14 * day
)

// certificate connects to the node and judges what it shows. It reports whether the node
// can be talked to.
func (k *check) certificate(ctx context.Context) (*x509.Certificate, bool) {
	leaf, err := k.node.leaf(ctx)
	var pin *PinError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pin):
		k.say(Refusal, k.node.node, "%s shows a certificate with the fingerprint %s, and %s is pinned; if you know that it was renewed, write the new one into the plan", k.node, pin.Got, pin.Want)
		return nil, false
	case errors.As(err, &verify):
		k.say(Refusal, k.node.node, "%s shows a certificate that no CA of this system vouches for (%s); pin its fingerprint in the plan", k.node, verify.Err)
		return nil, false
	case err != nil:
		k.unreached("%s is not reached: %s; check its address, and that it is up", k.node, err)
		return nil, false
	}
	left := time.Until(leaf.NotAfter)
	lasts := lasts(left)
	switch {
	case k.node.pinned && left <= 0:
		k.say(Warning, k.node.node, "the pinned certificate of %s %s; renew it, and pin the new fingerprint", k.node, lasts)
	case k.node.pinned && left < pinEnds:
		k.say(Warning, k.node.node, "the pinned certificate of %s %s, and Proxmox renews it before that; pin the new fingerprint then, or the plan no longer reaches it", k.node, lasts)
	case k.node.pinned:
		k.say(Note, k.node.node, "%s shows the pinned certificate, which %s", k.node, lasts)
	case left < trustEnds:
		k.say(Warning, k.node.node, "the certificate of %s %s, and after that the plan no longer reaches it; renew it, or pin its fingerprint", k.node, lasts)
	default:
		k.say(Note, k.node.node, "%s shows a certificate that a CA of this system vouches for, which %s", k.node, lasts)
	}
	return leaf, true
}

// lasts says how long a certificate is valid yet.
func lasts(left time.Duration) string {
	switch days := int(left.Abs() / day); {
	case days == 0 && left > 0:
		return "ends within a day"
	case days == 0:
		return "has ended within the last day"
	case left < 0:
		return "ended " + countDays(days) + " ago"
	default:
		return "is valid for " + moreDays(days)
	}
}

func countDays(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

func moreDays(n int) string {
	if n == 1 {
		return "1 more day"
	}
	return fmt.Sprintf("%d more days", n)
}

// leaf is the certificate that the node shows, if it is the right one.
func (c *Client) leaf(ctx context.Context) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	verify := c.transport.TLSClientConfig.Clone()
	if verify.ServerName, _, err = net.SplitHostPort(c.addr); err != nil {
		return nil, err
	}
	secured := tls.Client(conn, verify)
	if err := secured.HandshakeContext(ctx); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = &silenceError{err}
		}
		return nil, err
	}
	return secured.ConnectionState().PeerCertificates[0], nil
}

// privileges are the token's by path: on one path, or on all that Proxmox lists.
func (c *Client) privileges(ctx context.Context, path string) (map[string]map[string]bool, error) {
	query := "/access/permissions"
	if path != "" {
		query += "?path=" + url.QueryEscape(path)
	}
	data, err := c.get(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("ask for the token's privileges: %w", err)
	}
	var told map[string]map[string]json.RawMessage // the value says whether it propagates
	if err := json.Unmarshal(data, &told); err != nil || told == nil {
		return nil, errors.New("ask for the token's privileges: the answer is no list of them")
	}
	all := map[string]map[string]bool{}
	for on, privs := range told {
		all[on] = map[string]bool{}
		for priv := range privs {
			all[on][priv] = true
		}
	}
	return all, nil
}

// names looks for the node in its own cluster, and whether its address is another one's. It
// reports whether the name is right, as far as can be seen.
func (k *check) names(ctx context.Context, leaf *x509.Certificate) bool {
	data, err := k.node.get(ctx, "/nodes")
	var nodes []struct {
		Node        loose `json:"node"`
		Fingerprint loose `json:"ssl_fingerprint"`
	}
	if err == nil && (json.Unmarshal(data, &nodes) != nil || len(nodes) == 0) {
		err = errors.New("the answer is no list of nodes")
	}
	if err != nil {
		k.failed("the cluster's nodes", err)
		return true
	}
	sum := sha256.Sum256(leaf.Raw)
	shown := formatFingerprint(sum[:])
	by := map[string]string{}
	var names []string
	for _, n := range nodes {
		by[string(n.Node)] = string(n.Fingerprint)
		names = append(names, string(n.Node))
	}
	slices.Sort(names)
	name := k.node.node
	own, known := by[name]
	if !known {
		k.say(Refusal, name, "the cluster at %s has no node called %s but %s; write the name as Proxmox has it", k.node.addr, name, list(names))
		return false
	}
	for _, other := range names {
		if own != "" && own != shown && by[other] == shown {
			k.say(Refusal, name, "the address %s is that of %s; write %s's own, since what is forwarded fails when the other is down", k.node.addr, other, name)
		}
		if _, planned := k.fleet.plan.Node(other); !planned {
			k.say(Note, other, "%s is in the cluster and not in the plan; it stays up, and without a quorum once most of the others are down", other)
		}
	}
	return true
}

// allGuests looks at the guests that the node shows: whether they can be shut down.
func (k *check) allGuests(ctx context.Context) {
	guests, err := k.node.Guests(ctx)
	if err != nil {
		k.failed("the guests", err)
		return
	}
	all, err := k.node.privileges(ctx, "/vms")
	if err != nil {
		k.failed("the token's privileges", err)
		return
	}
	k.hidden = !all["/vms"][sightOfGuest]
	k.guests, k.listed = guests, true
	var powerless []string
	for _, g := range guests {
		if g.Template {
			continue
		}
		if g.Lock != "" {
			k.say(Warning, g.said(), "%s is locked (%s) and refuses to be shut down while it is; if nothing works on it any more, run \"%s unlock %d\" on %s", g.said(), g.Lock, g.tool(), g.VMID, g.Node)
		}
		path := fmt.Sprintf("/vms/%d", g.VMID)
		has, err := k.node.privileges(ctx, path)
		if err != nil {
			k.failed("the token's privileges", err)
			return
		}
		if !has[path][powerOfGuest] {
			powerless = append(powerless, path)
		}
	}
	if len(powerless) > 0 {
		k.lacks(k.node.node, powerOfGuest, list(powerless))
	}
}

// said is how a person calls the guest.
func (g Guest) said() string {
	return shutdown.Target{Kind: shutdown.Guest, VMID: g.VMID, Name: g.Name}.Said()
}

// tool is the command on the node that manages the guest.
func (g Guest) tool() string {
	if g.Type == LXC {
		return "pct"
	}
	return "qm"
}

// highAvailability looks for guests that would be started again elsewhere, and for watchdogs
// that would reset nodes without a quorum.
func (k *check) highAvailability(ctx context.Context) {
	data, err := k.node.get(ctx, "/cluster/ha/status/current")
	var e *Error
	if errors.As(err, &e) {
		if priv, path := e.Missing(); priv != "" {
			k.unseen(tokenItself, "the token lacks %s on %s, so only the guests themselves tell whether high availability manages them, and a watchdog of a node is not seen; give it to the token and to its user", priv, path)
			k.managedGuests(ctx)
			return
		}
	}
	var entries []haEntry
	if err == nil && json.Unmarshal(data, &entries) != nil {
		err = errors.New("the answer is no status")
	}
	if err != nil {
		k.unknownHA(err)
		return
	}
	if active := activeHA(entries); active != "" {
		k.refuseHA(active)
	}
}

func (k *check) refuseHA(active string) {
	k.found = append(k.found, Finding{Refusal, AboutHA, "cluster", fmt.Sprintf("high availability is at work (%s): it would start guests again elsewhere, and reset nodes that lose the quorum; take the guests out of it, or disarm it, before this plan is armed", active)})
}

// unknownHA refuses a node that does not tell whether high availability is at work: it may be.
func (k *check) unknownHA(err error) {
	k.say(Refusal, k.node.node, "whether high availability is at work could not be seen on %s: %s; it would start guests again elsewhere, and reset nodes that lose the quorum", k.node.node, err)
}

// managedGuests asks the node's guests themselves, which takes no more than to see them.
func (k *check) managedGuests(ctx context.Context) {
	guests, err := k.allShown(ctx)
	if err != nil {
		k.unknownHA(err)
		return
	}
	var managed []string
	for _, g := range guests {
		path, err := k.node.guestPath(g, "current")
		if err == nil {
			var data json.RawMessage
			if data, err = k.node.get(ctx, path); err == nil && isManaged(data) {
				managed = append(managed, g.said())
			}
		}
		if err != nil {
			k.unknownHA(err)
			return
		}
	}
	if len(managed) > 0 {
		k.refuseHA(list(managed))
	}
}

// allShown are the node's guests, if the token is shown all of them.
func (k *check) allShown(ctx context.Context) ([]Guest, error) {
	has, err := k.node.privileges(ctx, "/vms")
	if err != nil {
		return nil, err
	}
	if !has["/vms"][sightOfGuest] {
		return nil, fmt.Errorf("the token also lacks %s on /vms", sightOfGuest)
	}
	return k.node.Guests(ctx)
}

// isManaged reads from a guest's status whether high availability manages it.
func isManaged(data []byte) bool {
	var s struct {
		HA struct {
			Managed loose `json:"managed"`
		} `json:"ha"`
	}
	return json.Unmarshal(data, &s) == nil && s.HA.Managed.truth()
}

// haEntry is one line of the manager's status.
type haEntry struct {
	Type   loose `json:"type"`
	SID    loose `json:"sid"`
	Status loose `json:"status"`
	Armed  loose `json:"armed-state"`
}

// activeHA names what high availability guards, "" if nothing.
func activeHA(entries []haEntry) string {
	var guarded []string
	for _, e := range entries {
		switch {
		case e.Type == "fencing" && e.Armed == "disarmed":
			return ""
		case e.Type == "service":
			guarded = append(guarded, clean(string(e.SID), 64, ""))
		case e.Type == "lrm" && strings.Contains(string(e.Status), "(active"):
			guarded = append(guarded, "watchdog of "+clean(strings.SplitN(string(e.Status), " ", 2)[0], 64, ""))
		}
	}
	return list(guarded)
}
