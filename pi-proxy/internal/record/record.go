package record

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/shared/wire"
)

const (
	// LiveWithin is how soon after it was noted a brain must have heard of something in
	// another way for it not to be sent. Later it is history, and the story lacks nothing.
	LiveWithin = 5 * time.Second
	// heldMost bounds what waits for a brain, in bytes of lines; unwrittenMost what waits
	// for the disk.
	heldMost      = 4 << 20
	unwrittenMost = 1 << 20
	// batchMost is how many bytes of entries one message carries: well under what may
	// cross, and little on a slow line, on which what is urgent goes at the same time.
	batchMost = 40 << 10
	// clockSetBy is how long after a boot the wall clock is set for sure, if it ever is.
	clockSetBy = 5 * time.Minute
)

// line is an entry as it lies on disk.
type line struct {
	N         int64         `json:"n"`              // counts the lines, from 1
	Told      int64         `json:"told,omitempty"` // the cursor when it was written
	Boot      string        `json:"boot"`
	SinceBoot time.Duration `json:"since_boot_ns"`
	Wall      time.Time     `json:"wall"`
	Of        *wire.Noted   `json:"of,omitempty"`
	Remark    string        `json:"remark,omitempty"` // for people; not sent
}

// held is a line that waits for a brain.
type held struct {
	line
	size int
}

// Record is safe for concurrent use.
type Record struct {
	dir  string
	boot string
	log  *slog.Logger
	// SinceBoot is CLOCK_BOOTTIME, Wall the wall clock, ClockSet whether that was set since
	// the boot. They may be replaced before anything is noted.
	SinceBoot func() time.Duration
	Wall      func() time.Time
	ClockSet  func() bool

	mu        sync.Mutex
	held      []held // the oldest first
	bytes     int    // of held
	last      int64  // the newest line
	began     map[string]time.Time
	unwritten []line
	waiting   int  // bytes of unwritten, about
	dropped   bool // said that the oldest go
	wake      chan struct{}

	disk disk // the writer's
}

// syncedFile is there once systemd-timesyncd has set the clock since the boot.
const syncedFile = "/run/systemd/timesync/synchronized"

// Open reads what an earlier process left. What is broken is said once and left out.
func Open(dir, boot string, sinceBoot func() time.Duration, log *slog.Logger) *Record {
	r := &Record{dir: dir, boot: boot, log: log, SinceBoot: sinceBoot, Wall: time.Now, began: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	r.ClockSet = func() bool { _, err := os.Stat(syncedFile); return err == nil || r.SinceBoot() > clockSetBy }
	lines := r.read()
	told := r.readCursor(lines)
	r.last, r.disk.cursor = told, told
	for _, l := range lines {
		r.last = max(r.last, l.N)
		r.began[l.Boot] = l.Wall.Add(-l.SinceBoot) // the newest is the best
		if l.N > told && l.Of != nil {
			r.hold(l)
		}
	}
	return r
}

// Note notes an entry as of now, and returns its number for Told; 0 if it cannot be. It
// waits for nothing.
func (r *Record) Note(of wire.Noted) int64 {
	of.AgeMS = 0
	if err := of.Validate(); err != nil {
		r.log.Error("not noted in the record", "ups", of.UPS, "node", of.Node, "err", err)
		return 0
	}
	return r.add(line{Of: &of})
}

// Remark notes something for people who read the file.
func (r *Record) Remark(text string) { r.add(line{Remark: text}) }

func (r *Record) add(l line) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	l.N, l.Boot, l.SinceBoot, l.Wall = r.last, r.boot, r.SinceBoot(), r.Wall().Round(0)
	size := sizeOf(l)
	if l.Of != nil {
		r.hold(l)
	}
	r.unwritten = append(r.unwritten, l)
	r.waiting += size
	for r.waiting > unwrittenMost {
		r.waiting -= sizeOf(r.unwritten[0])
		r.unwritten = r.unwritten[1:]
	}
	r.stir()
	return l.N
}

func sizeOf(l line) int {
	data, err := json.Marshal(l)
	if err != nil {
		return 0 // validated: every number in it can be written
	}
	return len(data) + 1
}

func (r *Record) hold(l line) {
	h := held{l, sizeOf(l)}
	r.held = append(r.held, h)
	r.bytes += h.size
	for r.bytes > heldMost {
		if !r.dropped {
			r.log.Error("the record holds more than can wait for a brain, the oldest go", "entries", len(r.held))
			r.dropped = true
		}
		r.forget(0)
	}
}

func (r *Record) forget(i int) {
	r.bytes -= r.held[i].size
	if i == 0 { // as a rule, and there may be thousands behind it
		r.held = r.held[1:]
		return
	}
	r.held = slices.Delete(r.held, i, i+1)
}

// stir has the writer look.
func (r *Record) stir() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Told notes that a brain has just heard of entries in another way, if it is soon enough:
// they are not sent.
func (r *Record) Told(ns ...int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.SinceBoot()
	r.let(ns, func(h held) bool { return h.Boot == r.boot && now-h.SinceBoot <= LiveWithin })
}

// Delivered lets entries go that a brain has taken.
func (r *Record) Delivered(ns ...int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.let(ns, func(held) bool { return true })
	r.dropped = false
}

func (r *Record) let(ns []int64, which func(held) bool) {
	for _, n := range ns {
		i, ok := slices.BinarySearchFunc(r.held, n, func(h held, n int64) int { return cmp.Compare(h.N, n) })
		if ok && which(r.held[i]) {
			r.forget(i)
			r.stir()
		}
	}
}

// Batch is what goes to a brain at once.
type Batch struct {
	Numbers []int64
	Entries []wire.Noted
	Left    int // that are to be sent after it
	// Unsure: there are entries of an earlier boot, and the wall clock may not be set yet.
	// All wait for it, to be told in their order.
	Unsure bool
}

// Owed is the next batch, the oldest first: all that no brain heard of when it was noted.
func (r *Record) Owed() Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ClockSet() && slices.ContainsFunc(r.held, func(h held) bool { return h.Boot != r.boot }) {
		return Batch{Unsure: true}
	}
	var b Batch
	size, full, lost := 0, false, 0
	r.held = slices.DeleteFunc(r.held, func(h held) bool {
		age, ok := r.age(h.line)
		switch {
		case !ok:
			lost++
			r.bytes -= h.size
			return true
		case h.Boot == r.boot && age < LiveWithin: // it may still be told live
		case full || len(b.Entries) == wire.MaxNoted || size+h.size > batchMost:
			full = true
			b.Left++
		default:
			of := *h.Of
			of.AgeMS = age.Milliseconds()
			size += h.size
			b.Numbers, b.Entries = append(b.Numbers, h.N), append(b.Entries, of)
		}
		return false
	})
	if lost > 0 {
		r.log.Warn("record entries are too old to be sent, or nobody knows how old", "entries", lost)
		r.stir()
	}
	b.Left = min(b.Left, wire.MaxLeft)
	return b
}

// age is how old a line is, and whether that is known and can be.
func (r *Record) age(l line) (time.Duration, bool) {
	age := r.SinceBoot() - l.SinceBoot
	if l.Boot != r.boot {
		age = r.Wall().Sub(r.began[l.Boot].Add(l.SinceBoot))
	}
	return age, age >= 0 && age <= wire.RecordKept
}

// Pending is how many entries wait for a brain.
func (r *Record) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}
