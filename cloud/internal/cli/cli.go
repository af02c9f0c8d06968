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
	"net/url"
	"time"
)

const (
	within    = 10 * time.Second
	maxAnswer = 64 << 10
	maxStatus = 16 << 20
)

// ErrBadNews is an answer that was written down, and that is not good.
var ErrBadNews = errors.New("the news is bad")

// refused is the brain's own no.
type refused struct {
	status int
	text   string
}

func (r *refused) Error() string { return r.text }

// ExitCode is what a verb that ended with err exits with: 0 for nil, 2 if it was asked
// for what cannot be, and 1 for all else.
func ExitCode(err error) int {
	var no *refused
	switch {
	case err == nil:
		return 0
	case errors.As(err, &no) && no.status == http.StatusBadRequest:
		return 2
	}
	return 1
}

// Operator talks to a running brain.
type Operator struct {
	Socket   string
	Patience time.Duration // with Pis that are to confirm; 0: 15 s
}

// Press does what a button of the page does, and returns once it is on the brain's disk.
func (o Operator) Press(path string) error { return o.do(http.MethodPost, path) }

func (o Operator) do(method, path string) error {
	resp, err := o.ask(method, path)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Approve lets a machine that waits speak under its name. key and site may be empty where
// there is only one.
func (o Operator) Approve(w io.Writer, name, key, site string) error {
	q := url.Values{}
	if key != "" {
		q.Set("key", key)
	}
	if site != "" {
		q.Set("site", site)
	}
	if err := o.Press("/api/v1/nodes/" + url.PathEscape(name) + "/approve?" + q.Encode()); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, name+" is let in, and is watched from its next heartbeat on.")
	return err
}

// stranger is what the brain's status says of a machine that waits.
type stranger struct {
	Name, Key, From, Why, Hold, Command string
	First                               time.Time `json:"first_seen"`
	Last                                time.Time `json:"last_seen"`
}

// Waiting writes down the machines that wait to be approved, and how each is.
func (o Operator) Waiting(w io.Writer) error {
	status, err := o.status()
	if err != nil {
		return err
	}
	if len(status.Waiting) == 0 {
		_, err := fmt.Fprintln(w, "Nobody waits to be approved.")
		return err
	}
	for _, s := range status.Waiting {
		how := s.Command
		if s.Hold != "" {
			how = s.Key + ": " + s.Hold
		}
		if _, err := fmt.Fprintf(w, "%s from %s, because %s; since %s, last at %s\n    %s\n", s.Name, s.From, s.Why,
			s.First.Format(time.DateTime), s.Last.Format(time.DateTime), how); err != nil {
			return err
		}
	}
	return nil
}

// ask sends a request. The caller closes what it gets, which is never bad news.
func (o Operator) ask(method, path string) (*http.Response, error) {
	return o.askWithin(within, method, path)
}

func (o Operator) askWithin(d time.Duration, method, path string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", o.Socket)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://brain"+path, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		cancel()
		if request := (*url.Error)(nil); errors.As(err, &request) { // whose address says nothing: the socket counts
			err = request.Err
		}
		return nil, fmt.Errorf("the brain cannot be reached; does it run, and are you root? %w", err)
	}
	resp.Body = &body{resp.Body, cancel}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var e struct{ Error, Hint string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&e); err != nil || e.Error == "" {
		return nil, fmt.Errorf("the brain answered %s", resp.Status)
	}
	if e.Hint != "" {
		e.Error += "; " + e.Hint
	}
	return nil, &refused{resp.StatusCode, e.Error}
}

// body ends the request's deadline with its answer.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
