package brain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sentinel.home.arpa/cloud/internal/journal"
	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/config"
	"sentinel.home.arpa/shared/courier"
)

const (
	// searchWithin bounds a search of the journal with the way of its answer to whoever asked,
	// and factWithin each fact's way alone: who stops reading is not waited for.
	searchWithin = 5 * time.Minute
	factWithin   = 10 * time.Second
	// searchesAtOnce is how many may go on.
	searchesAtOnce = 4
	foundUsually   = 1000
	foundMost      = 100_000
	// copyWithin bounds the making of a copy, and its way to whoever asked.
	copyWithin = 10 * time.Minute
	// roomLeft is what a copy must leave free on the disk, for facts.
	roomLeft = 64 << 20
	// copyName begins the name of a copy on its way; one that a killed process left is
	// removed at the next start.
	copyName = "copy-of-journal-"
)

// shelf serves what the journal keeps. It never waits for the loop, nor the loop for it.
type shelf struct {
	*Brain
	searches chan struct{}
	copies   chan struct{}
}

func (b *Brain) archiveRoutes(mux *http.ServeMux) {
	s := &shelf{b, make(chan struct{}, searchesAtOnce), make(chan struct{}, 1)}
	mux.HandleFunc("GET /api/v1/journal", s.search)
	mux.HandleFunc("GET /api/v1/backup", b.admin(http.HandlerFunc(s.copy)))
}

// takeOne takes one of a few places, if one is free.
func takeOne(places chan struct{}) (free func(), ok bool) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, true
	default:
		return nil, false
	}
}

// factLine is a fact as the API gives it.
type factLine struct {
	N    int64           `json:"n"`
	Wall time.Time       `json:"wall"`
	Fact string          `json:"fact"`
	Text string          `json:"text"`
	Body json.RawMessage `json:"body"`
}

func (s *shelf) search(w http.ResponseWriter, r *http.Request) {
	q, err := parameters(r, "site", "node", "incident", "since", "until", "limit")
	if err != nil {
		courier.Fail(w, err)
		return
	}
	filter, err := s.filter(q)
	if err != nil {
		courier.Fail(w, &courier.Fault{Status: http.StatusBadRequest, Reason: "malformed", Err: err})
		return
	}
	free, ok := takeOne(s.searches)
	if !ok {
		courier.Fail(w, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: errSearched})
		return
	}
	defer free()
	ctx, cancel := context.WithTimeout(r.Context(), searchWithin)
	defer cancel()
	begun := false
	out, way := json.NewEncoder(w), http.NewResponseController(w)
	out.SetEscapeHTML(false)
	_ = way.SetWriteDeadline(time.Now().Add(searchWithin + factWithin)) // the first may be long in coming
	err = s.journal.Find(ctx, filter, func(f journal.Found) error {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Header().Set("Cache-Control", "no-store")
		}
		begun = true
		_ = way.SetWriteDeadline(time.Now().Add(factWithin)) // without it the server's own holds
		site := filter.Site
		if f.Fact != nil {
			site = sentinel.SiteOf(f.Fact)
		}
		return out.Encode(factLine{f.N, f.Wall.In(s.zone(site)), f.Name, f.Sentence(), f.Body})
	})
	_ = way.SetWriteDeadline(time.Now().Add(factWithin))
	switch {
	case err == nil && !begun:
		w.Header().Set("Content-Type", "application/x-ndjson")
	case err != nil && !begun:
		courier.Fail(w, &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: err})
	case err != nil:
		s.log.Warn("a search of the journal broke off", "err", err)
		panic(http.ErrAbortHandler) // so that half an answer does not pass for the whole
	}
}

var errSearched = errors.New("the journal is being searched by several others; try again in a moment")

// filter reads the query of a search.
func (s *shelf) filter(q url.Values) (journal.Filter, error) {
	f := journal.Filter{Site: q.Get("site"), Node: q.Get("node"), Incident: q.Get("incident"), Limit: foundUsually}
	var err error
	if text := q.Get("limit"); text != "" {
		switch f.Limit, err = strconv.Atoi(text); {
		case err != nil || f.Limit < 1:
			return f, fmt.Errorf("limit: %.40q is no number from 1 to %d", text, foundMost)
		case f.Limit > foundMost:
			return f, fmt.Errorf("limit: %d facts at once are too many, %d are the most; say since, until, node or incident", f.Limit, foundMost)
		}
	}
	now, zone := s.machine.wall(), s.zone(f.Site)
	for name, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if text := q.Get(name); text != "" {
			if *into, err = momentOf(text, now, zone); err != nil {
				return f, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if !f.Until.IsZero() && f.Until.Before(f.Since) {
		return f, errors.New("until is before since")
	}
	return f, nil
}

// momentOf reads a moment: so long ago, or a time of the wall clock.
func momentOf(text string, now time.Time, zone *time.Location) (time.Time, error) {
	var ago config.Duration
	if ago.UnmarshalText([]byte(text)) == nil {
		return now.Add(-ago.Std()), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(form, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time; write how long ago, such as 24h or 14d, or when, such as 2026-11-21T19:00", text)
}

// copy hands out a consistent copy of the journal.
func (s *shelf) copy(w http.ResponseWriter, r *http.Request) {
	free, ok := takeOne(s.copies)
	if !ok {
		courier.Fail(w, &courier.Fault{Status: http.StatusConflict, Reason: "busy", Err: errors.New("a copy is being made already")})
		return
	}
	defer free()
	until := time.Now().Add(copyWithin)
	_ = http.NewResponseController(w).SetWriteDeadline(until) // without it a slow reader gets half, and sees that
	ctx, cancel := context.WithDeadline(r.Context(), until)
	defer cancel()
	f, size, err := s.makeCopy(ctx)
	if err != nil {
		s.log.Error("the journal was not copied", "err", err)
		var no *courier.Fault
		if !errors.As(err, &no) {
			no = &courier.Fault{Status: http.StatusServiceUnavailable, Reason: "busy", Err: err}
		}
		courier.Fail(w, no)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/vnd.sqlite3")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.Copy(w, f) // the reader may be gone
}

// makeCopy makes a copy that has no name any more once it is open.
func (s *shelf) makeCopy(ctx context.Context) (f *os.File, size int64, err error) {
	dir := s.cfg().StateDir
	if err := roomFor(dir); err != nil {
		return nil, 0, err
	}
	path := filepath.Join(dir, copyName+strconv.FormatInt(time.Now().UnixNano(), 36))
	if err := s.journal.Copy(ctx, path); err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	if f, err = os.Open(path); err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// roomFor refuses a copy that would leave no room for facts.
func roomFor(dir string) error {
	var need int64
	for _, end := range []string{"", "-wal"} {
		if info, err := os.Stat(filepath.Join(dir, journalFile+end)); err == nil {
			need += info.Size()
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("look for room on the disk: %w", err)
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < need+roomLeft {
		return &courier.Fault{Status: http.StatusInsufficientStorage, Reason: "no-room",
			Err: fmt.Errorf("the disk of %s has no room for a copy: it takes up to %d MB and must leave %d MB", dir, need>>20+1, roomLeft>>20)}
	}
	return nil
}

// dropCopies removes what a killed process left of copies.
func dropCopies(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, copyName+"*"))
	for _, path := range left {
		_ = os.Remove(path) // or with the next start
	}
}
