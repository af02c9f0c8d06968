package home

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Page is the address of the brain's page.
func (h *Home) Page() string { return "http://" + h.page }

// press presses one of the page's buttons.
func (h *Home) press(ctx context.Context, button string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.Page()+button, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", button, resp.Status)
	}
	return nil
}

// status reads what the page shows.
func (h *Home) status(ctx context.Context, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Page()+"/api/v1/status", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// Timeline is what the brain's page tells, the newest line first; empty if it cannot be
// asked.
func (h *Home) Timeline() string {
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Second)
	defer cancel()
	var v struct{ Timeline []struct{ Text string } }
	if err := h.status(ctx, &v); err != nil {
		return ""
	}
	var b strings.Builder
	for _, e := range v.Timeline {
		b.WriteString(e.Text + "\n")
	}
	return b.String()
}

// Stopped is who has stopped the plan, as the brain's page says, and which Pis have not said that they
// know of it; nobody, if it cannot be asked.
func (h *Home) Stopped() (by string, unconfirmed []string) {
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Second)
	defer cancel()
	var v struct {
		Sites []struct {
			StoppedBy       string   `json:"stopped_by"`
			StopUnconfirmed []string `json:"stop_unconfirmed_by"`
		}
	}
	if err := h.status(ctx, &v); err != nil || len(v.Sites) != 1 {
		return "", nil
	}
	return v.Sites[0].StoppedBy, v.Sites[0].StopUnconfirmed
}
