package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// eventWithin bounds how long apcupsd's script waits for the Pi.
	eventWithin = time.Second
	// maxReason bounds what is read of why the Pi says no.
	maxReason = 1024
)

// TellEvent tells the running Pi of an event of apcupsd. An error for doshutdown means that
// apcupsd must shut the Pi down by itself; a Pi that is being restarted is waited for.
func TellEvent(socket, name string) error {
	within := eventWithin
	if name == doShutdown {
		within = tripWithin + eventWithin
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for {
		err := tellEvent(ctx, socket, name)
		var unreached *net.OpError
		if name != doShutdown || !errors.As(err, &unreached) || unreached.Op != "dial" {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(tripAgain):
		}
	}
}

func tellEvent(ctx context.Context, socket, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pi/event/"+url.PathEscape(name), nil)
	if err != nil {
		return err
	}
	resp, err := overControl(socket).Do(req)
	if err != nil {
		return fmt.Errorf("tell the Pi of %s; does it run? %w", name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason))
		return fmt.Errorf("tell the Pi of %s: it answered %s: %s", name, resp.Status, strings.TrimSpace(string(why)))
	}
	return nil
}

// overControl speaks to the running Pi.
func overControl(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
}
