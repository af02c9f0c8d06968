package brain

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// TestR6_JournalOverHTTP: facts as lines of JSON, those that are asked for, the newest last.
func TestR6_JournalOverHTTP(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		h.nodes["pve2"].announce(wire.Reboot)
		found := func(query string) (lines []factLine) {
			h.Helper()
			code, text := h.request(http.MethodGet, "/api/v1/journal?"+query, nil, nil)
			if code != http.StatusOK {
				h.Fatalf("%s: answered %d %s", query, code, text)
			}
			for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
				var l factLine
				h.must(d.Decode(&l))
				if len(lines) > 0 && l.N <= lines[len(lines)-1].N || l.Fact == "" || l.Wall.IsZero() || !json.Valid(l.Body) {
					h.Errorf("%s: %+v", query, l)
				}
				lines = append(lines, l)
			}
			return lines
		}
		all := found("")
		if len(all) < 6 || all[0].Text != "the brain started; every silence is counted anew" || all[len(all)-1].Fact != "shutdown_announced" {
			h.Errorf("found %+v", all)
		}
		for query, n := range map[string]int{"limit=2": 2, "node=pve2": 2, "site=home&since=1s": 2, "site=cabin": 0, "until=2000-01-01T00:00": 0,
			"since=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)): 0, "incident=home-node-20000101T000000Z": 0} {
			if got := found(query); len(got) != n {
				h.Errorf("%s: %d facts, not %d: %+v", query, len(got), n, got)
			}
		}
		for _, query := range []string{"limit=0", "limit=x", "limit=100001", "since=yesterday", "until=2026-13-01", "nodes=pve1", "site=home&site=cabin", "node=%zz", "node=a;limit=1", "since=1h&until=2h", "since=" + strings.Repeat("x", 9999)} {
			code, text := h.request(http.MethodGet, "/api/v1/journal?"+query, nil, nil)
			var body courier.ErrorBody
			if err := json.Unmarshal([]byte(text), &body); err != nil || code != http.StatusBadRequest || body.Error == "" || len(text) > 300 {
				h.Errorf("%.40s: answered %d %.400s", query, code, text)
			}
		}
	})
}

// TestR2_SlowReaders: one who goes on reading gets all of it, however slowly; one who stops is
// not waited for, and gives the place free.
func TestR2_SlowReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stillBrain(t, stillConfig(t), new(time.Duration))
		defer s.Close()
		s.facts(800)
		sh := &shelf{s.Brain, make(chan struct{}, 1), make(chan struct{}, 1)}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		n := newMemnet()
		ln, err := n.listen("tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = daemon.Serve(ctx, ln, http.HandlerFunc(sh.search), "test") }()
		ask := func() net.Conn {
			conn, err := n.dial(ctx, "tcp", "127.0.0.1:80")
			if err == nil {
				_, err = io.WriteString(conn, "GET /api/v1/journal?limit=100000 HTTP/1.0\r\n\r\n")
			}
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		slow, began := ask(), time.Now()
		var all strings.Builder
		for part := make([]byte, 1000); ; rest(time.Second) {
			got, err := slow.Read(part)
			all.Write(part[:got])
			if err != nil {
				break
			}
		}
		if facts, took := strings.Count(all.String(), "\n{"), time.Since(began); facts != 800 || took < time.Minute {
			t.Errorf("in %s the slow one got %d facts", took, facts)
		}
		stuck := ask()
		defer stuck.Close()
		synctest.Wait()
		if len(sh.searches) != 1 {
			t.Fatal("it is not searched")
		}
		rest(factWithin + time.Second)
		if len(sh.searches) != 0 {
			t.Error("who does not read is waited for")
		}
	})
}

// TestR3_BackupOverHTTP gives a whole copy to an admin, and to nobody else.
func TestR3_BackupOverHTTP(t *testing.T) {
	in(t, func(h *home) { h.withPlan() }, func(h *home) {
		h.press("/api/v1/plan/arm")
		code, text := h.request(http.MethodGet, "/api/v1/backup", nil, nil)
		if code != http.StatusOK {
			h.Fatalf("answered %d %s", code, text)
		}
		file := filepath.Join(h.TempDir(), "copy.db")
		h.must(os.WriteFile(file, []byte(text), 0o600))
		if said, err := CheckJournal(h.Context(), file); err != nil || !strings.Contains(said, " facts until ") {
			h.Errorf("%q, %v", said, err)
		}
		if left, _ := filepath.Glob(filepath.Join(h.cfg.StateDir, copyName+"*")); len(left) > 0 {
			h.Errorf("left behind: %v", left)
		}
		if code, text := h.request(http.MethodGet, "/api/v1/backup", http.Header{"Sec-Fetch-Site": {"cross-site"}}, nil); code != http.StatusForbidden {
			h.Errorf("another site's page: answered %d %.100s", code, text)
		}
		for from, want := range map[string]int{"100.64.0.9:1234": http.StatusForbidden, "192.168.77.5:1": http.StatusForbidden, "127.0.0.1:9": http.StatusOK} {
			mux := http.NewServeMux()
			h.brain.archiveRoutes(mux)
			r := httptest.NewRequest(http.MethodGet, "http://localhost/api/v1/backup", nil)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != want || want == http.StatusOK && w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
				h.Errorf("from %s: answered %d with %d bytes", from, w.Code, w.Body.Len())
			}
		}
		h.again(func(path string) {
			h.must(os.WriteFile(filepath.Join(filepath.Dir(path), copyName+"x"), []byte("half"), 0o600))
		})
		if left, _ := filepath.Glob(filepath.Join(h.cfg.StateDir, copyName+"*")); len(left) > 0 {
			h.Errorf("what a killed process left is there still: %v", left)
		}
	})
}

// TestR2_OneCopyAndAFewSearchesAtOnce: the others are told to come again.
func TestR2_OneCopyAndAFewSearchesAtOnce(t *testing.T) {
	s := stillBrain(t, stillConfig(t), new(time.Duration))
	defer s.Close()
	sh := &shelf{s.Brain, make(chan struct{}, 1), make(chan struct{}, 1)}
	for _, tt := range []struct {
		places chan struct{}
		serve  http.HandlerFunc
		code   int
	}{{sh.searches, sh.search, http.StatusServiceUnavailable}, {sh.copies, sh.copy, http.StatusConflict}} {
		free, ok := takeOne(tt.places)
		if !ok {
			t.Fatal("no place is free")
		}
		w := httptest.NewRecorder()
		tt.serve(w, httptest.NewRequest(http.MethodGet, "/x", nil))
		free()
		if w.Code != tt.code || !strings.Contains(w.Body.String(), `"error":"`) {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
		w = httptest.NewRecorder()
		tt.serve(w, httptest.NewRequest(http.MethodGet, "/x", nil))
		if w.Code != http.StatusOK {
			t.Errorf("once it is free: answered %d %s", w.Code, w.Body)
		}
	}
}

// TestR3_NoCopyOnAFullDisk: facts need the room.
func TestR3_NoCopyOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := roomFor(dir); err != nil {
		t.Skipf("this disk is too full to test on, so that is NOT TESTED: %v", err)
	}
	f, err := os.Create(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 42); err != nil { // of which nothing is on the disk
		t.Fatal(err)
	}
	if err := roomFor(dir); err == nil || !strings.Contains(err.Error(), "has no room for a copy") {
		t.Errorf("answered with %v", err)
	}
}
