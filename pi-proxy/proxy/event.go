package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// eventWithin bounds how long apcupsd's script waits for the Pi.
const eventWithin = time.Second

// TellEvent tells the running Pi of an event of apcupsd.
func TellEvent(socket, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), eventWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pi/event/"+url.PathEscape(name), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("tell the Pi of %s; does it run? %w", name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("tell the Pi of %s: it answered %s", name, resp.Status)
	}
	return nil
}
