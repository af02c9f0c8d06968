package liveness

import "time"

const (
	// cloneTurns are the times that the word goes from one boot to the other and back until
	// there are two machines: a boot that is over never speaks again (rule H11).
	cloneTurns  = 3
	cloneWithin = 30 * time.Second
	// quietFor is how long a boot must have said nothing for another to take its place, where
	// it has spoken before, or where there are two machines already.
	quietFor = 5 * time.Second
)

// rival is the boot before the present one. If it goes on speaking, it is another machine's.
type rival struct {
	boot   string
	seq    int64         // its highest
	last   time.Duration // its last word
	since  time.Duration // when the present boot first spoke after it
	turns  int
	spoken bool // it had the last word
}

// CloneName is what the second machine under a name is called. No machine can call itself
// so.
func CloneName(name string) string { return name + " (2)" }

// live reports whether a word of the rival's boot was spoken after the present boot's
// first. Its seq tells when it was, whenever it comes: by the sender's own clock.
func (r *rival) live(b *Beat, last time.Duration) bool {
	if b.Seq <= r.seq {
		return false
	}
	if r.seq == 0 { // none is known of it: from here on
		r.seq, r.last = b.Seq, last
		return false
	}
	spoken := min(last, r.last+time.Duration(b.Seq-r.seq)*time.Microsecond)
	return spoken >= r.since
}

// turn notes that the word went to the other boot.
func (r *rival) turn(at time.Duration, spoken bool) {
	r.spoken = spoken
	r.turns++
	if at-r.since > cloneWithin {
		r.since, r.turns = at, 1
	}
}

// speaker finds out whose word it is: the source's, or that of a second machine under its
// name. It is nobody's if it is of a boot that is over; first is the boot of the machine
// that was there first, if it is by this word that there are two.
func (t *Table) speaker(e *entry, b *Beat, last time.Duration) (of *entry, first string) {
	r := e.rival
	switch {
	case e.twin != nil:
		return e.oneOfTwo(b, last), ""
	case r == nil:
	case b.Boot == e.boot:
		if r.spoken && b.Seq > e.seq && last >= r.last {
			r.turn(last, false)
		}
		if r.turns >= cloneTurns && !r.spoken {
			return t.split(e), r.boot
		}
	case b.Boot == r.boot && b.Seq != 0 && !(e.silent && b.Seq > r.seq):
		if !r.live(b, last) {
			return nil, ""
		}
		if last-e.last < quietFor { // both speak; whose name it is shows soon
			if !r.spoken {
				r.turn(last, true)
			}
			r.seq, r.last = b.Seq, last
			return nil, ""
		}
	}
	return e, ""
}

// split lets the present boot be a second machine, and the one before have its name back.
func (t *Table) split(e *entry) *entry {
	twin := t.entry(Key{e.Site, CloneName(e.Name)})
	twin.boot, twin.seq, twin.pi, twin.direct, twin.wasDirect = e.boot, e.seq, e.pi, e.direct, e.wasDirect
	r := e.rival
	e.twin, e.rival, e.boot, e.seq, e.state, e.alone = twin, nil, r.boot, r.seq, "", 0
	t.spoke(e, r.last)
	return twin
}

// oneOfTwo finds out which of two machines it is. Another boot takes the place of the one
// that has been silent for longer; as long as both speak there is no third.
func (e *entry) oneOfTwo(b *Beat, last time.Duration) *entry {
	old := e
	if e.twin.last < e.last {
		old = e.twin
	}
	for _, m := range []*entry{e, e.twin} {
		if b.Boot == m.boot {
			return m
		}
	}
	for _, m := range []*entry{e, e.twin} {
		if m.rival != nil && m.rival.boot == b.Boot && !m.rival.live(b, last) {
			return nil
		}
	}
	if !old.silent && last-old.last < quietFor {
		return nil
	}
	return old
}

// boots lets an entry be of another boot, and remembers the one before.
func (e *entry) boots(boot string, last time.Duration) {
	if e.boot != "" {
		e.rival = &rival{boot: e.boot, seq: e.seq, last: e.last, since: last, turns: 1}
	}
	e.boot, e.seq, e.alone = boot, 0, 0
}
