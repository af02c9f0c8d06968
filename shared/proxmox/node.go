package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// upidForm is a task's id: node, pid, pstart, start time, type, id, user. Any
// part but the id must be there.
var upidForm = regexp.MustCompile(`^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):[0-9A-Fa-f]{8}:[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8}:[^:\s/]+:[^:\s/]*:[^:\s/]+:$`)

// Task is the state of what a command started.
type Task struct {
	Running    bool
	ExitStatus string // Proxmox's words, "OK" or the cause; empty while it runs
	OK         bool   // it ended well, perhaps with warnings
}

// TaskStatus asks for the state of a task of this node.
func (c *Client) TaskStatus(ctx context.Context, upid string) (Task, error) {
	if nodeOf(upid) != c.node {
		return Task{}, fmt.Errorf("status of a task: %.80q is no task of %s", upid, c.node)
	}
	data, err := c.get(ctx, c.nodePath("/tasks/"+url.PathEscape(upid)+"/status"))
	if err != nil {
		return Task{}, fmt.Errorf("status of task %s: %w", upid, err)
	}
	t, err := parseTask(data)
	if err != nil {
		return Task{}, fmt.Errorf("status of task %s: %w", upid, err)
	}
	return t, nil
}

// isNoTask tells whether the node says that it does not know a task.
func isNoTask(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == http.StatusBadRequest && e.Fields["upid"] != ""
}

// ShutdownNode tells the node to power off. Nil means that Proxmox took the
// command, 2 s before anything happens, and is no evidence that the node goes
// down.
func (c *Client) ShutdownNode(ctx context.Context) error {
	if _, err := c.post(ctx, c.nodePath("/status"), map[string]any{"command": "shutdown"}); err != nil {
		return fmt.Errorf("shut down %s: %w", c.node, err)
	}
	return nil
}

// nodeOf is the node in a UPID, "" if upid is none.
func nodeOf(upid string) string {
	if m := upidForm.FindStringSubmatch(upid); m != nil {
		return m[1]
	}
	return ""
}

// parseUPID reads the answer to a command: a task of the given node.
func parseUPID(data []byte, node string) (string, error) {
	var upid string
	if err := json.Unmarshal(data, &upid); err != nil || nodeOf(upid) != node {
		return "", fmt.Errorf("the answer is no task of %s: %.80q", node, data)
	}
	return upid, nil
}

// parseTask reads a task's status. What neither runs nor tells how it ended did
// not end well.
func parseTask(data []byte) (Task, error) {
	var s struct {
		Status     loose `json:"status"`
		ExitStatus loose `json:"exitstatus"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Task{}, errors.New("the answer is no task status")
	}
	switch s.Status {
	case "running":
		return Task{Running: true}, nil
	case "stopped":
		exit := clean(string(s.ExitStatus), maxErrorReason, "")
		return Task{ExitStatus: exit, OK: exit == "OK" || strings.HasPrefix(exit, "WARNINGS: ")}, nil
	}
	return Task{}, fmt.Errorf("unknown status %.20q", string(s.Status))
}
