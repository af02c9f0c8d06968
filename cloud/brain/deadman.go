package brain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

const (
	pingWithin = 10 * time.Second
	// pingsInVain are so many, one after the other, before anybody is told.
	pingsInVain = 3
	// turnedWithin is how long ago the loop may have turned last: it does each second.
	turnedWithin = 10 * time.Second
)

// watched tells the outside at an interval that the brain lives, for as long as its loop turns
// and its journal is written: whoever misses that says so, which the brain itself could not.
func (b *Brain) watched(ctx context.Context) error {
	vain, said := 0, false // whether the loop knows how it stands: an earlier process may have told otherwise
	for {
		every := b.cfg().Deadman.Every.Std()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
		url := b.set.Load().deadman
		if url == "" || !b.alive() {
			continue
		}
		in := sentinel.Pinged{}
		if err := b.ping(ctx, url); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if vain++; vain < pingsInVain {
				continue
			}
			in.Why, said = err.Error(), false
		} else if vain = 0; said {
			continue
		}
		if err := b.submit(ctx, in); err != nil && ctx.Err() == nil {
			b.log.Error("input lost", "input", "Pinged", "err", err)
			continue
		}
		said = in.Why == ""
	}
}

// alive reports whether the loop turns and the journal is written.
func (b *Brain) alive() bool {
	v := b.view.Load()
	return v != nil && !v.unsaved && b.clock.Now().Sub(v.at) < turnedWithin
}

// ping asks for an address. Its errors never name it: it is a secret.
func (b *Brain) ping(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("its address cannot be used") // checked when it was read
	}
	client := &http.Client{Transport: b.machine.outside, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("it does not answer within %s", pingWithin)
	case err != nil:
		return errors.New("no connection comes about")
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // what it says is of no use
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}
