package proxmox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// GuestType is the part of the API that a guest belongs to.
type GuestType string

// The types of guests.
const (
	QEMU GuestType = "qemu" // virtual machines
	LXC  GuestType = "lxc"  // containers
)

// Guest is a virtual machine or container as its node lists it.
type Guest struct {
	Node     string
	VMID     int
	Type     GuestType
	Name     string // empty if it has none
	Running  bool   // everything but "stopped": what is unclear is to be shut down, too
	Tags     []string
	Pool     string // not in its node's list: whoever needs it asks Pools
	Lock     string // "backup", "migrate"...: the guest refuses to be shut down; empty if free
	Template bool
}

// Guests lists the node's virtual machines and containers. Proxmox filters what
// the token may not see (VM.Audit) without a word: an empty list may mean that.
// One unusable entry is an error, since a guest that is left out would be left
// running.
func (c *Client) Guests(ctx context.Context) ([]Guest, error) {
	var all []Guest
	for _, t := range []GuestType{QEMU, LXC} {
		data, err := c.get(ctx, c.nodePath("/"+string(t)))
		if err != nil {
			return nil, fmt.Errorf("list %s guests of %s: %w", t, c.node, err)
		}
		guests, err := parseGuests(data, c.node, t)
		if err != nil {
			return nil, fmt.Errorf("list %s guests of %s: %w", t, c.node, err)
		}
		all = append(all, guests...)
	}
	return all, nil
}

// GuestRunning asks for a guest's live status.
func (c *Client) GuestRunning(ctx context.Context, g Guest) (bool, error) {
	path, err := c.guestPath(g, "current")
	if err != nil {
		return false, fmt.Errorf("status of %s: %w", g.label(), err)
	}
	data, err := c.get(ctx, path)
	if err != nil {
		return false, fmt.Errorf("status of %s on %s: %w", g.label(), c.node, err)
	}
	running, err := parseRunning(data)
	if err != nil {
		return false, fmt.Errorf("status of %s on %s: %w", g.label(), c.node, err)
	}
	return running, nil
}

// ShutdownGuest asks a guest to stop and has Proxmox force it after timeout,
// which is rounded up to seconds. The task whose UPID is returned ends then; a
// guest with a lock makes it fail.
func (c *Client) ShutdownGuest(ctx context.Context, g Guest, timeout time.Duration) (upid string, err error) {
	seconds := int64(math.Ceil(timeout.Seconds()))
	if seconds < 1 { // Proxmox would kill the guest at once
		return "", fmt.Errorf("shut down %s on %s: timeout %s is no time", g.label(), c.node, timeout)
	}
	upid, err = c.guestTask(ctx, g, "shutdown", map[string]any{"timeout": seconds, "forceStop": 1})
	if err != nil {
		return "", fmt.Errorf("shut down %s on %s: %w", g.label(), c.node, err)
	}
	return upid, nil
}

// StopGuest cuts a guest's power, also while a shutdown of it hangs.
func (c *Client) StopGuest(ctx context.Context, g Guest) (upid string, err error) {
	const overrule = "overrule-shutdown"
	upid, err = c.guestTask(ctx, g, "stop", map[string]any{overrule: 1})
	var e *Error
	if errors.As(err, &e) && e.Code == http.StatusBadRequest && e.Fields[overrule] != "" {
		// Before 8.1, and for guests under HA, the parameter is refused.
		upid, err = c.guestTask(ctx, g, "stop", map[string]any{})
	}
	if err != nil {
		return "", fmt.Errorf("stop %s on %s: %w", g.label(), c.node, err)
	}
	return upid, nil
}

// StartGuest starts a guest; without a quorum Proxmox refuses.
func (c *Client) StartGuest(ctx context.Context, g Guest) (upid string, err error) {
	upid, err = c.guestTask(ctx, g, "start", map[string]any{})
	if err != nil {
		return "", fmt.Errorf("start %s on %s: %w", g.label(), c.node, err)
	}
	return upid, nil
}

// guestTask posts a guest command and requires a task of this node as answer.
func (c *Client) guestTask(ctx context.Context, g Guest, verb string, params map[string]any) (string, error) {
	path, err := c.guestPath(g, verb)
	if err != nil {
		return "", err
	}
	data, err := c.post(ctx, path, params)
	if err != nil {
		return "", err
	}
	return parseUPID(data, c.node)
}

func (c *Client) guestPath(g Guest, verb string) (string, error) {
	switch {
	case g.Node != c.node:
		return "", fmt.Errorf("it is on %q, not on %s", g.Node, c.node)
	case g.Type != QEMU && g.Type != LXC:
		return "", fmt.Errorf("unknown type %q", g.Type)
	case g.VMID < minVMID || g.VMID > maxVMID:
		return "", errors.New("its id is out of range")
	}
	return c.nodePath(fmt.Sprintf("/%s/%d/status/%s", g.Type, g.VMID, verb)), nil
}

// label is "qemu/100", for messages.
func (g Guest) label() string { return fmt.Sprintf("%s/%d", g.Type, g.VMID) }

// Limits of guest ids, as documented.
const (
	minVMID = 100
	maxVMID = 999999999
)

// parseGuests reads a list of guests and only the fields that are needed.
func parseGuests(data []byte, node string, t GuestType) ([]Guest, error) {
	var rows []struct {
		VMID     loose `json:"vmid"`
		Status   loose `json:"status"`
		Name     loose `json:"name"`
		Tags     loose `json:"tags"`
		Lock     loose `json:"lock"`
		Template loose `json:"template"`
	}
	if err := json.Unmarshal(data, &rows); err != nil || rows == nil {
		return nil, errors.New("the answer is no list of guests")
	}
	guests := make([]Guest, 0, len(rows))
	for _, r := range rows {
		id, err := strconv.Atoi(string(r.VMID))
		if err != nil || id < minVMID || id > maxVMID {
			return nil, fmt.Errorf("an entry has the id %.20q", string(r.VMID))
		}
		if r.Status == "" {
			return nil, fmt.Errorf("guest %d has no status", id)
		}
		guests = append(guests, Guest{
			Node: node, VMID: id, Type: t, Name: string(r.Name), Running: r.Status != "stopped",
			Tags: strings.FieldsFunc(string(r.Tags), func(c rune) bool { return strings.ContainsRune(";, ", c) }),
			Lock: string(r.Lock), Template: r.Template.truth(),
		})
	}
	return guests, nil
}

// parseRunning reads a guest's status, which is one of two words.
func parseRunning(data []byte) (bool, error) {
	var s struct {
		Status loose `json:"status"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return false, errors.New("the answer is no status")
	}
	switch s.Status {
	case "running":
		return true, nil
	case "stopped":
		return false, nil
	}
	return false, fmt.Errorf("unknown status %.20q", string(s.Status))
}

// loose is a field that Perl may have written as a string, a number or a
// boolean, kept as text. Null, lists and objects count as absent.
type loose string

func (l *loose) UnmarshalJSON(b []byte) error {
	*l = ""
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] == '[' || b[0] == '{' || string(b) == "null" {
		return nil
	}
	if b[0] != '"' {
		*l = loose(b)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*l = loose(s)
	return nil
}

func (l loose) truth() bool { return l == "1" || l == "true" }
