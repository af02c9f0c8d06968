package record

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sentinel.home.arpa/shared/wire"
)

const (
	// liveWithin is how soon after it was noted a brain must have heard of something in
	// another way for it not to be sent. Later it is history, and the story lacks nothing.
	liveWithin = 5 * time.Second
	// heldMost bounds what waits for a brain, in bytes of lines; unwrittenMost what waits
	// for the disk.
	heldMost      = 4 << 20
	unwrittenMost = 1 << 20
	// batchMost is how many bytes of entries one message carries: well under what may
	// cross, and little on a slow line, on which what is urgent goes at the same time.
	batchMost = 40 << 10
	// clockSetBy is how long after a boot the entries of an earlier one wait for the wall
	// clock to be set. One that is not set by then is never trusted.
	clockSetBy = 5 * time.Minute
)

// line is an entry as it lies on disk.
type line struct {
	N         int64         `json:"n"`              // counts the lines, from 1
	Told      int64         `json:"told,omitempty"` // the cursor when it was written
	Boot      string        `json:"boot"`
	SinceBoot time.Duration `json:"since_boot_ns"`
	Wall      time.Time     `json:"wall"`
	Set       bool          `json:"set,omitempty"` // the wall clock was, as far as was known
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
	// sinceBoot is CLOCK_BOOTTIME, wall the wall clock, clockSet whether that was set since
	// the boot, which it stays.
	sinceBoot func() time.Duration
	wall      func() time.Time
	clockSet  func() bool

	mu        sync.Mutex
	held      []held // the oldest first
	bytes     int    // of held
	last      int64  // the newest line
	boots     map[string]earlier
	set       bool // the wall clock was, since this boot
	dated     bool // and a line says so
	unwritten []line
	waiting   int  // bytes of unwritten, about
	dropped   bool // said that the oldest go
	wake      chan struct{}

	disk disk // the writer's
}

// Open reads what an earlier process left. What is broken is said once and left out.
func Open(dir, boot string, sinceBoot func() time.Duration, log *slog.Logger) *Record {
	r := &Record{dir: dir, boot: boot, log: log, sinceBoot: sinceBoot, wall: time.Now, clockSet: machineClockSet, wake: make(chan struct{}, 1)}
	lines := r.read()
	r.disk.cursor = r.readCursor(lines)
	r.last = r.disk.cursor.end()
	r.boots, r.dated = r.knownBoots(lines)
	r.set = r.dated
	dropped := false
	for _, l := range lines {
		r.last = max(r.last, l.N)
		if !r.disk.cursor.has(l.N) && l.Of != nil {
			dropped = r.hold(l) || dropped
		}
	}
	if dropped {
		r.sayDropped()
	}
	return r
}

// Note notes an entry as of now, and returns its number for Told; 0 if it cannot be. It
// waits for nothing.
func (r *Record) Note(of wire.Noted) int64 {
	of.AgeMS, of.AtLeast = 0, false
	if err := of.Validate(); err != nil {
		r.log.Error("not noted in the record", "ups", of.UPS, "node", of.Node, "err", err)
		return 0
	}
	return r.add(line{Of: &of})
}

// Remark notes something for people who read the file.
func (r *Record) Remark(text string) { r.add(line{Remark: text}) }

func (r *Record) add(l line) int64 {
	l, dropped := r.keep(l)
	if dropped {
		r.sayDropped()
	}
	return l.N
}

// keep dates a line, and has it wait for the disk and a brain. It reports whether entries are
// lost by it, once.
func (r *Record) keep(l line) (dated line, dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	l.N, l.Boot, l.SinceBoot, l.Wall, l.Set = r.last, r.boot, r.sinceBoot(), r.wall().Round(0), r.isSet()
	r.dated = r.dated || l.Set
	size := sizeOf(l)
	if l.Of != nil {
		dropped = r.hold(l)
	}
	r.unwritten = append(r.unwritten, l)
	r.waiting += size
	for r.waiting > unwrittenMost {
		r.waiting -= sizeOf(r.unwritten[0])
		r.unwritten = r.unwritten[1:]
	}
	r.stir()
	return l, dropped
}

func sizeOf(l line) int {
	data, err := json.Marshal(l)
	if err != nil {
		return 0 // validated: every number in it can be written
	}
	return len(data) + 1
}

// hold has a line wait for a brain. It reports whether the oldest go for it, if that is to be
// said.
func (r *Record) hold(l line) (dropped bool) {
	h := held{l, sizeOf(l)}
	r.held = append(r.held, h)
	r.bytes += h.size
	for r.bytes > heldMost {
		dropped = dropped || !r.dropped
		r.dropped = true
		r.forget(0)
	}
	return dropped
}

func (r *Record) sayDropped() {
	r.log.Error("the record holds more than can wait for a brain, the oldest go", "entries", r.Pending())
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
	now := r.sinceBoot()
	r.let(ns, func(h held) bool { return h.Boot == r.boot && now-h.SinceBoot <= liveWithin })
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
	b, lost := r.owed()
	if lost > 0 {
		r.log.Warn("record entries are too old to be sent", "entries", lost)
		r.stir()
	}
	return b
}

// owed is that, and how many entries were too old for it and are let go.
func (r *Record) owed() (b Batch, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isSet() && r.sinceBoot() < clockSetBy && slices.ContainsFunc(r.held, func(h held) bool { return h.Boot != r.boot }) {
		return Batch{Unsure: true}, 0
	}
	ages := r.ages()
	size, full, i := 0, false, -1
	r.held = slices.DeleteFunc(r.held, func(h held) bool {
		i++
		switch a := ages[i]; {
		case a.atLeast > wire.RecordKept:
			lost++
			r.bytes -= h.size
			return true
		case h.Boot == r.boot && a.atLeast < liveWithin: // it may still be told live
		case full || len(b.Entries) == wire.MaxNoted || size+h.size > batchMost:
			full = true
			b.Left++
		default:
			of := *h.Of
			of.AgeMS, of.AtLeast = a.atLeast.Milliseconds(), a.unsure
			size += h.size
			b.Numbers, b.Entries = append(b.Numbers, h.N), append(b.Entries, of)
		}
		return false
	})
	b.Left = min(b.Left, wire.MaxLeft)
	return b, lost
}

// Pending is how many entries wait for a brain.
func (r *Record) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}
