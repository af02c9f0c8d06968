package record

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	boot1 = "11111111-1111-4111-8111-111111111111"
	boot2 = "22222222-2222-4222-8222-222222222222"
)

// machine is a Pi's clocks and disk.
type machine struct {
	*testing.T
	dir  string
	boot string
	up   time.Duration
	wall time.Time
	set  bool
	log  bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	return &machine{T: t, dir: t.TempDir(), boot: boot1, up: time.Hour, wall: time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC), set: true}
}

// open is a process that is started.
func (m *machine) open() *Record {
	r := Open(m.dir, m.boot, func() time.Duration { return m.up }, slog.New(slog.NewTextHandler(&m.log, nil)))
	r.wall, r.clockSet = func() time.Time { return m.wall }, func() bool { return m.set }
	return r
}

func (m *machine) pass(d time.Duration) { m.up += d; m.wall = m.wall.Add(d) }

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(r *Record) {
	m.Helper()
	if err := r.write(); err != nil {
		m.Fatal(err)
	}
}

// said is how often the log has said something.
func (m *machine) said(what string) int { return strings.Count(m.log.String(), what) }

func (m *machine) owes(r *Record, want ...string) Batch {
	m.Helper()
	b := r.Owed()
	var got []string
	for _, e := range b.Entries {
		got = append(got, fmt.Sprintf("%s%s %v %v", e.UPS, e.Node, e.Heard, time.Duration(e.AgeMS)*time.Millisecond))
	}
	if !slices.Equal(got, want) {
		m.Errorf("owed %q, want %q", got, want)
	}
	return b
}

func node(name string, heard bool) wire.Noted { return wire.Noted{Node: name, Heard: heard} }

func onBattery(transfers int) wire.Noted {
	return wire.Noted{UPS: "ups", Reading: &power.Reading{Status: power.Status{Flags: power.OnBattery, Transfers: &transfers}, Supply: power.Battery}}
}

// TestN7_WhatNobodyHeardOfInTimeIsOwed: what a brain heard live is not history.
func TestN7_WhatNobodyHeardOfInTimeIsOwed(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	told := r.Note(onBattery(1))
	m.pass(liveWithin)
	r.Told(told)
	late := r.Note(node("pve1", false))
	untold := r.Note(node("pve2", false))
	m.pass(liveWithin - time.Millisecond)
	m.owes(r) // it may still be told live
	m.pass(time.Second)
	r.Told(late)
	b := m.owes(r, "pve1 false 5.999s", "pve2 false 5.999s")
	if b.Left != 0 || !slices.Equal(b.Numbers, []int64{late, untold}) {
		t.Errorf("%+v", b)
	}
	r.Delivered(late)
	m.owes(r, "pve2 false 5.999s")
	r.Delivered(untold)
	m.owes(r)
	if n := r.Pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}
}

// TestN7_TheRecordOutlivesAKill: what is written is owed still, and what was delivered is
// not; without its cursor the lines tell most of it.
func TestN7_TheRecordOutlivesAKill(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	first := r.Note(node("pve1", false))
	m.write(r)
	m.pass(time.Minute)
	r.Delivered(first)
	m.write(r)
	r.Note(onBattery(1))
	r.Remark("for people")
	r.Note(node("pve1", true))
	m.write(r)
	r.Note(node("pve2", true)) // is in memory alone
	m.pass(time.Minute)

	m.owes(m.open(), "ups false 1m0s", "pve1 true 1m0s")
	if err := os.Remove(m.path(cursorFile)); err != nil {
		t.Fatal(err)
	}
	again := m.open()
	m.owes(again, "ups false 1m0s", "pve1 true 1m0s")
	if n := again.Note(node("pve3", true)); n != 5 {
		t.Errorf("the next line is %d", n)
	}
	if m.log.Len() > 0 {
		t.Errorf("it says %s", m.log.String())
	}
}

// TestN7_AgesAcrossAReboot: within a boot exact, across one by the wall clock, once that is
// set, and as it was set last.
func TestN7_AgesAcrossAReboot(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	right := m.wall
	m.wall = right.Add(-50 * time.Hour) // as the last shutdown left it
	r.Note(node("pve1", false))
	m.pass(10 * time.Second)
	m.wall = right.Add(10 * time.Second) // now it is set
	r.Note(node("pve1", true))
	m.write(r)

	m.boot, m.up, m.set = boot2, 30*time.Second, false
	m.wall = right.Add(5 * time.Minute)
	r = m.open()
	if b := m.owes(r); !b.Unsure {
		t.Error("it goes by a clock that may not be set")
	}
	m.set = true
	b := m.owes(r, "pve1 false 5m0s", "pve1 true 4m50s")
	if b.Unsure {
		t.Error("it is not sure")
	}
	if b.Entries[0].AtLeast || b.Entries[1].AtLeast {
		t.Error("the ages are not sure")
	}
}

// TestN7_SevenDays: older than that is not sent, and the files are bounded.
func TestN7_SevenDays(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	for range 60 {
		r.Note(node("pve1", false))
		m.write(r)
		m.pass(12 * time.Hour)
	}
	if b := r.Owed(); len(b.Entries) != 14 {
		t.Errorf("%d are owed", len(b.Entries))
	}
	lines := m.open().read()
	if age := lines[len(lines)-1].SinceBoot - lines[0].SinceBoot; age < wire.RecordKept || age > 2*wire.RecordKept+12*time.Hour {
		t.Errorf("the first line on disk is %s older than the last", age)
	}
}

// TestN7_TheDiskIsBounded: two files of 2 MiB, the oldest lines go first; memory likewise.
func TestN7_TheDiskIsBounded(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	for i := range 22_000 {
		r.Note(onBattery(i))
		if i%100 == 99 {
			m.write(r)
		}
	}
	r.Close()
	total := int64(0)
	for _, name := range []string{newFile, oldFile} {
		info, err := os.Stat(m.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if total += info.Size(); info.Size() > fileMost {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
	}
	m.pass(time.Minute)
	for name, r := range map[string]*Record{"the process": r, "the next": m.open()} {
		if r.bytes > heldMost || total < fileMost {
			t.Errorf("%s holds %d bytes of %d on disk", name, r.bytes, total)
		}
		b := r.Owed()
		if left := len(b.Entries) + b.Left; left != r.Pending() || len(b.Entries) != wire.MaxNoted || *r.held[len(r.held)-1].Of.Reading.Transfers != 21_999 {
			t.Errorf("%s: %d entries and %d left of %d", name, len(b.Entries), b.Left, r.Pending())
		}
	}
	if m.said("the oldest go") != 1 {
		t.Error("that is not said once")
	}
}

// A batch fits into a message, whatever a UPS says of itself.
func TestN7_ABatchFits(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	for range 200 {
		e := onBattery(7)
		e.Reading.LastTransfer, e.Reading.SelfTest = strings.Repeat("<€>", 33), strings.Repeat("&", 100)
		r.Note(e)
	}
	m.pass(time.Minute)
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for {
		b := r.Owed()
		if len(b.Entries) == 0 {
			break
		}
		msg := wire.Record{Header: wire.Header{V: 1, Node: "pi", Boot: boot1, Seq: 1}, Entries: b.Entries, Left: b.Left}
		if _, err := wire.Seal(wire.KindRecord, msg, key); err != nil || msg.Validate() != nil {
			t.Fatal(err, msg.Validate())
		}
		if sent += len(b.Entries); b.Left != 200-sent {
			t.Errorf("%d left after %d", b.Left, sent)
		}
		r.Delivered(b.Numbers...)
	}
	if sent != 200 {
		t.Errorf("%d were sent", sent)
	}
}

// TestN7_BrokenFilesAreSkipped: what can be read is, it is said once, and what follows is
// not lost.
func TestN7_BrokenFilesAreSkipped(t *testing.T) {
	whole := func(m *machine) []byte {
		r := m.open()
		r.Note(node("pve1", false))
		r.Note(node("pve2", false))
		m.write(r)
		data, err := os.ReadFile(m.path(newFile))
		if err != nil {
			m.Fatal(err)
		}
		return data
	}
	for name, c := range map[string]struct {
		file  string
		spoil func(good []byte) []byte
		says  string
		owed  []string
	}{
		"a torn tail":     {newFile, func(g []byte) []byte { return g[:len(g)-9] }, "broken lines", []string{"pve1 false 1m0s", "after true 6s"}},
		"no line's end":   {newFile, func(g []byte) []byte { return g[:len(g)-1] }, "", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"garbage between": {newFile, func(g []byte) []byte { return append([]byte("\x00\xff\n{\"n\":-1}\n[]\n"), g...) }, "broken lines", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"a line twice":    {newFile, func(g []byte) []byte { return append(g, g...) }, "", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"10 MB":           {newFile, func([]byte) []byte { return bytes.Repeat([]byte("x"), 10<<20) }, "broken lines", []string{"after true 6s"}},
		"10 MB before it": {newFile, func(g []byte) []byte { return append(bytes.Repeat([]byte("x"), 10<<20), append([]byte("\n"), g...)...) }, "broken lines", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"empty":           {newFile, func([]byte) []byte { return nil }, "", []string{"after true 6s"}},
		"cursor garbage":  {cursorFile, func([]byte) []byte { return []byte("\x00\xff") }, "cursor is unreadable", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"cursor a text":   {cursorFile, func([]byte) []byte { return []byte(`{"delivered":"x"}`) }, "cursor is unreadable", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"cursor 2^62":     {cursorFile, func([]byte) []byte { return []byte(`{"delivered":4611686018427387904}`) }, "cursor is unreadable", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"cursor's spans":  {cursorFile, func([]byte) []byte { return []byte(`{"delivered":1,"also":[[3,2]]}`) }, "cursor is unreadable", []string{"pve1 false 1m0s", "pve2 false 1m0s", "after true 6s"}},
		"cursor ahead":    {cursorFile, func([]byte) []byte { return []byte(`{"delivered":1000}`) }, "", []string{"after true 6s"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if err := os.WriteFile(m.path(c.file), c.spoil(whole(m)), 0o600); err != nil {
				t.Fatal(err)
			}
			m.pass(54 * time.Second)
			r := m.open()
			r.Note(node("after", true))
			m.write(r)
			m.pass(6 * time.Second)
			for _, r := range []*Record{r, m.open()} {
				m.owes(r, c.owed...)
			}
			if c.says != "" && m.said(c.says) == 0 || c.says == "" && m.log.Len() > 0 {
				t.Errorf("it says %q", m.log.String())
			}
		})
	}
}

// TestR3_ADiskThatTakesNothingHoldsUpNobody: the record goes on in memory, and on disk once
// there is room.
func TestR3_ADiskThatTakesNothingHoldsUpNobody(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{newFile, cursorFile} {
		if err := os.MkdirAll(m.path(name+"/in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r := m.open()
	for range 3 {
		r.Note(node("pve1", false))
		if r.write() == nil {
			t.Error("a directory was written to")
		}
	}
	if n := m.said("record not written"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
	m.pass(time.Minute)
	if b := r.Owed(); len(b.Entries) != 3 {
		t.Errorf("owed %+v", b)
	}
	for _, name := range []string{newFile, cursorFile} {
		if err := os.RemoveAll(m.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	m.write(r)
	if b := m.open().Owed(); len(b.Entries) != 3 {
		t.Errorf("owed after a restart: %+v", b)
	}
}

// What cannot be is not noted, so that nothing blocks what follows it.
func TestU6_WhatCannotBeIsNotNoted(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	bad := onBattery(1)
	bad.Reading.For = -1
	for _, e := range []wire.Noted{bad, {}, {Node: "no name"}, {Node: "pve1", UPS: "ups"}} {
		if n := r.Note(e); n != 0 {
			t.Errorf("%+v is line %d", e, n)
		}
	}
	if r.Pending() != 0 || m.said("not noted") != 4 {
		t.Errorf("%d are pending; %s", r.Pending(), m.log.String())
	}
}

// TestN7_ItIsWrittenAtOnce, and what is left at the end.
func TestN7_ItIsWrittenAtOnce(t *testing.T) {
	m := newMachine(t)
	r := m.open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	r.Note(node("pve1", false))
	deadline := time.After(5 * time.Second)
	for tick := time.NewTicker(time.Millisecond); ; {
		if data, _ := os.ReadFile(m.path(newFile)); bytes.HasSuffix(data, []byte("}\n")) {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it is not on disk")
		}
	}
	cancel()
	<-done
	r.Note(node("pve1", true))
	r.Close()
	m.pass(time.Minute)
	m.owes(m.open(), "pve1 false 1m0s", "pve1 true 1m0s")
}

// FuzzOpen: whatever lies in the files, the Pi starts, sends nothing that cannot be, and
// goes on.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"n":1,"boot":"b","since_boot_ns":1,"wall":"2026-11-21T19:00:00Z","of":{"age_ms":0,"node":"pve1"}}`+"\n"), []byte(`{"delivered":0}`))
	f.Add([]byte(`{"n":9007199254740993}`+"\n{}"), []byte(`{"delivered":-1}`))
	f.Add([]byte("\n\n\x00"), []byte(""))
	f.Fuzz(func(t *testing.T, lines, cursor []byte) {
		m := newMachine(t)
		if err := os.WriteFile(m.path(newFile), lines, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.path(cursorFile), cursor, 0o600); err != nil {
			t.Fatal(err)
		}
		r := m.open()
		n := r.Note(node("pve1", true))
		m.write(r)
		m.pass(time.Minute)
		msg := wire.Record{Header: wire.Header{V: 1, Node: "pi", Boot: boot1, Seq: 1}, Entries: r.Owed().Entries}
		if err := msg.Validate(); err != nil {
			t.Error(err)
		}
		again := m.open()
		if again.last < n {
			t.Errorf("line %d is forgotten, the last is %d", n, again.last)
		}
	})
}
