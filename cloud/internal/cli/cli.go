// Package cli is the operator's verbs: requests to the running brain over its control
// socket, never over its files.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	within    = 10 * time.Second
	maxAnswer = 64 << 10
)

// Operator talks to a running brain.
type Operator struct{ Socket string }

// Press does what a button of the page does, and returns once it is on the brain's disk.
func (o Operator) Press(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", o.Socket)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://brain"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("reach the brain; does it run, and are you root? %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 {
		return nil
	}
	var e struct{ Error, Hint string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&e); err != nil || e.Error == "" {
		return fmt.Errorf("the brain answered %s", resp.Status)
	}
	if e.Hint != "" {
		return fmt.Errorf("%s; %s", e.Error, e.Hint)
	}
	return errors.New(e.Error)
}
