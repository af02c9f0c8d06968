package home

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Answered is who the brain says has answered for what goes on; empty: nobody, or it does not say.
func (h *Home) Answered(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.Page()+"/api/v1/status", nil)
	if err != nil {
		return ""
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "" // it has just been killed
	}
	defer resp.Body.Close()
	var v struct {
		Incidents []struct {
			Open     bool   `json:"open"`
			Answered string `json:"answered"`
		} `json:"incidents"`
	}
	if json.NewDecoder(resp.Body).Decode(&v) != nil || len(v.Incidents) != 1 || !v.Incidents[0].Open {
		return ""
	}
	return v.Incidents[0].Answered
}
