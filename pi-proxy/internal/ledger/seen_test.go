package ledger_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/pi-proxy/internal/ledger"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

func TestA7_WhatWasSeenIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	if s, err := l.Seen(); s != nil || err != nil {
		t.Errorf("without a file got %v, %v; want neither", s, err)
	}
	want := ledger.Seen{Moment: daemon.Moment{At: at, Wall: at, Boot: "b", SinceBoot: time.Hour},
		Marks:    []wire.Mark{{Node: "pve1", Boot: "1", Kind: wire.KindHeartbeat, Seq: 7}},
		Ways:     []wire.Way{{Node: "pve1", Boot: "1", Before: 1, Now: -2, Since: time.Minute}},
		Connects: []wire.Mark{{Node: "brain", Boot: "2", Kind: wire.KindConnect, Seq: 9}}}
	for _, seq := range []int64{7, 8} { // the second replaces the first
		want.Marks[0].Seq = seq
		if err := l.SetSeen(want); err != nil {
			t.Fatal(err)
		}
		got, err := open(t, dir).Seen()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Error(diff)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "seen.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want 0600", info.Mode(), err)
	}
}

func TestSeenBroken(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "torn": `{"marks":[`, "zeros": "\x00\x00", "of another type": `{"marks":7}`,
		"without a moment": `{}`, "huge": `{"moment":{"boot":"b"},"marks":[` + strings.Repeat(" ", 8<<20) + `]}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "seen.json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			l := open(t, dir)
			if s, err := l.Seen(); s != nil || err == nil || !strings.HasPrefix(err.Error(), "read what was seen: ") {
				t.Errorf("got %v, %v", s, err)
			}
			if err := l.SetSeen(ledger.Seen{Moment: daemon.Moment{Boot: "b"}}); err != nil {
				t.Error(err)
			}
			if s, err := l.Seen(); s == nil || err != nil {
				t.Errorf("replaced, it gives %v, %v", s, err)
			}
		})
	}
}

func TestSeenIsBounded(t *testing.T) {
	l := open(t, t.TempDir())
	huge := ledger.Seen{Moment: daemon.Moment{Boot: "b"}, Marks: make([]wire.Mark, 300_000)}
	if err := l.SetSeen(huge); err == nil || !strings.Contains(err.Error(), "over the limit") {
		t.Errorf("got %v", err)
	}
	if s, err := l.Seen(); s != nil || err != nil {
		t.Errorf("it has left a file: %v", err)
	}
}
