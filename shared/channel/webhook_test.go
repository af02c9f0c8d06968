package channel

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/shared/sim/hooksim"
)

func hook(t *testing.T) (*hooksim.Receiver, *Webhook) {
	t.Helper()
	sim := &hooksim.Receiver{}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	s, err := NewWebhook(server.URL+"/"+someSecret, "shared "+someSecret, nil, func() time.Time { return outage().At.Add(time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	return sim, s
}

// TestC5_Webhook gets all of a notice, signed.
func TestC5_Webhook(t *testing.T) {
	sim, s := hook(t)
	if err := s.Send(t.Context(), outage()); err != nil {
		t.Fatal(err)
	}
	got := sim.Got()
	if len(got) != 1 || got[0].Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%+v", got)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(got[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	m := outage()
	for key, want := range map[string]any{"id": m.ID, "kind": m.Kind, "severity": m.Severity, "site": m.Site, "incident": m.Incident, "over": false, "subject": m.Subject, "text": m.Text, "at": "2026-11-21T19:02:16Z"} {
		if body[key] != want {
			t.Errorf("%s is %v, not %v", key, body[key], want)
		}
	}
	if len(body) != 9 {
		t.Errorf("%v", body)
	}
	// An implementation of its own, from the documentation's words.
	stamp, signature, ok := strings.Cut(got[0].Header.Get("Sentinel-Signature"), ", ")
	unix := strings.TrimPrefix(stamp, "t=")
	mac := hmac.New(sha256.New, []byte("shared "+someSecret))
	io.WriteString(mac, unix+"."+got[0].Body)
	if seconds, err := strconv.ParseInt(unix, 10, 64); !ok || err != nil || seconds != m.At.Add(time.Minute).Unix() || signature != "v1="+hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("%s; %s", stamp, signature)
	}
}

// TestC7_WhatAWebhookAnswers: 2xx is yes, 4xx no for good but for 408, 425 and 429, all else is tried again.
func TestC7_WhatAWebhookAnswers(t *testing.T) {
	for status := 200; status < 600; status++ {
		if status == 204 || status == 205 || status == 304 || http.StatusText(status) == "" {
			continue // without a body
		}
		network := &answer{status: status, body: `{"error":"the secret is ` + someSecret + `"}`}
		s, err := NewWebhook("https://hooks.example.org/"+someSecret, "x", network, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Send(t.Context(), outage())
		again := status/100 != 4 || status == 408 || status == 425 || status == 429
		switch {
		case status/100 == 2 && err != nil, status/100 != 2 && errors.Is(err, ErrTemporary) != again, status/100 != 2 && errors.Is(err, ErrPermanent) == again:
			t.Errorf("%d: %v", status, err)
		case err != nil && strings.Contains(err.Error(), someSecret):
			t.Errorf("%d: %q holds the secret", status, err)
		}
	}
	sim, s := hook(t)
	sim.Always(307)
	if err := s.Send(t.Context(), outage()); !errors.Is(err, ErrTemporary) || len(sim.Got()) != 1 {
		t.Errorf("a redirect was followed: %v, %d requests", err, len(sim.Got()))
	}
	sim.Always(hooksim.Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, outage()); !errors.Is(err, ErrTemporary) || !strings.HasPrefix(err.Error(), "webhook at 127.0.0.1:") {
		t.Error(err)
	}
	for _, wrong := range []string{"", "hooks.example.org/" + someSecret, "ftp://" + someSecret, "https:///" + someSecret, "https://x/%zz" + someSecret} {
		if _, err := NewWebhook(wrong, "x", nil, time.Now); err == nil || strings.Contains(err.Error(), someSecret) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
